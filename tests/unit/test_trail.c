/* Events come in order, day by day, whatever order they were added in. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include "worker/insights/trail.h"
#include "worker/insights/trail_sort.h"

/* LARGE: more than a day has that is sorted in one piece */
enum { DAY_MS = 86400000, OWNERS = 400, EVENTS = 30000, LARGE = 600000 };

static struct arena arena;

static void setup(void)
{
	arena_init(&arena, 64 << 20);
}

static void teardown(void)
{
	arena_free(&arena);
}

TestSuite(trail, .init = setup, .fini = teardown);

static uint64_t next(uint64_t *rng)
{
	*rng = *rng * 6364136223846793005u + 1442695040888963407u;
	return *rng >> 33;
}

struct fact {
	int64_t ms;
	uint64_t id[2];
	uint32_t owner, value;
};

static int by_owner_and_time(const void *x, const void *y)
{
	const struct fact *a = x, *b = y;

	if (a->owner != b->owner)
		return a->owner < b->owner ? -1 : 1;
	if (a->ms != b->ms)
		return a->ms < b->ms ? -1 : 1;
	if (a->id[0] != b->id[0])
		return a->id[0] < b->id[0] ? -1 : 1;
	return a->id[1] < b->id[1] ? -1 : a->id[1] > b->id[1];
}

static int by_time(const void *x, const void *y)
{
	struct fact a = *(const struct fact *)x, b = *(const struct fact *)y;

	a.owner = b.owner = 0;
	return by_owner_and_time(&a, &b);
}

static int by_value(const void *x, const void *y)
{
	uint32_t a = ((const struct fact *)x)->value, b = ((const struct fact *)y)->value;

	return a < b ? -1 : a > b;
}

static int by_day(const void *x, const void *y)
{
	int64_t a = ((const struct fact *)x)->ms / DAY_MS,
		b = ((const struct fact *)y)->ms / DAY_MS;

	return a < b ? -1 : a > b;
}

/* The events, by value; and what was visited. */
static struct fact drawn[LARGE], seen[LARGE];
static uint32_t n_seen;
static int64_t from_ms, latest, step = 3600000; /* step: what half of the times are whole of */

static bool visit(void *kernel, int64_t day_ms, const struct trail_event *v, uint32_t n)
{
	cr_assert_eq(kernel, seen);
	cr_assert_gt(n, 0);
	cr_assert_leq(n, TRAIL_SOME);
	cr_assert_geq(day_ms, latest, "days come in order");
	latest = day_ms;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t value = trail_value(v[i].key);
		int64_t ms = from_ms + day_ms + trail_time(v[i].key);

		cr_assert_lt(trail_time(v[i].key), DAY_MS);
		cr_assert(n_seen == 0 || seen[n_seen - 1].ms <= ms);
		seen[n_seen] = (struct fact){.ms = ms, .owner = v[i].owner, .value = value};
		memcpy(seen[n_seen++].id, drawn[value].id, sizeof(seen[0].id));
	}
	return true;
}

static bool count(void *kernel, int64_t day_ms, const struct trail_event *v, uint32_t n)
{
	uint32_t *all = kernel;

	cr_assert_eq(day_ms, 0);
	(void)v;
	*all += n;
	return true;
}

/* One event, of a segment of its own or (more) of the one before. */
static bool add(struct trails *t, bool more, struct fact f, bool known)
{
	uint64_t id[2] = {htobe64(f.id[0]), htobe64(f.id[1])};
	struct batch b = {.n = 1, .times = &f.ms, .ids = known ? (const uint8_t *)id : NULL};

	t->source -= more;
	return trails_add(
		t, &b, &(struct trail_rows){.n = 1, .owners = &f.owner, .value = f.value});
}

