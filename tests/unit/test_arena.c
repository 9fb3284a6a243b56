/* shm/base/arena.c: the cap, alignment, growth, reuse, buffers. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "shm/base/arena.h"

Test(arena, aligned_and_distinct)
{
	struct arena a;
	unsigned char *last = NULL;

	arena_init(&a, 1 << 20);
	cr_assert_null(a.chunk);
	for (size_t i = 0; i < 2000; i++) {
		unsigned char *p = arena_alloc(&a, i % 97);

		cr_assert_not_null(p);
		cr_assert_eq((uintptr_t)p % 16, 0);
		cr_assert_neq(p, last);
		memset(p, 0xa5, i % 97);
		last = p;
	}
	cr_assert(a.held <= a.cap);
	cr_assert(a.used <= a.held);
	arena_free(&a);
	cr_assert_eq(a.held, 0);
	cr_assert_eq(a.cap, 1 << 20);
}

Test(arena, cap)
{
	static const size_t caps[] = {0, 1, 100, 4096, 5000, 70000, 1 << 20};

	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		struct arena a;
		size_t n = 0;

		arena_init(&a, caps[i]);
		while (arena_alloc(&a, 40))
			n++;
		cr_expect(a.over);
		cr_expect(a.held <= caps[i]);
		/* Not more than the last chunk's rest may be lost. */
		cr_expect(n * 48 + 8192 >= caps[i] / 2, "cap %zu: %zu", caps[i], n);
		arena_free(&a);
		cr_expect_not(a.over);
	}
}

Test(arena, overflow)
{
	struct arena a;

	arena_init(&a, SIZE_MAX);
	cr_expect_null(arena_alloc(&a, SIZE_MAX));
	cr_expect_null(arena_alloc(&a, SIZE_MAX - 20));
	cr_expect_null(arena_array(&a, SIZE_MAX / 2, 3));
	cr_expect(a.over);
	arena_free(&a);
}

Test(arena, zeroed)
{
	struct arena a;
	unsigned char *p;

	arena_init(&a, 1 << 16);
	memset(arena_alloc(&a, 1000), 0xff, 1000);
	arena_reset(&a);
	p = arena_zalloc(&a, 1000);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(p[i], 0);
	arena_free(&a);
}

Test(arena, reset_keeps_one_small_chunk)
{
	struct arena a;
	void *first, *again;

	arena_init(&a, 8 << 20);
	first = arena_alloc(&a, 10);
	for (int i = 0; i < 100; i++)
		arena_alloc(&a, 30000);
	arena_alloc(&a, 1 << 20);
	arena_reset(&a);
	cr_expect(a.held > 0 && a.held <= 4096);
	cr_expect_eq(a.used, 0);
	again = arena_alloc(&a, 10);
	cr_expect_eq(first, again);
	arena_free(&a);
}

Test(arena, grow)
{
	static const size_t sizes[] = {1, 16, 17, 500, 4000, 5000, 70000, 300000, 1000000};
	struct arena a;
	unsigned char *p = NULL;
	size_t old = 0;

	arena_init(&a, 4 << 20);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		p = arena_grow(&a, p, old, sizes[i]);
		cr_assert_not_null(p);
		for (size_t j = 0; j < old; j++)
			cr_assert_eq(p[j], (unsigned char)j);
		for (size_t j = old; j < sizes[i]; j++)
			p[j] = (unsigned char)j;
		old = sizes[i];
	}
	cr_expect_eq(arena_grow(&a, p, old, 5), p);
	cr_expect_null(arena_grow(&a, p, old, 8 << 20));
	cr_expect(a.over);
	cr_expect_eq(p[1000], (unsigned char)1000);
	arena_free(&a);
}

Test(arena, grow_in_place)
{
	struct arena a;
	char *p, *other;

	arena_init(&a, 1 << 20);
	p = arena_alloc(&a, 10);
	cr_expect_eq(arena_grow(&a, p, 10, 200), p);
	other = arena_alloc(&a, 10);
	cr_expect(other >= p + 200);
	cr_expect_neq(arena_grow(&a, p, 200, 300), p);
	arena_free(&a);
}

Test(arena, text)
{
	struct arena a;

	arena_init(&a, 1 << 16);
	cr_expect_str_eq(arena_str(&a, STR("hello")), "hello");
	cr_expect_str_eq(arena_str(&a, (struct str){NULL, 0}), "");
	cr_expect(str_eq(arena_printf(&a, "%d-%s", 42, "x"), STR("42-x")));
	cr_expect_eq(arena_printf(&a, "%70000d", 1).p, NULL);
	cr_expect(a.over);
	arena_free(&a);
}

static void buf_fill(struct arena *a, size_t total)
{
	struct buf b;

	buf_init(&b, a);
	for (size_t i = 0; i < total; i++)
		buf_c(&b, (char)i);
	cr_assert_not(b.over);
	cr_assert_eq(b.n, total);
	for (size_t i = 0; i < total; i++)
		cr_assert_eq(b.p[i], (char)i);
	if (!a)
		buf_free(&b);
}

Test(buf, grows)
{
	struct arena a;

	arena_init(&a, 3 << 20);
	buf_fill(NULL, 300000);
	buf_fill(&a, 300000);
	cr_assert(a.held < 2 << 20);
	arena_free(&a);
}

Test(buf, kinds)
{
	struct buf b;

	buf_init(&b, NULL);
	buf_z(&b, "a");
	buf_str(&b, STR("bc"));
	buf_add(&b, NULL, 0);
	buf_printf(&b, "%03d", 7);
	cr_expect(str_eq((struct str){b.p, b.n}, STR("abc007")));
	buf_free(&b);
}

