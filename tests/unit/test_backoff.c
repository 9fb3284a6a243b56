/* How long a seat stays empty. */
#include <criterion/criterion.h>

#include "master/backoff.h"

Test(backoff, doubles_up_to_the_cap)
{
	static const uint64_t wanted[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
	struct backoff b = {0};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		cr_expect_eq(backoff_next(&b, 0, 200), wanted[i], "death %zu", i);
}

Test(backoff, jitter_stays_within_a_fifth)
{
	for (uint32_t r = 0; r < 2000; r++) {
		struct backoff b = {.deaths = 3};
		uint64_t ms = backoff_next(&b, 0, r * 2654435761U);
		cr_assert(ms >= 320 && ms <= 480, "%lu", (unsigned long)ms);
	}
}

Test(backoff, cap_holds_with_jitter)
{
	struct backoff b = {.deaths = 30};

	cr_assert_eq(backoff_next(&b, 0, 400), BACKOFF_MAX_MS);
	b.deaths = UINT32_MAX - 1;
	cr_assert_leq(backoff_next(&b, 0, 400), BACKOFF_MAX_MS);
}

/* One that hangs is killed a while later: what counts is when it ceased to serve. */
Test(backoff, so_does_one_before_a_hang)
{
	struct backoff b = {.deaths = 5};

	backoff_lived(&b, BACKOFF_HEALTHY_MS - 1);
	cr_assert_eq(b.deaths, 5);
	backoff_lived(&b, BACKOFF_HEALTHY_MS);
	cr_assert_eq(backoff_next(&b, 1000, 0), 0);
}

Test(backoff, a_healthy_minute_forgives)
{
	struct backoff b = {.deaths = 5};

	cr_assert_neq(backoff_next(&b, BACKOFF_HEALTHY_MS - 1, 0), 0);
	cr_assert_eq(backoff_next(&b, BACKOFF_HEALTHY_MS, 0), 0);
	cr_assert_eq(b.deaths, 1);
}