/* Some owners do most; many events are of one millisecond, and of ids that differ late. */
static void draw(struct fact *facts, uint32_t n, uint64_t *rng, uint32_t days)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t owner = (uint32_t)(next(rng) % OWNERS);

		facts[i].owner = next(rng) % 3 ? owner % 5 : owner;
		facts[i].ms = from_ms + (int64_t)(next(rng) % (days * (uint64_t)DAY_MS - 3600000));
		if (next(rng) % 2)
			facts[i].ms -= (facts[i].ms - from_ms) % step;
		facts[i].id[0] = next(rng) % 2;
		facts[i].id[1] = next(rng) << 20 | i;
		facts[i].value = i;
	}
	memcpy(drawn, facts, n * sizeof(drawn[0]));
}

/* What was seen of each owner is in order, and all is there. */
static void check_seen(struct fact *facts, uint32_t n)
{
	static const struct fact *before[OWNERS];

	cr_assert_eq(n_seen, n);
	memset(before, 0, sizeof(before));
	for (uint32_t i = 0; i < n; i++) {
		const struct fact **last = &before[seen[i].owner];

		cr_assert(!*last || by_owner_and_time(*last, &seen[i]) < 0);
		*last = &seen[i];
	}
	qsort(seen, n, sizeof(seen[0]), by_owner_and_time);
	qsort(facts, n, sizeof(facts[0]), by_owner_and_time);
	for (uint32_t i = 0; i < n; i++)
		cr_assert(by_owner_and_time(&seen[i], &facts[i]) == 0 &&
			  seen[i].value == facts[i].value);
}

/* settled: days are told when they are over, of facts that come day by day. */
static void check_some(uint32_t n, uint64_t seed, uint32_t days, bool settled)
{
	static struct fact facts[LARGE];
	struct trails t;

	n_seen = 0;
	latest = INT64_MIN;
	draw(facts, n, &seed, days);
	if (settled)
		qsort(facts, n, sizeof(facts[0]), by_day);
	cr_assert(trails_init(&t, &arena, from_ms, from_ms + days * (int64_t)DAY_MS));
	t.visit = visit;
	t.kernel = seen;
	for (uint32_t i = 0; i < n; i++) {
		if (settled)
			cr_assert(trails_settle(&t, facts[i].ms / DAY_MS * DAY_MS));
		cr_assert(add(&t, false, facts[i], true));
	}
	cr_assert(n_seen == 0 || settled);
	cr_assert(trails_settle(&t, INT64_MAX));
	check_seen(facts, n);
}

static void check(uint64_t seed, uint32_t days, bool settled)
{
	check_some(EVENTS, seed, days, settled);
}

Test(trail, events_come_in_order)
{
	from_ms = 1704067200000; /* midnight */
	check(1, 1, false);
	check(2, 30, false);
	from_ms += 5 * 3600000 + 1; /* some time of the day */
	check(3, 1, false);
	check(4, 3, false);
}

/* Of any times, of an hour each, and of some minutes of the day. */
Test(trail, a_large_day_comes_in_order)
{
	from_ms = 1704067200000;
	check_some(LARGE, 8, 1, false);
	step = 600000;
	check_some(LARGE, 9, 1, false);
}

/* From a few events of one instant to half of a day's. */
Test(trail, events_of_one_instant_come_in_order)
{
	from_ms = 1704067200000;
	for (step = 1000; step <= 16 * 3600000; step *= 4)
		check((uint64_t)step, step < 3600000 ? 1 : 4, false);
}

Test(trail, days_that_are_over_are_given_at_once)
{
	from_ms = 1704067200000;
	check(5, 1, true);
	check(6, 30, true);
	from_ms += 86399999;
	check(7, 2, true);
}

Test(trail, memory_goes_with_the_day_not_with_the_window)
{
	size_t after_one = 0;
	struct trails t;

	from_ms = 1704067200000;
	n_seen = 0;
	latest = INT64_MIN;
	cr_assert(trails_init(&t, &arena, from_ms, from_ms + 100 * (int64_t)DAY_MS));
	t.visit = visit;
	t.kernel = seen;
	for (uint32_t day = 0; day < 100; day++) {
		for (uint32_t i = 0; i < 5000; i++)
			cr_assert(add(&t, false,
				(struct fact){
					from_ms + day * (int64_t)DAY_MS + i, {0, i}, i % 300, 1},
				true));
		cr_assert(trails_settle(&t, from_ms + (day + 1) * (int64_t)DAY_MS));
		cr_assert_eq(n_seen, 5000);
		n_seen = 0;
		if (day == 0)
			after_one = arena.held;
	}
	cr_assert_eq(arena.held, after_one);
}

