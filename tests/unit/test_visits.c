/* The sessions met lately, and the records of those that were put away. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include "worker/insights/records.h"
#include "worker/insights/visits.h"

static struct arena a;

static void setup(void)
{
	arena_init(&a, 256 << 20);
}

static void teardown(void)
{
	arena_free(&a);
}

TestSuite(visits, .init = setup, .fini = teardown);
TestSuite(records, .init = setup, .fini = teardown);

static uint64_t next(uint64_t *rng)
{
	*rng = *rng * 6364136223846793005u + 1442695040888963407u;
	return *rng >> 20;
}

/* A column of ids of two words each. */
static struct batch_column column_of(uint64_t (*ids)[2], uint32_t n)
{
	char *bytes = arena_zalloc(&a, (size_t)n * COLUMN_UUID);

	for (uint32_t i = 0; i < n; i++)
		memcpy(bytes + (size_t)i * COLUMN_UUID, ids[i], sizeof(ids[i]));
	return (struct batch_column){.uuids = bytes, .n_entries = n};
}

static void find(struct visits *v, const struct batch_column *c, uint32_t *no)
{
	uint32_t codes[VISITS_SOME];

	for (uint32_t at = 0, n; at < c->n_entries; at += n) {
		n = c->n_entries - at < VISITS_SOME ? c->n_entries - at : VISITS_SOME;
		for (uint32_t k = 0; k < n; k++)
			codes[k] = at + k + 1;
		cr_assert(visits_find(v, c, codes, n, no + at));
	}
}

Test(visits, keep_their_numbers_and_items_until_they_are_forgotten)
{
	enum { IDS = 9000, N = 1000 };
	static uint64_t ids[N][2];
	static uint32_t known[IDS], no[N], of[N];
	uint64_t rng = 7;
	struct visits v;

	visits_init(&v, &a, sizeof(uint32_t));
	for (int day = 0; day < 3; day++) {
		uint32_t n = 0;

		memset(known, 0xff, sizeof(known));
		for (int round = 0; round < 40; round++) {
			struct batch_column c;
			uint32_t before = v.n;

			for (uint32_t i = 0; i < N; i++) {
				of[i] = (uint32_t)(next(&rng) % IDS);
				ids[i][0] = of[i] % 90;
				ids[i][1] = (uint64_t)(of[i] / 90) << 40;
			}
			c = column_of(ids, N);
			find(&v, &c, no);
			for (uint32_t k = before; k < v.n; k++)
				*(uint32_t *)visits_item(&v, k) = k * 3;
			for (uint32_t i = 0; i < N; i++) {
				if (known[of[i]] == UINT32_MAX)
					known[of[i]] = n++;
				cr_assert_eq(no[i], known[of[i]]);
				cr_assert_eq(*(uint32_t *)visits_item(&v, no[i]), no[i] * 3);
			}
		}
		cr_assert_eq(v.n, n);
		visits_forget(&v);
	}
}

/* Clients choose ids: as alike as they may be, they end up all over the table. */
Test(visits, of_chosen_ids_are_spread)
{
	enum { N = VISITS_MAX };
	static uint64_t ids[N][2];
	static uint32_t no[N];

	for (int kind = 0; kind < 4; kind++) {
		uint32_t run = 0, longest = 0;
		struct batch_column c;
		struct visits v;

		for (uint64_t i = 0; i < N; i++) {
			ids[i][0] = kind == 0 ? i : kind == 1 ? i << 48 : kind == 2 ? 0 : i << 24;
			ids[i][1] = kind == 2 ? i << 32 : kind == 3 ? i : 0;
		}
		visits_init(&v, &a, 1);
		c = column_of(ids, N);
		find(&v, &c, no);
		cr_assert_eq(v.n, N);
		for (uint32_t i = 0; i < N; i++)
			cr_assert_eq(no[i], i);
		for (uint32_t k = 0; k <= v.mask; k++) {
			run = v.slots[k] ? run + 1 : 0;
			longest = run > longest ? run : longest;
		}
		cr_expect_lt(longest, 40, "%d: %u", kind, longest);
	}
}

