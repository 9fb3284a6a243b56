/* A scan thread's part in the turns of all workers (insights/turn.h). */
#include <criterion/criterion.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/segment.h"
#include "shm/turns.h"
#include "worker/insights/turn.h"

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static bool at_once(void *arg)
{
	(void)arg;
	return true;
}

static struct turn turn_of(struct segment *seg, int slot_no, bool (*stop)(void *))
{
	return (struct turn){
		.seg = seg, .slot_no = slot_no, .n = 1, .index = TURNS_NONE, .stop = stop};
}

static struct segment *segment(void)
{
	int fd = segment_create();
	struct segment *seg = segment_map(fd);

	cr_assert_not_null(seg);
	close(fd);
	return seg;
}

/* Who holds the only turn stands still: others wait for a second, then work for one. */
Test(turn, of_who_stands_still_is_not_waited_for_again_and_again)
{
	struct segment *seg = segment();
	struct turn still = turn_of(seg, 0, never), other = turn_of(seg, 1, never);
	uint64_t start;

	turn_take(&still);
	cr_assert_eq(still.index, 0);
	start = clock_mono_ms();
	turn_take(&other);
	cr_assert_eq(other.index, TURNS_NONE);
	cr_expect_geq(clock_mono_ms() - start, 900);
	start = clock_mono_ms();
	while (clock_mono_ms() - start < 300)
		turn_look(&other);
	cr_expect_lt(clock_mono_ms() - start, 600, "it waited again");
	turn_end(&other);
	turn_end(&still);
}

Test(turn, is_not_waited_for_by_who_is_to_stop)
{
	struct segment *seg = segment();
	struct turn still = turn_of(seg, 0, never), other = turn_of(seg, 1, at_once);
	uint64_t start = clock_mono_ms();

	turn_take(&still);
	turn_take(&other);
	cr_expect_lt(clock_mono_ms() - start, 500);
	cr_assert_eq(other.index, TURNS_NONE);
	turn_end(&other);
	turn_end(&still);
	turn_take(&other);
	cr_assert_eq(other.index, 0);
}

Test(turn, is_not_needed_without_a_segment)
{
	struct turn t = turn_of(NULL, 0, never);

	turn_take(&t);
	turn_look(&t);
	turn_end(&t);
	cr_assert_eq(t.index, TURNS_NONE);
}

Test(turn, there_is_one_for_two_cpus_and_one_at_least)
{
	cr_assert_eq(turns_of_host(7), 7);
	cr_assert_eq(turns_of_host(1000), TURNS_MAX);
	cr_assert_geq(turns_of_host(0), 1);
}