/* Without ids: 12 bytes where they were collected, 8 in order, and what sorts some of them. */
Test(trail, a_day_takes_20_bytes_an_event)
{
	enum { N = 50000, TIMES = 20 };
	static int64_t times[N];
	static uint32_t owners[N];
	struct batch b = {.n = N, .times = times};
	struct trail_rows e = {.n = N, .owners = owners, .value = 1};
	struct trails t;

	from_ms = 1704067200000;
	cr_assert(trails_init(&t, &arena, from_ms, from_ms + DAY_MS));
	t.visit = count;
	t.kernel = &n_seen;
	n_seen = 0;
	for (uint32_t k = 0; k < TIMES; k++) {
		for (uint32_t i = 0; i < N; i++) {
			times[i] = from_ms + ((int64_t)i * TIMES + k) * 80;
			owners[i] = i % 1000;
		}
		cr_assert(trails_add(&t, &b, &e));
	}
	cr_assert(trails_settle(&t, INT64_MAX));
	cr_assert_eq(n_seen, N * TIMES);
	cr_assert_lt(arena.held, (size_t)22 * N * TIMES);
}

Test(trail, the_cap_ends_it)
{
	struct arena small;
	struct trails t;
	uint32_t i = 0;

	from_ms = 1704067200000;
	arena_init(&small, 1 << 20);
	cr_assert(trails_init(&t, &small, from_ms, from_ms + DAY_MS));
	t.visit = visit;
	t.kernel = seen;
	while (i < 1000000 && add(&t, false, (struct fact){from_ms + i, {0}, i % 9, 1}, true))
		i++;
	cr_assert_lt(i, 40000);
	cr_assert_gt(i, 20000);
	cr_assert_not(trails_settle(&t, INT64_MAX), "no room to sort");
	cr_assert_not(add(&t, false, (struct fact){from_ms, {0}, 0, TRAIL_VALUE_MAX + 1}, true));
	arena_free(&small);
}

/* Events of a batch may be of several days, in any order, and only some rows of it. */
Test(trail, rows_of_a_batch)
{
	enum { N = 5000 };
	static int64_t times[N];
	static uint32_t rows[N], owners[N], values[N];
	struct batch b = {.n = N, .times = times};
	struct trail_rows e = {.rows = rows, .owners = owners, .values = values};
	uint64_t rng = 9;
	struct trails t;

	from_ms = 1704067200000 + 7200000;
	n_seen = 0;
	latest = INT64_MIN;
	cr_assert(trails_init(&t, &arena, from_ms, from_ms + 4 * (int64_t)DAY_MS));
	t.visit = visit;
	t.kernel = seen;
	for (uint32_t i = 0; i < N; i++) {
		times[i] = from_ms + (int64_t)(next(&rng) % (4 * (uint64_t)DAY_MS));
		if (next(&rng) % 3 == 0)
			continue;
		rows[e.n] = i;
		owners[e.n] = (uint32_t)(next(&rng) % 50) * 1000;
		values[e.n++] = i;
	}
	cr_assert(trails_add(&t, &b, &e));
	cr_assert(trails_settle(&t, INT64_MAX));
	cr_assert_eq(n_seen, e.n);
	for (uint32_t i = 0; i < n_seen; i++)
		cr_assert_eq(seen[i].ms, times[seen[i].value]);
	qsort(seen, n_seen, sizeof(seen[0]), by_value);
	for (uint32_t i = 0; i < n_seen; i++)
		cr_assert(seen[i].value == values[i] && seen[i].owner == owners[i]);
}

static int by_number(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return a < b ? -1 : a > b;
}

