/* What kernels count with: pairs and UUIDs as numbers, sets of persons. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>
#include "worker/insights/hits.h"
#include "worker/insights/hops.h"
#include "worker/insights/pairs.h"
#include "worker/insights/personset.h"
#include "worker/insights/uuids.h"

static struct arena a;

static void setup(void)
{
	arena_init(&a, 64 << 20);
}

static void teardown(void)
{
	arena_free(&a);
}

TestSuite(sets, .init = setup, .fini = teardown);

static uint64_t next(uint64_t *rng)
{
	*rng = *rng * 6364136223846793005u + 1442695040888963407u;
	return *rng >> 33;
}

Test(sets, pairs_are_numbered_in_order_of_appearance)
{
	struct pairs p = {.a = &a};

	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 50000; i++)
			cr_assert_eq(pairs_add(&p, i % 7, i / 7), i);
	cr_assert_eq(p.n, 50000);
	cr_assert_eq(p.v[15].a, 1);
	cr_assert_eq(p.v[15].b, 2);
	cr_assert_eq(pairs_add(&p, 2, 1), 9);
}

Test(sets, pairs_end_at_the_cap)
{
	struct arena small;
	struct pairs p = {.a = &small};
	uint32_t i = 0;

	arena_init(&small, 100000);
	while (i < 100000 && pairs_add(&p, i, i) == i)
		i++;
	cr_assert_lt(i, 100000);
	cr_assert_gt(i, 1000);
	arena_free(&small);
}

enum { CHOSEN = 50000, GRID = 5000, PLACES = 1 << 17 };

static struct pair chosen[CHOSEN], scattered[CHOSEN];

/* Where a table without a key put a pair. */
static uint32_t old_place(bool hop, uint32_t from, uint32_t to)
{
	uint64_t x = ((uint64_t)from << 32 | to) * 0x9e3779b97f4a7c15u;

	return (uint32_t)(hop ? x >> 32 : x >> 32 ^ x >> 11) % PLACES;
}

/* Of a grid those pairs that all began at the same few places, and as many others. */
static void choose(bool hop)
{
	const uint64_t all = (uint64_t)GRID * GRID;
	uint32_t n = 0, places = (uint32_t)((uint64_t)CHOSEN * PLACES / all) + 10;
	uint64_t rng = 9;

	for (uint64_t i = 0; i < all && n < CHOSEN; i++) {
		struct pair p = {(uint32_t)(i / GRID), (uint32_t)(i % GRID)};

		if (old_place(hop, p.a, p.b) < places)
			chosen[n++] = p;
	}
	cr_assert_eq(n, CHOSEN);
	for (uint32_t i = 0; i < CHOSEN; i++)
		scattered[i] =
			(struct pair){(uint32_t)(next(&rng) % GRID), (uint32_t)(next(&rng) % GRID)};
}