Test(visits, end_at_the_arenas_cap)
{
	static uint64_t ids[VISITS_SOME][2];
	uint32_t codes[VISITS_SOME], no[VISITS_SOME];
	struct batch_column c = column_of(ids, VISITS_SOME);
	struct arena small;
	struct visits v;

	for (uint32_t k = 0; k < VISITS_SOME; k++)
		codes[k] = k + 1;
	arena_init(&small, 4 << 10);
	visits_init(&v, &small, 16);
	cr_expect_not(visits_find(&v, &c, codes, VISITS_SOME, no));
	cr_expect(small.over);
	arena_free(&small);
}

/* ---- records ---- */

static bool add_up(void *arg, uint32_t *record, uint32_t *later)
{
	uint32_t *met = arg;

	record[0] += later[0];
	later[0] = 0;
	++*met;
	return *met != UINT32_MAX;
}

static bool refuse(void *arg, uint32_t *record, uint32_t *later)
{
	(void)arg;
	(void)record;
	(void)later;
	return false;
}

/* Of some digests, which have few bits of their own, some at a time. */
static void merge_often(uint32_t kinds, uint64_t factor)
{
	enum { ROUNDS = 4, N = 9000 };
	uint32_t *sums = arena_array(&a, kinds, sizeof(*sums)), seen = 0, met;
	size_t held;
	uint64_t rng = kinds;
	struct records r;

	records_init(&r, &a, 3);
	for (int round = 0; round < ROUNDS; round++) {
		uint32_t before = r.n, all = 0;

		for (uint32_t i = 0; i < N; i++) {
			uint32_t kind = (uint32_t)(next(&rng) % kinds), *p;

			p = records_add(&r, kind * factor);
			cr_assert(p);
			p[0] = i + 1;
			p[1] = kind;
			p[2] = ~kind;
			seen += sums[kind] == 0;
			sums[kind] += i + 1;
		}
		met = 0;
		held = a.held;
		cr_assert(records_merge(&r, add_up, &met, false));
		cr_assert_eq(met, before + N - seen);
		cr_assert_eq(a.held, held);
		cr_assert_eq(r.n, seen);
		for (uint32_t i = 0; i < r.n; i++) {
			const uint32_t *p = records_at(&r, i);

			cr_assert_eq(*records_digest(&r, i), p[1] * factor);
			cr_assert_eq(p[2], ~p[1]);
			cr_assert_eq(p[0], sums[p[1]]);
			all += p[1] < kinds;
		}
		cr_assert_eq(all, seen);
	}
}

Test(records, of_one_digest_become_one)
{
	merge_often(1, 1);
	merge_often(40, 1);
	merge_often(5000, (uint64_t)1 << 32);
	merge_often(20000, 0x9e3779b97f4a7c15u);
	merge_often(1000000, 0x9e3779b97f4a7c15u);
}

Test(records, of_none_and_one)
{
	struct records r;
	uint32_t met = 0;

	records_init(&r, &a, 1);
	cr_expect(records_merge(&r, add_up, &met, false));
	*records_add(&r, 5) = 1;
	cr_expect(records_merge(&r, add_up, &met, false));
	cr_expect_eq(r.n, 1);
	*records_add(&r, 5) = 2;
	cr_expect_not(records_merge(&r, refuse, NULL, true));
	cr_expect_not(a.over);
}

Test(records, end_at_the_arenas_cap)
{
	struct arena small;
	struct records r;
	uint32_t n = 0;

	arena_init(&small, 1 << 20);
	records_init(&r, &small, 2);
	while (records_add(&r, n) && n < 1 << 20)
		n++;
	cr_expect_gt(n, 40000);
	cr_expect_lt(n, 1 << 16);
	cr_expect(small.over);
	small.over = false;
	cr_expect_not(records_merge(&r, add_up, &n, true));
	cr_expect(small.over);
	arena_free(&small);
}
