/* Large blocks that were given back (shm/base/spare.h), and arenas that use them. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "shm/base/arena.h"
#include "shm/base/clock.h"
#include "shm/base/spare.h"

enum { MB = 1 << 20 };

static void forget(void)
{
	spare_expire(UINT64_MAX);
}

TestSuite(spare, .init = forget, .fini = forget);

Test(spare, the_smallest_that_fits_is_taken)
{
	void *three = malloc(3 * MB), *two = malloc(2 * MB), *got;

	cr_assert_null(spare_take(MB));
	spare_give(three, 3 * MB, 0);
	spare_give(two, 2 * MB, 0);
	got = spare_take(2 * MB - 100);
	cr_expect_eq(got, two);
	free(got);
	/* too much of it would be wasted */
	cr_expect_null(spare_take(2 * MB));
	got = spare_take(3 * MB);
	cr_expect_eq(got, three);
	free(got);
	cr_expect_null(spare_take(3 * MB));
}

Test(spare, is_kept_for_some_seconds_and_never_too_much)
{
	spare_give(malloc(MB), MB, 1000);
	cr_expect_not(spare_old(1000 + SPARE_MS - 1));
	spare_expire(1000 + SPARE_MS - 1);
	cr_expect(spare_old(1000 + SPARE_MS));
	spare_expire(1000 + SPARE_MS);
	cr_expect_null(spare_take(MB));
	for (int i = 0; i < SPARE_MOST / MB + 8; i++)
		spare_give(malloc(MB), MB, 0);
	for (int i = 0; i < SPARE_MOST / MB + 8; i++)
		free(spare_take(MB));
	cr_expect_null(spare_take(MB));
	spare_give(malloc(SPARE_MOST + 1), SPARE_MOST + 1, 0);
	cr_expect_null(spare_take(SPARE_MOST + 1));
}

Test(spare, the_oldest_make_room)
{
	void *got;

	for (int i = 0; i < 4; i++) {
		size_t size = (size_t)(SPARE_MOST / 4 - i);

		spare_give(malloc(size), size, (uint64_t)(i == 2 ? 1 : 10 + i));
	}
	spare_give(malloc(2 * MB), 2 * MB, 20);
	got = spare_take(2 * MB);
	cr_expect_not_null(got);
	free(got);
	/* the third one is gone: what would fit it best is another one */
	for (int i = 0; i < 3; i++) {
		got = spare_take(SPARE_MOST / 4 - 3);
		cr_expect_not_null(got);
		free(got);
	}
	cr_expect_null(spare_take(SPARE_MOST / 4 - 3));
}

Test(spare, arenas_that_say_so_give_and_take)
{
	struct arena a;
	void *p, *again;

	arena_init(&a, 16 * MB);
	p = arena_alloc(&a, 2 * MB);
	cr_assert(p);
	arena_free(&a);
	cr_expect_null(spare_take(2 * MB));
	a.spares = true;
	p = arena_alloc(&a, 2 * MB);
	arena_free(&a);
	cr_expect(a.spares);
	again = arena_alloc(&a, 2 * MB);
#ifndef __SANITIZE_ADDRESS__
	cr_expect_eq(again, p);
#endif
	cr_expect_eq(arena_zalloc(&a, 2 * MB) != NULL, true);
	cr_expect_leq(a.held, a.cap);
	arena_free(&a);
	cr_expect_eq(a.held, 0);
	(void)again;
}