/* This thread's own time for all of them. */
static int64_t time_pairs(const struct pair *v, bool hop)
{
	struct timespec from, to;
	struct pairs p = {.a = &a};
	struct hops h;

	hops_init(&h, &a);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (uint32_t i = 0; i < CHOSEN; i++)
		if (hop)
			cr_assert(hops_add(&h, v[i].a, v[i].b, 1));
		else
			cr_assert_neq(pairs_add(&p, v[i].a, v[i].b), PAIRS_FULL);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	return (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000;
}

/* Clients choose which numbers meet, but not where these are looked for. */
Test(sets, nobody_chooses_places, .timeout = 120)
{
	for (int hop = 0; hop < 2; hop++) {
		int64_t slow, fast;

		choose(hop);
		/* memory is asked for the first time by neither */
		(void)time_pairs(scattered, hop);
		fast = time_pairs(scattered, hop);
		slow = time_pairs(chosen, hop);
		fprintf(stderr, "%s: random %lld us, chosen %lld us\n", hop ? "hops" : "pairs",
			(long long)fast, (long long)slow);
		cr_assert_lt(slow, 10 * fast);
	}
}

/* Sets of every size, in every order, against one byte a person. */
Test(sets, persons_count_once)
{
	static uint8_t is_in[70000];
	uint64_t rng = 7;

	for (uint32_t round = 0; round < 60; round++) {
		uint32_t universe = round % 3 == 0 ? 100 : round % 3 == 1 ? 5000 : 70000;
		uint32_t want = round * 600, n = 0;
		struct personset s = {0};

		memset(is_in, 0, sizeof(is_in));
		for (uint32_t i = 0; i < want; i++) {
			uint32_t who = round % 2 ? i % universe : (uint32_t)(next(&rng) % universe);
			int fresh = personset_add(&s, &a, who);

			cr_assert_eq(fresh, !is_in[who]);
			is_in[who] = 1;
			n += fresh > 0;
			cr_assert_eq(s.n, n);
		}
	}
}

/* Many at once, into sets that were begun in every way, against one byte a person. */
Test(sets, many_persons_count_once)
{
	static uint8_t is_in[70000];
	struct personset before = {0};
	uint64_t rng = 5;

	for (uint32_t round = 0; round < 90; round++) {
		uint32_t universe = round % 3 == 0 ? 100 : round % 3 == 1 ? 5000 : 70000;
		uint32_t some[1000], n = 0;
		struct personset s = {0};

		memset(is_in, 0, sizeof(is_in));
		cr_assert(round % 2 || personset_expect(&s, &a, &before));
		for (uint32_t turn = 0; turn < round; turn++) {
			uint32_t want = (uint32_t)(next(&rng) % 1000);

			for (uint32_t i = 0; i < want; i++) {
				some[i] = (uint32_t)(next(&rng) % universe);
				n += !is_in[some[i]];
				is_in[some[i]] = 1;
			}
			cr_assert(personset_add_all(&s, &a, some, want));
			cr_assert_eq(s.n, n);
		}
		for (uint32_t who = 0; who < universe; who++)
			cr_assert_eq(personset_add(&s, &a, who), !is_in[who]);
		before = s;
		before.n = n;
	}
}

/* With marks, between what is added one by one and in sets of every size; the first ids are
 * numbers, of which 2k - 1 and 2k are one person, the others persons. */
Test(sets, marked_persons_count_once)
{
	enum { ALL = 70000 };
	static uint8_t is_in[ALL + 1], is_known[ALL + 1];
	static uint32_t person_of[ALL], of_number[ALL / 2 + 1];
	struct marks m = {0};
	uint64_t rng = 3;

	for (uint32_t i = 0; i < ALL; i++)
		person_of[i] = i < ALL / 2 ? i / 2 : i - ALL / 2;
	memcpy(of_number + 1, person_of, sizeof(of_number) - sizeof(of_number[0]));
	for (uint32_t round = 0; round < 300; round++) {
		uint32_t universe = round % 3 == 0 ? 100 : round % 3 == 1 ? 5000 : ALL;
		uint32_t most = round % 5 == 0 ? 9 : 1000, n = 0, persons = 0;
		struct personset s = {0}, copy = {0};
		uint32_t ids[PERSONSET_SOME];

		memset(is_in, 0, sizeof(is_in));
		memset(is_known, 0, sizeof(is_known));
		cr_assert(marks_reserve(&m, &a, universe));
		for (uint32_t turn = 0; turn < round / 10; turn++) {
			uint32_t some[1000], want = (uint32_t)(next(&rng) % most);

			for (uint32_t i = 0; i < want; i++) {
				uint32_t id = some[i] = 1 + (uint32_t)(next(&rng) % (universe - 1));

				n += !is_in[id];
				is_in[id] = 1;
				persons += !is_known[person_of[id - 1]];
				is_known[person_of[id - 1]] = 1;
			}
			if (round % 7 == 6 && turn % 4 == 3)
				for (uint32_t i = 0; i < want; i++)
					cr_assert_geq(personset_add(&s, &a, some[i]), 0);
			else
				cr_assert(personset_add_marked(&s, &a, &m, some, want));
			cr_assert_eq(s.n, n);
		}
		cr_assert_eq(personset_count(&s, &m, (struct id_map){of_number, ALL / 2}), persons);
		cr_assert(round % 2 ? personset_join(&copy, &a, &s)
				    : personset_join_loose(&copy, &a, &m, &s));
		cr_assert_eq(copy.n, n);
		for (uint32_t who = 0; who < universe; who += 1 + universe / 500)
			cr_assert_eq(personset_has(&s, who), is_in[who]);
		for (uint32_t i = 0; i < m.words; i++)
			cr_assert_eq(m.bits[i], 0);
		for (uint32_t at = 0, who; personset_next(&s, &at, &who); n--)
			cr_assert(is_in[who]);
		cr_assert_eq(n, 0);
		for (uint32_t at = 0, k; (k = personset_some(&s, &at, ids)) > 0; n += k)
			for (uint32_t i = 0; i < k; i++)
				cr_assert_eq(is_in[ids[i]]++, 1);
		cr_assert_eq(n, s.n);
	}
}

static void no_marks(const struct marks *m)
{
	for (uint32_t i = 0; i < m->words; i++)
		cr_assert_eq(m->bits[i], 0);
}

/* The same of sets that are only counted, with memory for loose lists and without, joined. */
Test(sets, loose_persons_count_once)
{
	enum { ALL = 70000 };
	static uint8_t is_known[2][ALL];
	static uint32_t of_number[ALL / 2 + 1];
	uint64_t rng = 17;

	for (uint32_t i = 0; i < ALL / 2; i++)
		of_number[i + 1] = i / 2;
	for (uint32_t round = 0; round < 240; round++) {
		uint32_t universe = round % 3 == 0 ? 100 : round % 3 == 1 ? 5000 : ALL;
		uint32_t most = round % 5 == 0 ? 3 : round % 5 == 1 ? 40 : 3000;
		struct personset s = {0}, before = {0}, both = {0};
		uint32_t persons[3] = {0};
		struct id_map map = {of_number, universe / 2};
		struct marks m = {0};
		struct arena small;

		arena_init(&small, 64 << 20);
		cr_assert(marks_reserve(&m, &small, universe));
		m.loose = round % 2 ? 64 << 20 : 0;
		memset(is_known, 0, sizeof(is_known));
		for (uint32_t turn = 0; turn < round; turn++) {
			uint32_t some[3000], want = 1 + (uint32_t)(next(&rng) % most), k = turn % 2;

			if (turn == 1 && round % 4 == 1)
				cr_assert(personset_expect_loose(&s, &small, &m, &before));
			for (uint32_t i = 0; i < want; i++) {
				uint32_t id = some[i] = 1 + (uint32_t)(next(&rng) % (universe - 1));
				uint32_t who = id_person(map, id);

				persons[2] += !is_known[0][who] && !is_known[1][who];
				persons[k] += !is_known[k][who];
				is_known[k][who] = 1;
			}
			cr_assert(personset_add_loose(k ? &s : &before, &small, &m, some, want));
		}
		cr_assert_eq(personset_count(&before, &m, map), persons[0]);
		no_marks(&m);
		cr_assert_eq(personset_count(&s, &m, map), persons[1]);
		no_marks(&m);
		cr_assert(personset_join_loose(&both, &small, &m, &s));
		cr_assert(personset_join_loose(&both, &small, &m, &before));
		cr_assert_eq(personset_count(&both, &m, map), persons[2]);
		no_marks(&m);
		arena_free(&small);
	}
}

/* However often the same come, they take no more memory, and not much time. */
Test(sets, loose_lists_are_gone_through)
{
	static const uint32_t who[] = {5, 70000, 5, 9, 100000};
	struct personset s = {0}, one = {0};
	struct marks m = {0};
	struct arena small;

	arena_init(&small, 1 << 20);
	cr_assert(marks_reserve(&m, &small, 100001));
	for (uint32_t i = 0; i < 3000000; i++) {
		cr_assert(personset_add_loose(&s, &small, &m, who, 1 + i % 5));
		cr_assert(personset_add_loose(&one, &small, &m, who + 3, 1));
	}
	cr_assert_eq(personset_count(&s, &m, (struct id_map){who, 0}), 4);
	cr_assert_eq(personset_count(&one, &m, (struct id_map){who, 0}), 1);
	cr_assert(!small.over);
	arena_free(&small);
}

/* Few and many codes, few and many values: sorted by lanes, or by the codes that there are. */
Test(sets, groups_hold_the_values_of_their_codes)
{
	static const uint32_t all_codes[] = {0, 3, 60, 4000}, all_n[] = {0, 1, 7, 100, 5000};
	uint64_t rng = 9;

	for (uint32_t i = 0; i < 20; i++) {
		uint32_t n_codes = all_codes[i % 4], n = all_n[i / 4], sum = 0;
		uint32_t codes[5000], values[5000];
		static uint8_t is_seen[4001];
		struct groups g;

		cr_assert(groups_init(&g, n_codes, n, &a));
		for (uint32_t turn = 0; turn < 3; turn++) { /* of the same memory */
			memset(is_seen, 0, sizeof(is_seen));
			for (uint32_t k = 0; k < n; k++) {
				codes[k] = (uint32_t)(next(&rng) % (n_codes + 1));
				values[k] = k * 4001 + codes[k];
			}
			sum = 0;
			groups_make(&g, codes, n, turn == 1 ? NULL : values);
			for (uint32_t k = 0; k < g.n; k++) {
				cr_assert(!is_seen[g.v[k].code]);
				is_seen[g.v[k].code] = 1;
				cr_assert_eq(g.v[k].at, sum);
				cr_assert_gt(g.v[k].n, 0);
				for (uint32_t at = sum; turn != 1 && at < sum + g.v[k].n; at++)
					cr_assert_eq(g.values[at] % 4001, g.v[k].code);
				sum += g.v[k].n;
			}
			cr_assert_eq(sum, n);
			for (uint32_t k = 0; k < n; k++)
				cr_assert(is_seen[codes[k]]);
		}
	}
}

Test(sets, joined_persons_are_a_union)
{
	uint64_t rng = 11;

	for (uint32_t round = 0; round < 200; round++) {
		static uint8_t is_in[20000];
		struct personset all = {0};
		uint32_t n = 0;

		memset(is_in, 0, sizeof(is_in));
		for (uint32_t k = 0; k < 4; k++) {
			uint32_t want = 1u << next(&rng) % 13;
			uint32_t universe = k % 2 ? 20000 : 300;
			struct personset part = {0};

			for (uint32_t i = 0; i < want; i++) {
				uint32_t who = (uint32_t)(next(&rng) % universe);

				cr_assert_geq(personset_add(&part, &a, who), 0);
				n += !is_in[who];
				is_in[who] = 1;
			}
			cr_assert(personset_join(&all, &a, &part));
			cr_assert_eq(all.n, n);
		}
		for (uint32_t who = 0; who < 20000; who += 17)
			cr_assert_eq(personset_add(&all, &a, who), !is_in[who]);
	}
}

Test(sets, a_set_of_persons_ends_at_the_cap)
{
	struct personset s = {0};
	struct arena small;
	int fresh = 1;

	arena_init(&small, 20000);
	for (uint32_t i = 0; fresh > 0 && i < 1000000; i++)
		fresh = personset_add(&s, &small, i * 64);
	cr_assert_eq(fresh, -1);
	arena_free(&small);
}

/* A column of UUIDs of which those numbered `ids` have so many ids. */
static struct batch_column column_of(const uint32_t *ids, uint32_t n)
{
	char *bytes = arena_zalloc(&a, (size_t)n * COLUMN_UUID);

	for (uint32_t i = 0; i < n; i++)
		memcpy(bytes + (size_t)i * COLUMN_UUID + 9, &ids[i], sizeof(ids[i]));
	return (struct batch_column){.uuids = bytes, .n_entries = n};
}

Test(sets, uuids_keep_their_numbers)
{
	static uint32_t known[150000], ids[1000], no[1001];
	static uint8_t wanted[1001];
	uint64_t rng = 3;
	struct uuids u;
	uint32_t n = 0;

	uuids_init(&u, &a);
	memset(known, 0xff, sizeof(known));
	for (uint32_t round = 0; round < 500; round++) {
		struct batch_column c;

		for (uint32_t i = 0; i < 1000; i++) {
			/* half of them were there lately */
			ids[i] = (uint32_t)(next(&rng) % 150000);
			if (next(&rng) % 2)
				ids[i] = (round / 10 * 2500 + ids[i] % 5000) % 150000;
			wanted[i + 1] = next(&rng) % 4 > 0;
			no[i + 1] = UINT32_MAX;
		}
		c = column_of(ids, 1000);
		cr_assert(uuids_add(&u, &c, wanted, no));
		for (uint32_t i = 0; i < 1000; i++) {
			if (!wanted[i + 1]) {
				cr_assert_eq(no[i + 1], UINT32_MAX);
				continue;
			}
			if (known[ids[i]] == UINT32_MAX)
				known[ids[i]] = n++;
			cr_assert_eq(no[i + 1], known[ids[i]]);
		}
	}
	cr_assert_eq(u.n, n);
}

/* Clients choose ids: as alike as they may be, they are found near where they are looked for. */
Test(sets, uuids_of_chosen_ids_are_spread)
{
	enum { N = 150000 };
	static char ids[N * COLUMN_UUID];
	static uint8_t wanted[N + 1];
	static uint32_t no[N + 1];
	const struct batch_column c = {.uuids = ids, .n_entries = N};

	memset(wanted, 1, sizeof(wanted));
	for (int kind = 0; kind < 4; kind++) {
		uint64_t steps = 0;
		struct uuids u;

		for (uint64_t i = 0; i < N; i++) {
			const uint64_t kinds[][2] = {{i}, {0, i << 32}, {i << 24, i}, {i << 40, 7}};

			memcpy(ids + i * COLUMN_UUID, kinds[kind], sizeof(kinds[kind]));
		}
		uuids_init(&u, &a);
		cr_assert(uuids_add(&u, &c, wanted, no));
		cr_assert_eq(u.n, N);
		for (uint32_t k = 0; k <= u.mask; k++)
			if (u.slots[k])
				steps += (k - (uint32_t)(u.slots[k] >> 32)) & u.mask;
		cr_expect_lt(steps, N, "%d: %lu steps", kind, steps);
	}
}