/* By bits from 20 on; what is below tells their order before. */
Test(trail, numbers_are_sorted_by_digits)
{
	enum { MOST = 3000 };
	static uint64_t v[MOST], spare[MOST], sorted[MOST];
	uint64_t rng = 3;

	for (uint32_t turn = 0; turn < 2000; turn++) {
		unsigned bits = 1 + (uint32_t)(next(&rng) % TRAIL_SORT_BITS);
		uint32_t n = (uint32_t)(next(&rng) % (next(&rng) % 2 ? 5 : MOST));
		uint64_t low = next(&rng) % 2 ? 7 : (1ull << bits) - 1, more = next(&rng) % 2;
		const uint64_t *got;

		for (uint32_t k = 0; k < n; k++)
			v[k] = sorted[k] =
				(more * k * 3 + (next(&rng) << 20 ^ next(&rng))) % (low + 1) << 20 |
				k;
		qsort(sorted, n, sizeof(sorted[0]), by_number);
		got = trail_sort_digits(v, spare, n, 20, bits < 3 ? 3 : bits);
		cr_assert(got == v || got == spare);
		cr_assert_eq(memcmp(got, sorted, n * sizeof(v[0])), 0);
	}
}

/* Some events of few owners and times, of some segments: blobs of the inbox, whose ids are
 * known, and sealed ones, where those of some events are. Whatever comes out is in order; what
 * does not come out needs ids. */
static bool check_sources(uint64_t *rng, bool all_known)
{
	enum { N = 24, SOURCES = 4 };
	struct fact facts[N];
	struct trails t;
	uint32_t n = 2 + (uint32_t)(next(rng) % (N - 1)),
		 sources = 1 + (uint32_t)(next(rng) % SOURCES);
	bool done = true;

	n_seen = 0;
	latest = INT64_MIN;
	for (uint32_t i = 0; i < n; i++) {
		facts[i] = (struct fact){from_ms + (int64_t)(next(rng) % 8),
			{next(rng) % 3, next(rng) << 8 | i}, (uint32_t)(next(rng) % 2), i};
		drawn[i] = facts[i];
	}
	cr_assert(trails_init(&t, &arena, from_ms, from_ms + DAY_MS));
	t.visit = visit;
	t.kernel = seen;
	for (uint32_t s = 0; s < sources; s++) {
		bool sealed = next(rng) % 3 != 0;
		uint32_t from = n * s / sources, to = n * (s + 1) / sources;

		if (sealed)
			qsort(facts + from, to - from, sizeof(facts[0]), by_time);
		for (uint32_t i = from; i < to; i++)
			cr_assert(add(&t, i > from, facts[i],
				all_known || !sealed || next(rng) % 4 == 0));
	}
	done = trails_settle(&t, INT64_MAX);
	cr_assert_eq(done, !t.undecided);
	cr_assert(done || (sources > 1 && !all_known));
	for (uint32_t i = 0; done && i < n; i++)
		for (uint32_t k = 0; k < i; k++)
			cr_assert(seen[i].owner != seen[k].owner ||
				  by_owner_and_time(&seen[k], &seen[i]) < 0);
	return done;
}

Test(trail, ids_may_be_unknown)
{
	uint64_t rng = 1;
	uint32_t done = 0;

	from_ms = 1704067200000;
	for (int i = 0; i < 20000; i++) {
		arena_reset(&arena);
		done += check_sources(&rng, i % 10 == 0);
	}
	cr_assert_gt(done, 4000);
	cr_assert_lt(done, 16000);
}

/* Those of one value may come in any order. */
Test(trail, equal_values_need_no_order)
{
	struct trails t;

	from_ms = 1704067200000;
	n_seen = 0;
	latest = INT64_MIN;
	cr_assert(trails_init(&t, &arena, from_ms, from_ms + DAY_MS));
	t.visit = visit;
	t.kernel = seen;
	for (uint32_t i = 0; i < 100; i++) {
		cr_assert(add(&t, false, (struct fact){from_ms, {0}, 0, 3}, false));
		cr_assert(add(&t, false, (struct fact){from_ms + 1 + i, {0}, 1, i}, false));
	}
	cr_assert(trails_settle(&t, INT64_MAX));
	cr_assert_eq(n_seen, 200);
}
