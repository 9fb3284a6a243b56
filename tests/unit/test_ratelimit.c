/*
 * shm/ratelimit.c on a clock of our own: this program's clock_gettime() comes
 * before libc's, so that days pass in milliseconds and nothing depends on load.
 */
#include <criterion/criterion.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shm/ratelimit.h"
#include "shm/segment_priv.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t boot_ns;
static struct segment *seg;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (id != CLOCK_BOOTTIME || boot_ns == 0)
		return (int)syscall(SYS_clock_gettime, id, ts);
	ts->tv_sec = (time_t)(boot_ns / 1000000000);
	ts->tv_nsec = (long)(boot_ns % 1000000000);
	return 0;
}

static void setup(void)
{
	int fd = segment_create();

	boot_ns = 3600 * 1000000000ull;
	seg = segment_map(fd);
	cr_assert_not_null(seg);
	close(fd);
}

static void teardown(void)
{
	segment_unmap(seg);
	boot_ns = 0;
}

TestSuite(ratelimit, .init = setup, .fini = teardown);

/* Asks `cost` at every step; what is granted must be burst + rate * time. */
Test(ratelimit, accuracy)
{
	static const struct {
		uint64_t rate_1000, burst, cost, step_ns;
		int steps;
	} rows[] = {
		{500 * 1000, 2000, 1, 1000000, 40000},
		{20 * 1000, 100, 1, 7000000, 40000},
		{1000 * 1000, 1, 1, 250000, 40000},
		{10 * 1000 / 60, 10, 1, 1000000000, 40000},
		{1, 3, 1, 60000000000, 200000},
		{50000ull * 1000, 500000, 1000, 5000000, 40000},
		{50000ull * 1000, 500000, 1, 10000, 2000000},
		{100000000ull * 1000, 100000000, 100000, 500000, 40000},
		{100000000ull * 1000, 1000, 1, 5, 2000000},
		{100000000ull * 1000, 64, 7, 50, 2000000},
		{99999999ull * 1000, 100, 1, 7, 2000000},
		{333 * 1000, 7, 3, 4000000, 40000},
		{10000000ull * 1000 * 100, 1000000000, 1000000, 500000, 40000},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct limit lim = {rows[i].rate_1000, rows[i].burst};
		uint64_t granted = 0, start = boot_ns;
		double want;

		for (int n = 0; n < rows[i].steps; n++) {
			if (ratelimit_take(seg, i, lim, rows[i].cost, NULL))
				granted += rows[i].cost;
			boot_ns += rows[i].step_ns;
		}
		want = (double)rows[i].burst +
		       (double)(boot_ns - start) / 1e9 * (double)rows[i].rate_1000 / 1000;
		cr_expect((double)granted > want * 0.99 - (double)rows[i].cost &&
				  (double)granted < want * 1.01 + (double)rows[i].cost,
			"row %zu: granted %lu, want %f", i, (unsigned long)granted, want);
	}
}

Test(ratelimit, burst_is_exact)
{
	static const uint64_t rates[] = {1, 166, 20000, 500000, 50000000, 100000000000};
	static const uint64_t bursts[] = {1, 10, 2000, 500000};

	for (size_t r = 0; r < COUNT(rates); r++)
		for (size_t b = 0; b < COUNT(bursts); b++) {
			struct limit lim = {rates[r], bursts[b]};
			struct limit_state s;
			uint64_t n = 0;

			while (ratelimit_take(seg, 42, lim, 1, &s)) {
				n++;
				cr_assert_eq(s.remaining, bursts[b] - n);
			}
			cr_expect_eq(n, bursts[b], "rate %lu burst %lu: %lu",
				(unsigned long)rates[r], (unsigned long)bursts[b],
				(unsigned long)n);
			cr_expect_eq(s.remaining, 0);
		}
}

Test(ratelimit, retry_is_enough)
{
	static const struct limit limits[] = {{500000, 2000}, {166, 10}, {20000, 100},
		{50000000, 500000}, {100000000000, 1000000}, {3000, 1}};

	for (size_t i = 0; i < COUNT(limits); i++) {
		struct limit_state s;
		uint64_t cost = (limits[i].burst + 1) / 2;

		cr_assert(ratelimit_take(seg, i, limits[i], limits[i].burst, &s));
		cr_expect_eq(s.remaining, 0);
		cr_expect(s.reset_ms > 0);
		cr_expect_eq(s.retry_ms, 0);
		cr_assert_not(ratelimit_take(seg, i, limits[i], cost, &s));
		cr_assert_gt(s.retry_ms, 0);
		/* A little early is too early; a tick is at most 1/256 of a unit's time. */
		boot_ns += s.retry_ms * 980000;
		if (s.retry_ms > 50)
			cr_expect_not(
				ratelimit_peek(seg, i, limits[i], cost, NULL), "limit %zu", i);
		boot_ns += s.retry_ms * 20000;
		cr_expect(ratelimit_take(seg, i, limits[i], cost, NULL), "limit %zu", i);
	}
}

