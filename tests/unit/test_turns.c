/* Turns at computing insights (shm/turns.h). */
#include <criterion/criterion.h>
#include <unistd.h>

#include "shm/segment.h"
#include "shm/turns.h"

static struct segment *seg;

static void setup(void)
{
	int fd = segment_create();

	cr_assert_geq(fd, 0);
	seg = segment_map(fd);
	close(fd);
	cr_assert_not_null(seg);
}

TestSuite(turns, .init = setup);

/* A turn at once, or TURNS_NONE and no place left behind. */
static int take(int slot_no, int n, uint64_t now_ms)
{
	int place = turns_queue(seg, slot_no, now_ms), turn;

	cr_assert_neq(place, TURNS_NONE);
	turn = turns_try(seg, place, slot_no, n, now_ms);
	if (turn == TURNS_NONE)
		turns_leave(seg, place);
	return turn;
}

Test(turns, are_as_many_as_asked_for)
{
	cr_assert_eq(take(0, 2, 100), 0);
	cr_assert_eq(take(0, 2, 100), 1);
	cr_assert_eq(take(1, 2, 100), TURNS_NONE);
	turns_end(seg, 0, 0);
	cr_assert_eq(take(1, 2, 100), 0);
}

Test(turns, go_to_who_has_waited_longest)
{
	int first, second;

	cr_assert_eq(take(0, 1, 100), 0);
	cr_assert_not(turns_wanted(seg, 100));
	second = turns_queue(seg, 2, 102);
	first = turns_queue(seg, 1, 101);
	cr_assert(turns_wanted(seg, 102));
	turns_end(seg, 0, 0);
	cr_assert_eq(turns_try(seg, second, 2, 1, 103), TURNS_NONE, "another waits longer");
	cr_assert_eq(turns_try(seg, first, 1, 1, 103), 0);
	turns_end(seg, 0, 1);
	cr_assert_eq(turns_try(seg, second, 2, 1, 104), 0);
	cr_assert_not(turns_wanted(seg, 104));
}

Test(turns, do_not_wait_for_who_does_not_ask_any_more)
{
	int second;

	turns_queue(seg, 1, 100);
	second = turns_queue(seg, 2, 120);
	cr_assert_eq(turns_try(seg, second, 2, 1, 121), TURNS_NONE);
	cr_assert_eq(turns_try(seg, second, 2, 1, 500), 0);
}

Test(turns, of_the_dead_are_free)
{
	int place;

	cr_assert_eq(take(3, 1, 100), 0);
	turns_queue(seg, 3, 100);
	place = turns_queue(seg, 4, 110);
	cr_assert_eq(turns_try(seg, place, 4, 1, 110), TURNS_NONE);
	cr_assert_eq(turns_repair(seg, 3), 2);
	cr_assert_eq(turns_try(seg, place, 4, 1, 111), 0);
	cr_assert_eq(turns_repair(seg, 3), 0);
	/* what the dead process ended late is somebody else's by now */
	turns_end(seg, 0, 3);
	cr_assert_eq(take(5, 1, 112), TURNS_NONE);
}

Test(turns, have_room_for_so_many)
{
	for (int i = 0; i < TURNS_WAITING; i++)
		cr_assert_eq(turns_queue(seg, 1, 100), i);
	cr_assert_eq(turns_queue(seg, 1, 100), TURNS_NONE);
}