Test(buf, over_is_sticky)
{
	struct arena a;
	struct buf b;

	arena_init(&a, 10000);
	buf_init(&b, &a);
	for (int i = 0; i < 20000; i++)
		buf_c(&b, 'x');
	cr_expect(b.over);
	cr_expect(b.n > 1000 && b.n < 10000);
	cr_expect_not(buf_room(&b, 1));
	cr_expect(b.p[b.n - 1] == 'x');
	arena_free(&a);
}

Test(arena, back_to_a_mark)
{
	static const size_t firsts[] = {0, 10, 3000, 100000};
	static const size_t sizes[] = {10, 5000, 200000, 40, 70000, 3000};

	for (size_t f = 0; f < sizeof(firsts) / sizeof(firsts[0]); f++) {
		struct arena a;
		struct arena_mark m;
		char *before;
		size_t used, held;

		arena_init(&a, 8 << 20);
		before = firsts[f] ? arena_alloc(&a, firsts[f]) : NULL;
		if (before)
			memset(before, 'b', firsts[f]);
		m = arena_mark(&a);
		used = a.used;
		held = a.held;
		/* far more than the cap in total */
		for (int round = 0; round < 200; round++) {
			for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
				char *p = arena_alloc(&a, sizes[i]);

				cr_assert_not_null(p);
				memset(p, 'x', sizes[i]);
			}
			arena_release(&a, &m);
			cr_assert_eq(a.used, used);
			cr_assert_eq(a.held, held);
		}
		for (size_t i = 0; i < firsts[f]; i++)
			cr_assert_eq(before[i], 'b');
		arena_free(&a);
	}
}

/* What another arena held lives on, whatever both do afterwards. */
Test(arena, adopted)
{
	static const size_t sizes[] = {10, 5000, 200000, 40, 70000, 3000};
	struct arena a, b;
	struct arena_mark m;
	char *all[2][6];
	size_t held;

	for (int empty = 0; empty < 2; empty++) {
		arena_init(&a, 8 << 20);
		if (!empty)
			memset(arena_alloc(&a, 100), 'a', 100);
		held = a.held;
		m = arena_mark(&a);
		for (size_t round = 0; round < 2; round++) {
			arena_init(&b, 1 << 20);
			for (size_t i = 0; i < 6; i++)
				all[round][i] =
					memset(arena_alloc(&b, sizes[i]), (int)('0' + i), sizes[i]);
			held = a.held + b.held;
			cr_assert(arena_adopt(&a, &b));
			cr_assert_eq(a.held, held);
			cr_assert_null(b.chunk);
			cr_assert_eq(b.held, 0);
			/* both go on being used */
			memset(arena_alloc(&b, 3000), 'x', 3000);
			arena_free(&b);
			for (size_t i = 0; i < 6; i++)
				memset(arena_alloc(&a, sizes[i]), 'y', sizes[i]);
		}
		for (size_t i = 0; i < 12; i++)
			for (size_t k = 0; k < sizes[i % 6]; k++)
				cr_assert_eq(all[i / 6][i % 6][k], (char)('0' + i % 6));
		/* made after the mark, so it goes with it */
		arena_release(&a, &m);
		cr_assert(a.held <= 4096);
		arena_free(&a);
		cr_assert_eq(a.held, 0);
	}
}

Test(arena, not_adopted_beyond_the_cap)
{
	struct arena a, b;

	arena_init(&a, 10000);
	arena_init(&b, 10000);
	arena_alloc(&a, 5000);
	arena_alloc(&b, 5000);
	cr_assert_not(arena_adopt(&a, &b));
	cr_assert(b.held > 0 && a.held <= a.cap);
	arena_free(&b);
	cr_assert(arena_adopt(&a, &b)); /* nothing */
	arena_free(&a);
}

Test(buf, decimal_numbers)
{
	static const uint64_t v[] = {0, 7, 10, 99, 1234567890, UINT64_MAX};
	struct buf b;
	char want[128] = "";

	buf_init(&b, NULL);
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		buf_u64(&b, v[i]);
		snprintf(want + strlen(want), sizeof(want) - strlen(want), "%llu",
			(unsigned long long)v[i]);
	}
	buf_c(&b, 0);
	cr_expect_str_eq(b.p, want);
	buf_free(&b);
}

Test(arena, within_another_one_counts_there)
{
	struct arena of, a;
	char *p;

	arena_init(&of, 1000000);
	cr_assert(arena_alloc(&of, 400000));
	arena_init_within(&a, &of);
	p = arena_zalloc(&a, 300000);
	cr_assert(p);
	cr_expect_geq(arena_held(&of), 700000);
	cr_expect_lt(a.held, 400000);
	/* either of them may be the one that has no room */
	cr_expect_null(arena_alloc(&a, 400000));
	cr_expect(a.over);
	cr_expect_not(of.over);
	cr_expect_null(arena_alloc(&of, 400000));
	arena_free(&a);
	cr_expect_lt(arena_held(&of), 500000);
	p = arena_alloc(&a, 300000);
	cr_assert(p);
	memset(p, 7, 300000);
	cr_assert(arena_adopt(&of, &a));
	cr_expect_geq(arena_held(&of), 700000);
	cr_expect_eq(a.held, 0);
	cr_expect_eq(p[299999], 7);
	arena_free(&of);
	cr_expect_eq(arena_held(&of), 0);
}
