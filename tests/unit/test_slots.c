/* shm/counters.c and the slots: sums over slots, buckets, bounds. */
#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

#include "shm/segment_priv.h"

static struct segment *seg;

static void setup(void)
{
	int fd = segment_create();

	seg = segment_map(fd);
	cr_assert_not_null(seg);
	close(fd);
}

TestSuite(slots, .init = setup);

Test(slots, own_pages)
{
	for (int i = 0; i < SLOTS_MAX; i++) {
		struct slot *s = segment_slot(seg, i);

		cr_assert_eq((uintptr_t)s % 4096, 0);
		cr_assert_eq(atomic_load(&s->state), SLOT_FREE);
		atomic_store(&s->pid, i + 1);
	}
	for (int i = 0; i < SLOTS_MAX; i++)
		cr_assert_eq(atomic_load(&segment_slot(seg, i)->pid), i + 1);
}

Test(slots, bounds_low, .signal = SIGABRT)
{
	segment_slot(seg, -1);
}

Test(slots, bounds_high, .signal = SIGABRT)
{
	segment_slot(seg, SLOTS_MAX);
}

Test(slots, counters)
{
	for (int slot = 0; slot < SLOTS_MAX; slot++)
		counter_add(seg, slot, CTR_requests, (uint64_t)slot);
	counter_add(seg, 5, CTR_accepts, 7);
	cr_expect_eq(counter_sum(seg, CTR_requests), 127 * 128 / 2);
	cr_expect_eq(counter_sum(seg, CTR_accepts), 7);
	cr_expect_eq(counter_sum(seg, CTR_repaired), 0);
}

Test(slots, stats)
{
	static const struct {
		uint64_t us;
		int bucket;
	} rows[] = {{0, 0}, {1, 1}, {2, 2}, {3, 2}, {4, 3}, {1023, 10}, {1024, 11},
		{(1 << 25) - 1, 25}, {UINT64_MAX >> 10, 25}};
	struct method_stat m;
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t before;

		stat_read(seg, 159, &m);
		before = m.latency[rows[i].bucket];
		stat_call(seg, 1 + (int)(i & 1), 159, (unsigned)i, rows[i].us);
		stat_read(seg, 159, &m);
		cr_expect_eq(m.latency[rows[i].bucket], before + 1, "row %zu", i);
		cr_expect_eq(m.by_code[i], 1);
		sum += rows[i].us;
		cr_expect_eq(m.latency_sum_us, sum);
		cr_expect_eq(m.calls, i + 1);
	}
	stat_call(seg, 1, METHODS_MAX, 0, 1);
	stat_call(seg, 1, 0, CODES, 1);
	stat_read(seg, 0, &m);
	cr_expect_eq(m.calls, 0);
	stat_read(seg, METHODS_MAX, &m);
	cr_expect_eq(m.calls, 0);
}