Test(ratelimit, edges)
{
	struct limit lim = {1000, 10};
	struct limit_state s;

	cr_expect(ratelimit_take(seg, 1, (struct limit){0, 0}, 1000000, &s));
	cr_expect_eq(s.remaining, UINT64_MAX);
	cr_expect_not(ratelimit_take(seg, 1, lim, 11, &s));
	cr_expect_eq(s.remaining, 0);
	cr_expect_eq(s.retry_ms, 3600000);
	cr_expect_not(ratelimit_take(seg, 1, lim, UINT64_MAX, &s));
	cr_expect_not(ratelimit_take(seg, 1, (struct limit){1000, 0}, 1, &s));
	cr_expect(ratelimit_take(seg, 1, lim, 0, &s));
	cr_expect_eq(s.remaining, 10);
	cr_expect(ratelimit_take(seg, 1, lim, 10, &s));
	cr_expect(ratelimit_take(seg, 1, lim, 0, &s));
	cr_expect_not(ratelimit_take(seg, 1, (struct limit){UINT64_MAX, 1}, UINT64_MAX, &s));
	cr_expect(ratelimit_take(seg, 2, (struct limit){UINT64_MAX, UINT64_MAX}, 1, &s));
	cr_expect(ratelimit_take(seg, 2, (struct limit){1, UINT64_MAX}, 1, &s));
}

Test(ratelimit, peek_charges_nothing)
{
	struct limit lim = {1000, 5};
	struct limit_state s;

	for (int i = 0; i < 100; i++)
		cr_assert(ratelimit_peek(seg, 9, lim, 5, &s));
	cr_expect_eq(s.remaining, 5);
	cr_expect(ratelimit_take(seg, 9, lim, 3, NULL));
	cr_expect_not(ratelimit_peek(seg, 9, lim, 3, &s));
	cr_expect_eq(s.remaining, 2);
	cr_expect(ratelimit_peek(seg, 9, lim, 2, &s));
}

/*
 * After any idle time a bucket admits a call. Time is kept modulo 2^39 ticks, 17
 * seconds at the extreme rate: there a call may meet the edge, for 50 us.
 */
Test(ratelimit, idle)
{
	static const struct limit limits[] = {
		{500000, 2000}, {50000000, 500000}, {100000000000, 100000000}, {166, 10}};
	uint64_t random = 88172645463325252u;
	int refused = 0;

	for (size_t i = 0; i < COUNT(limits); i++) {
		cr_assert(ratelimit_take(seg, i, limits[i], limits[i].burst, NULL));
		for (int n = 0; n < 20000; n++) {
			double refill = (double)limits[i].burst / ((double)limits[i].rate / 1000);

			random ^= random << 13, random ^= random >> 7, random ^= random << 17;
			boot_ns += (uint64_t)(refill * 1e9) + random % 3600000000000;
			if (!ratelimit_take(seg, i, limits[i], 1, NULL)) {
				refused++;
				boot_ns += 100000;
				cr_assert(
					ratelimit_take(seg, i, limits[i], 1, NULL), "limit %zu", i);
			}
		}
	}
	cr_expect(refused <= 1, "%d", refused);
}

/* More buckets than the table has: nobody gets more than his limit, no call hangs. */
Test(ratelimit, full_table)
{
	struct limit lim = {1000, 5};
	uint64_t granted = 0;
	enum { KEYS = 300000 };

	for (uint64_t round = 0; round < 3; round++)
		for (uint64_t key = 0; key < KEYS; key++)
			granted += ratelimit_take(seg, key * 0x9e3779b97f4a7c15u, lim, 1, NULL);
	/* Shared, the buckets grant what the words can hold, not what the keys ask. */
	cr_expect(granted <= 65536 * 5, "granted %lu", (unsigned long)granted);
	cr_expect(granted > 65536 * 4, "granted %lu", (unsigned long)granted);
	boot_ns += 6 * 1000000000ull;
	cr_expect(ratelimit_take(seg, 7, lim, 5, NULL));
}

/* Different keys and different limits do not disturb each other. */
Test(ratelimit, separate)
{
	struct limit lim = {1000, 2}, other = {2000, 2};

	for (uint64_t key = 0; key < 1000; key++) {
		cr_assert(ratelimit_take(seg, key, lim, 2, NULL), "key %lu", (unsigned long)key);
		cr_assert_not(ratelimit_take(seg, key, lim, 1, NULL));
	}
	cr_expect(ratelimit_take(seg, 5, other, 2, NULL));
	cr_expect_not(ratelimit_take(seg, 5, lim, 1, NULL));
}

/* A clock a little behind another processor's must not open a used-up bucket. */
Test(ratelimit, clock_skew)
{
	struct limit lim = {500000, 2000};

	cr_assert(ratelimit_take(seg, 1, lim, 2000, NULL));
	boot_ns -= 40000;
	cr_expect_not(ratelimit_take(seg, 1, lim, 1, NULL));
	boot_ns += 40000 + 2000000;
	cr_expect(ratelimit_take(seg, 1, lim, 1, NULL));
}

Test(ratelimit, given_back_is_as_if_never_taken)
{
	const struct limit lim = {1000, 5};
	struct limit_state state;

	cr_assert(ratelimit_take(seg, 1, lim, 5, &state));
	cr_assert_not(ratelimit_take(seg, 1, lim, 1, &state));
	ratelimit_give(seg, 1, lim, 2);
	cr_assert(ratelimit_take(seg, 1, lim, 2, &state));
	cr_assert_not(ratelimit_take(seg, 1, lim, 1, &state));
	/* Late, or for a bucket that is full or not there: no more than the burst. */
	boot_ns += 60 * 1000000000ull;
	ratelimit_give(seg, 1, lim, 5);
	ratelimit_give(seg, 2, lim, 5);
	cr_assert(ratelimit_take(seg, 1, lim, 5, &state));
	cr_assert_not(ratelimit_take(seg, 1, lim, 1, &state));
	cr_assert_not(ratelimit_take(seg, 2, lim, 6, &state));
}
