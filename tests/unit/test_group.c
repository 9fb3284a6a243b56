/* Groups: order of ids, repeats inside a group, the way back to the calls. */
#include <criterion/criterion.h>
#include "worker/ingest/group.h"
#include "worker/store/evseg.h"

static struct arena a;

static void setup(void)
{
	arena_init(&a, 64 << 20);
}

static void teardown(void)
{
	arena_free(&a);
}

TestSuite(group, .init = setup, .fini = teardown);

enum { DAY = 86400000 };

/* Events with ids from letters, one a day number. */
static struct ingest_batch *batch(int32_t project, const char *ids, const int *days)
{
	struct ingest_batch *b = arena_zalloc(&a, sizeof(*b));
	struct event *events = arena_array(&a, strlen(ids) + 1, sizeof(*events));

	*b = (struct ingest_batch){
		.project = project, .events = events, .n = (uint32_t)strlen(ids)};
	for (uint32_t i = 0; i < b->n; i++) {
		memset(events[i].id, ids[i], 16);
		events[i].time_ms = (int64_t)days[i] * DAY + 5;
		events[i].kind = STR("k");
		events[i].distinct_id = STR("u");
	}
	return b;
}

Test(group, orders_and_removes_repeats)
{
	static const int days[] = {3, 1, 2, 1, 1}, sorted_days[] = {3, 1, 2, 3, 3};
	struct ingest_batch *v[] = {batch(7, "cab", days), batch(2, "z", days),
		batch(7, "aba", (const int[]){1, 2, 3})};
	struct group g;
	struct evseg s;

	cr_assert(group_make(&g, v, 3, &a));
	cr_assert_eq(g.n_shares, 2);
	/* (2,3,z) then project 7: (1,a) (2,b) (3,a) (3,c) */
	cr_assert_eq(g.args.id.n, 5);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(g.args.id.v[i * 16], "zabac"[i]);
		cr_assert_eq(g.args.day.v[i], sorted_days[i]);
		cr_assert_eq(g.args.project.v[i], i ? 7 : 2);
		cr_assert_eq(g.args.batch.v[i], i ? 2 : 1);
	}
	cr_assert_eq(g.args.b_n.v[0], 1);
	cr_assert_eq(g.args.b_n.v[1], 4);
	cr_assert_eq(g.args.b_tmin.v[1], DAY + 5);
	cr_assert_eq(g.args.b_tmax.v[1], 3 * DAY + 5);
	cr_assert(evseg_open(&s, g.args.b_data.v[1], &a));
	cr_assert_eq(s.n, 4);
}

Test(group, the_first_that_arrived_creates)
{
	static const int days[] = {1, 1, 1};
	struct ingest_batch *first = batch(7, "ab", days), *second = batch(7, "bc", days);
	struct ingest_batch *other = batch(9, "a", days), *v[] = {first, second, other};
	int32_t known[] = {0};
	struct q_events_claim_row rows[] = {{.batch = 1, .live = true, .refused = {known, 1}},
		{.batch = 2, .live = false, .refused_null = true, .expired_null = true}};
	struct group g;

	cr_assert(group_make(&g, v, 3, &a));
	cr_assert(group_settle(&g, rows, 2));
	cr_assert_eq(first->created, 1);  /* a was known before */
	cr_assert_eq(second->created, 1); /* b came with the first */
	cr_assert(!g.dead[0] && !g.dead[1] && g.dead[2]);
	cr_assert_eq(g.batches[2], other);
}

Test(group, expired_events_are_told_apart)
{
	struct ingest_batch *first = batch(7, "abc", (const int[]){1, 2, 3}), *v[] = {first};
	int32_t known[] = {1}, old[] = {0}, wild[] = {3};
	struct q_events_claim_row row = {
		.batch = 1, .live = true, .refused = {known, 1}, .expired = {old, 1}};
	struct group g;

	cr_assert(group_make(&g, v, 1, &a));
	cr_assert(group_settle(&g, &row, 1));
	cr_assert_eq(first->created, 1);
	cr_assert_eq(first->expired, 1);
	row.expired = (struct db_int4s){wild, 1};
	cr_assert_not(group_settle(&g, &row, 1));
}

Test(group, rows_that_make_no_sense)
{
	struct ingest_batch *v[] = {batch(7, "ab", (const int[]){1, 1})};
	int32_t wild[] = {2};
	struct q_events_claim_row row = {.batch = 1, .live = true, .refused = {wild, 1}};
	struct group g;

	cr_assert(group_make(&g, v, 1, &a));
	cr_assert_not(group_settle(&g, &row, 1));
	row.refused.n = 0;
	cr_assert(group_settle(&g, &row, 1));
	row.batch = 2;
	cr_assert_not(group_settle(&g, &row, 1));
	cr_assert_not(group_settle(&g, &row, 0));
}

Test(group, days_before_1970_and_once_each)
{
	struct ingest_batch *v[] = {batch(7, "abcd", (const int[]){5, -1, 5, 4})};
	struct db_int4s days;
	struct group g;

	cr_assert(group_make(&g, v, 1, &a));
	cr_assert(group_days(&g, &days));
	cr_assert_eq(days.n, 3);
	cr_assert_eq(days.v[0], -1);
	cr_assert_eq(days.v[2], 5);
}
