/* Groups: order of ids, repeats inside a group, the way back to the calls. */
#include <criterion/criterion.h>
#include "worker/ingest/catalog.h"
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

/* Whatever they come in, ids go to the database in the order of their keys, each once. */
Test(group, any_number_of_ids_in_any_order)
{
	static const uint32_t sizes[] = {3, 4, 7, 8, 9, 16, 17, 100, 1000, 8192};
	uint32_t seed = 1;

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		uint32_t n = sizes[s], created = 0;
		struct event *events = arena_array(&a, n, sizeof(*events));
		struct ingest_batch batches[3], *v[] = {&batches[0], &batches[1], &batches[2]};
		struct group g;

		for (uint32_t i = 0; i < n; i++) {
			seed = seed * 1664525 + 1013904223;
			/* half of them ascend; some come twice; days before 1970, too */
			events[i].id[0] = (uint8_t)(s % 2 ? i >> 8 : seed >> 24);
			events[i].id[1] = (uint8_t)(s % 2 ? i : seed >> 16);
			events[i].id[15] = (uint8_t)(seed >> 30);
			events[i].time_ms = ((int64_t)(seed >> 8) % 3 - 1) * DAY;
			events[i].kind = events[i].distinct_id = STR("x");
		}
		for (uint32_t b = 0; b < 3; b++)
			batches[b] = (struct ingest_batch){.project = b == 1 ? -5 : 5,
				.events = events + n * b / 3,
				.n = n * (b + 1) / 3 - n * b / 3};
		cr_assert(group_make(&g, v, 3, &a));
		for (int i = 1; i < g.args.id.n; i++) {
			int order = (g.args.project.v[i - 1] > g.args.project.v[i]) -
				    (g.args.project.v[i - 1] < g.args.project.v[i]);

			if (!order)
				order = (g.args.day.v[i - 1] > g.args.day.v[i]) -
					(g.args.day.v[i - 1] < g.args.day.v[i]);
			if (!order)
				order = memcmp(
					g.args.id.v + (i - 1) * 16, g.args.id.v + i * 16, 16);
			cr_assert_lt(order, 0, "%u: %d", n, i);
		}
		group_settle_new(&g);
		for (uint32_t b = 0; b < 3; b++)
			created += batches[b].created;
		cr_assert_eq(created, (uint32_t)g.args.id.n);
		cr_assert_gt(g.args.id.n, (int)n / 3);
		for (uint32_t i = 0; i < n; i++) {
			bool found = false;

			for (int k = 0; k < g.args.id.n && !found && n < 2000; k++)
				found = memcmp(g.args.id.v + k * 16, events[i].id, 16) == 0;
			cr_assert(found || n >= 2000);
		}
	}
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

/* Nobody is told that an event was accepted which is nowhere, not even who sent it second. */
Test(group, a_repeat_is_as_expired_as_the_event_that_stays)
{
	static const int days[] = {1, 2};
	struct ingest_batch *first = batch(7, "ab", days), *second = batch(7, "ab", days);
	struct ingest_batch *v[] = {first, second};
	int32_t old[] = {0}, known[] = {1};
	struct q_events_claim_row row = {
		.batch = 1, .live = true, .refused_null = true, .expired = {old, 1}};
	struct group g;

	cr_assert(group_make(&g, v, 2, &a));
	cr_assert(group_settle(&g, &row, 1));
	cr_assert_eq(first->created, 1);
	cr_assert_eq(first->expired, 1);
	cr_assert_eq(second->created, 0);
	cr_assert_eq(second->expired, 1);

	/* known before it is encoded, and so is its repeat: nothing is left of the share */
	v[1] = batch(7, "a", days);
	v[0] = batch(7, "a", days);
	cr_assert(group_sort(&g, v, 2, &a));
	cr_assert(group_drop(&g, (int32_t[]){1}, 1, &(struct db_int4s){known, 1}));
	cr_assert(group_encode(&g));
	cr_assert(group_settle(&g, NULL, 0));
	cr_assert_eq(v[0]->created + v[0]->expired + v[1]->created + v[1]->expired, 0);
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

/* Both lists of a project's catalogue full, in any order: nobody's key costs another one its
 * column, nor the server's own keys theirs. */
Test(group, whatever_the_catalogue_admits_has_a_column)
{
	enum { AT_ONCE = 250, N = 2 * CATALOG_KEYS_MAX / AT_ONCE };
	struct event *events = arena_array(&a, N + 1, sizeof(*events));
	struct prop ours = {STR("$browser"), SCOPE_AUTO, {.type = VALUE_INT, .i = 1}};
	struct ingest_batch b = {.project = 7, .events = events, .n = N + 1}, *v[] = {&b};
	struct group g;
	struct evseg s;

	for (uint32_t i = 0; i <= N; i++) {
		struct prop *props = arena_array(&a, AT_ONCE, sizeof(*props));

		memcpy(events[i].id, &i, sizeof(i));
		events[i].kind = events[i].distinct_id = STR("x");
		events[i].props = i < N ? props : &ours;
		events[i].n_props = i < N ? AT_ONCE : 1;
		for (uint32_t k = 0; k < AT_ONCE; k++)
			props[k] = (struct prop){arena_printf(&a, "k%u", (i / 2) * AT_ONCE + k),
				i % 2 ? SCOPE_CUSTOM : SCOPE_AUTO, {.type = VALUE_INT, .i = 1}};
	}
	cr_assert(group_make(&g, v, 1, &a));
	cr_assert(evseg_open(&s, g.args.b_data.v[0], &a));
	cr_assert_null(evseg_find(&s, PART_OVERFLOW, SCOPE_AUTO, STR("")));
	cr_assert(evseg_find(&s, PART_PROP, SCOPE_AUTO, STR("$browser")));
}

/* As for memory: the batch is refused instead of acknowledged and never read. */
Test(group, what_no_blob_can_hold_is_not_made)
{
	struct event events[2] = {{.id = {1}}, {.id = {2}}};
	struct ingest_batch b = {.project = 7, .events = events, .n = 2}, *v[] = {&b};
	char *text = malloc(EVSEG_PART_MAX);
	struct prop large[] = {{STR("k"), SCOPE_CUSTOM, {.type = VALUE_STR}},
		{STR("k"), SCOPE_CUSTOM, {.type = VALUE_STR}}};
	struct arena room;
	struct group g;

	arena_init(&room, 512 << 20);
	cr_assert(text);
	memset(text, 'x', EVSEG_PART_MAX);
	for (int i = 0; i < 2; i++) {
		large[i].value.s = (struct str){text, EVSEG_PART_MAX / 2 - (size_t)i};
		events[i].kind = events[i].distinct_id = STR("x");
		events[i].props = &large[i];
		events[i].n_props = 1;
	}
	cr_assert_not(group_make(&g, v, 1, &room));
	cr_assert_not(room.over);
	large[1].value.s.n -= 1024;
	cr_assert(group_make(&g, v, 1, &room));
	free(text);
	arena_free(&room);
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
