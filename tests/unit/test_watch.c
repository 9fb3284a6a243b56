/* Kernels end soon after nobody waits for their answer; sorting that can be stopped. */
#include <stdlib.h>
#include "insight_kit.h"
#include "worker/insights/feed.h"
#include "worker/insights/flow.h"
#include "worker/insights/funnel.h"
#include "worker/insights/hits.h"
#include "worker/insights/retention.h"
#include "worker/insights/roster.h"
#include "worker/insights/watch.h"

#define DAY0 1767225600000 /* 2026-01-01 */

/* ---- sorting ---- */

struct item {
	uint32_t key, came;
};

static int by_key(const void *x, const void *y, void *arg)
{
	const struct item *a = x, *b = y;

	(*(uint64_t *)arg)++;
	return a->key < b->key ? -1 : a->key > b->key;
}

static void check_sorted(const struct item *v, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++)
		cr_assert(v[i - 1].key < v[i].key ||
				  (v[i - 1].key == v[i].key && v[i - 1].came < v[i].came),
			"at %u of %u", i, n);
}

Test(watch, sorts_any_number, .init = kit_setup, .fini = kit_teardown)
{
	static const uint32_t sizes[] = {
		0, 1, 2, 16383, 16384, 16385, 32768, 49153, 200000, 262144};

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		uint32_t n = sizes[k];
		struct item *v = arena_array(&kit_a, n + 1, sizeof(*v));
		size_t used = kit_a.used;
		uint64_t asked = 0;

		for (uint32_t i = 0; i < n; i++)
			v[i] = (struct item){(i * 2654435761u) % (n / 2 + 1), i};
		cr_assert(watch_sort(&kit_a, v, n, sizeof(*v), by_key, &asked));
		check_sorted(v, n);
		cr_assert_eq(kit_a.used, used, "what was needed meanwhile is given back");
	}
}

Test(watch, sort_says_when_memory_ends)
{
	struct item *v = calloc(100000, sizeof(*v));
	uint64_t asked = 0;
	struct arena a;

	arena_init(&a, 1000);
	cr_assert_not(watch_sort(&a, v, 100000, sizeof(*v), by_key, &asked));
	cr_assert(watch_sort(&a, v, 1000, sizeof(*v), by_key, &asked));
	arena_free(&a);
	free(v);
}

/* ---- kernels ---- */

static int64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Becomes true at a point of this thread's time. */
static struct {
	int64_t at_us;
	uint64_t asked;
} end;

static bool is_over(void *arg)
{
	(void)arg;
	end.asked++;
	return cpu_us() >= end.at_us;
}

enum { SEGMENTS = 6, ROWS = 65536 };

static struct arena blob_a;
static struct str blobs[SEGMENTS];

/* Events of many persons in many sessions with many values, none of them twice. */
static struct str make_blob(uint32_t seg)
{
	struct encoder *e = encoder_new(&blob_a);

	for (uint32_t i = 0; i < ROWS; i++) {
		struct event *ev = arena_zalloc(&blob_a, sizeof(*ev));
		struct prop *p = arena_zalloc(&blob_a, sizeof(*p));
		uint32_t no = seg * ROWS + i;

		*p = (struct prop){STR("x"), SCOPE_CUSTOM, {VALUE_INT, .i = no * 7919u}};
		ev->props = p;
		ev->n_props = 1;
		ev->time_ms = DAY0 + (int64_t)(no * 2654435761u % 2592000) * 1000;
		ev->kind = no % 2 ? STR("a") : STR("b");
		ev->distinct_id = arena_printf(&blob_a, "p%u", no / 4 * 977 % 200000);
		memcpy(ev->id, &no, sizeof(no));
		ev->has_session = true;
		memcpy(ev->session, &(uint32_t){no / 3}, 4);
		cr_assert(encoder_add(e, ev));
	}
	return encoder_finish(e);
}

static void fold_many(
	const struct plan *plan, bool (*fold)(void *k, const struct frame *f), void *kernel)
{
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		struct arena a;
		struct evseg s;
		struct batch batch;
		struct frame frame;

		arena_init(&a, 256 << 20);
		cr_assert(evseg_open(&s, blobs[i], &a));
		cr_assert(batch_load(&batch, &s, &plan->need, &a));
		cr_assert(frame_make(&frame, plan, &batch, &kit_people, &a));
		cr_assert(fold(kernel, &frame), "the kernel's memory is full");
		arena_free(&a);
	}
}

/* The whole finish takes `all`; then the same again, over after a part of that. */
struct arm {
	const char *name, *spec;
	void *(*new)(const struct plan *plan);
	bool (*fold)(void *k, const struct frame *f);
	bool (*finish)(void *k);
};

static bool run_arm(const struct arm *arm, int64_t after_us, int64_t *took)
{
	struct plan plan;
	char json[1024];
	const char *why;
	void *kernel;
	int64_t start;
	bool done;

	kit_setup();
	kit_a.cap = (size_t)1 << 30; /* more than a query has, so that it takes longer */
	snprintf(json, sizeof(json),
		"{\"timeRange\":{\"from\":\"2026-01-01T00:00:00Z\",\"to\":\"2026-01-31T00:00:00Z\"},"
		"\"granularity\":\"GRANULARITY_DAY\",\"spec\":{%s}}",
		arm->spec);
	why = kit_compile(&plan, json, "UTC");
	cr_assert_null(why, "%s: %s", arm->name, why);
	kernel = arm->new (&plan);
	fold_many(&plan, arm->fold, kernel);
	start = cpu_us();
	end.at_us = start + after_us;
	watch_begin(is_over, NULL);
	done = arm->finish(kernel);
	watch_end();
	*took = cpu_us() - start;
	kit_teardown();
	return done;
}

static void check_arm(const struct arm *arm)
{
	int64_t all, took;

	cr_assert(run_arm(arm, INT64_MAX / 2, &all), "%s", arm->name);
	for (int part = 0; part < 4; part += 2) {
		bool done = run_arm(arm, all * part / 4, &took);

		fprintf(stderr, "%s: whole %lld ms, over after %lld ms, ended %lld ms later\n",
			arm->name, (long long)all / 1000, (long long)all * part / 4000,
			(long long)(took - all * part / 4) / 1000);
		/* whoever is done before noticing says so; the scan then asks itself */
		cr_assert(!done || part > 0 || all < 10000, "%s", arm->name);
		cr_assert_lt(took - all * part / 4, 100000, "%s", arm->name);
	}
}

#define SERIES(kernel, type, member)                              \
	static void *kernel##_make(const struct plan *plan)       \
	{                                                         \
		return kernel##_new(plan);                        \
	}                                                         \
	static bool kernel##_take(void *k, const struct frame *f) \
	{                                                         \
		return kernel##_fold(k, f);                       \
	}                                                         \
	static bool kernel##_end(void *k)                         \
	{                                                         \
		const struct type *v;                             \
		uint32_t n;                                       \
                                                                  \
		return kernel##_finish(k, &v, &n);                \
	}

SERIES(trends, trend_series, )
SERIES(topk, topk_row, )
SERIES(funnel, funnel_series, )
SERIES(retention, retention_series, )
SERIES(sessions, trend_series, )

static void *flow_make(const struct plan *plan)
{
	return flow_new(plan);
}

static bool flow_take(void *k, const struct frame *f)
{
	return flow_fold(k, f);
}

static bool flow_end(void *k)
{
	struct flow_answer answer;

	return flow_finish(k, &answer);
}

#define EVENT(kind) "{\"event\":{\"kind\":\"" kind "\"}}"

static const struct arm arms[] = {
	{"trends",
		"\"insightType\":\"INSIGHT_TYPE_TRENDS\",\"events\":[{\"event\":{},\"aggregation\":"
		"\"AGGREGATION_TYPE_UNIQUE_USERS\"}],\"breakdowns\":[{\"property\":\"x\"}]",
		trends_make, trends_take, trends_end},
	{"topk",
		"\"insightType\":\"INSIGHT_TYPE_TOP_K\",\"topK\":{\"dimension\":"
		"\"DIMENSION_PROPERTY\",\"property\":\"x\",\"k\":100}",
		topk_make, topk_take, topk_end},
	{"funnel",
		"\"insightType\":\"INSIGHT_TYPE_FUNNEL\",\"includeStepTiming\":true,\"events\":[" EVENT(
			"a") "," EVENT("b") "]",
		funnel_make, funnel_take, funnel_end},
	{"retention", "\"insightType\":\"INSIGHT_TYPE_RETENTION\",\"events\":[" EVENT("a") "]",
		retention_make, retention_take, retention_end},
	{"flow",
		"\"insightType\":\"INSIGHT_TYPE_USER_FLOW\",\"userFlow\":{\"nodeKind\":"
		"\"NODE_KIND_PROPERTY\",\"nodeProperty\":\"x\"}",
		flow_make, flow_take, flow_end},
	{"sessions",
		"\"insightType\":\"INSIGHT_TYPE_TRENDS\",\"session\":{\"metric\":"
		"\"SESSION_METRIC_SESSIONS\"},\"breakdowns\":[{\"property\":\"x\"}]",
		sessions_make, sessions_take, sessions_end},
};

Test(watch, kernels_end_soon, .timeout = 280)
{
	arena_init(&blob_a, (size_t)1 << 30);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		blobs[i] = make_blob(i);
	for (size_t i = 0; i < sizeof(arms) / sizeof(arms[0]); i++)
		check_arm(&arms[i]);
	arena_free(&blob_a);
}

/* ---- conditions, and lists ---- */

enum { TEXT = 4000 };

/* Rows of one kind with one property, of so many different texts. */
static struct batch make_batch(uint32_t rows, uint32_t texts)
{
	static const struct value kind = {.type = VALUE_STR, .s = {"k", 1}};
	uint32_t *codes = arena_array(&kit_a, rows, sizeof(*codes));
	uint32_t *ones = arena_array(&kit_a, rows, sizeof(*ones));
	struct value *v = arena_array(&kit_a, texts, sizeof(*v));
	struct batch_column *props = arena_zalloc(&kit_a, sizeof(*props));
	char *text = arena_alloc(&kit_a, TEXT);

	cr_assert(codes && ones && v && props && text);
	memset(text, 'a', TEXT);
	for (uint32_t i = 0; i < texts; i++)
		v[i] = (struct value){.type = VALUE_STR, .s = {text, TEXT}};
	for (uint32_t i = 0; i < rows; i++) {
		codes[i] = 1 + i % texts;
		ones[i] = 1;
	}
	*props = (struct batch_column){.codes = codes, .entries = v, .n_entries = texts};
	return (struct batch){.n = rows,
		.times = arena_array(&kit_a, rows, sizeof(int64_t)),
		.ids = arena_zalloc(&kit_a, (size_t)rows * 16),
		.ordered = true,
		.one_kind = true,
		.kind = {.codes = ones, .entries = &kind, .n_entries = 1},
		.distinct = {.codes = ones, .entries = &kind, .n_entries = 1},
		.props = props};
}

/* As many conditions on each of the events. */
static void make_conditions(struct plan *plan, enum filter_op op, uint32_t filters, uint32_t events)
{
	struct filter *f = arena_array(&kit_a, filters + 1, sizeof(*f));
	struct plan_event *ev = arena_array(&kit_a, events, sizeof(*ev));

	cr_assert(f && ev);
	for (uint32_t i = 0; i < filters; i++)
		f[i] = (struct filter){.op = op, .value = STR("ab")};
	for (uint32_t i = 0; i < events; i++)
		ev[i] = (struct plan_event){.agg = AGG_TOTAL,
			.number = PLAN_NONE,
			.filters = {.filters = f, .n = filters}};
	*plan = (struct plan){.a = &kit_a, .to_ms = INT64_MAX, .events = ev, .n_events = events};
}

/* A call's memory has room for so many: each case takes seconds when nobody says stop. */
static void check_conditions(const char *name, enum filter_op op, uint32_t filters, uint32_t events,
	uint32_t rows, uint32_t texts)
{
	struct batch b;
	struct frame frame;
	struct plan plan;
	int64_t start, took;
	bool made;

	kit_setup();
	b = make_batch(rows, texts);
	make_conditions(&plan, op, filters, events);
	plan.need.distinct = filters == 0;
	start = cpu_us();
	end.at_us = start + 50000;
	watch_begin(is_over, NULL);
	made = frame_make(&frame, &plan, &b, &kit_people, &kit_a);
	watch_end();
	took = cpu_us() - start;
	fprintf(stderr, "%s: ended %lld ms later\n", name, (long long)(took - 50000) / 1000);
	cr_assert_not(made, "%s: done after %lld ms", name, (long long)took / 1000);
	cr_assert_not(kit_a.over, "%s: it was the memory that ended", name);
	cr_assert_lt(took, 350000, "%s: %lld ms", name, (long long)took / 1000);
	kit_teardown();
}

Test(watch, conditions_end_soon, .timeout = 120)
{
	check_conditions("many filters", FILTER_NOT_CONTAINS, 1000, 1, ROWS, 1000);
	check_conditions("one dictionary", FILTER_NOT_CONTAINS, 1, 1, 2000000, 2000000);
	check_conditions("many rows", FILTER_NOT_EQUALS, 100000, 1, ROWS, 1);
	check_conditions("many events", FILTER_EQUALS, 0, 100000, ROWS, 1);
}

/* Filters that nobody stops are asked as before. */
Test(watch, conditions_are_asked, .init = kit_setup, .fini = kit_teardown)
{
	struct batch b = make_batch(1000, 100);
	struct frame frame;
	struct plan plan;

	make_conditions(&plan, FILTER_NOT_CONTAINS, 5, 1);
	end.asked = 0;
	end.at_us = INT64_MAX;
	watch_begin(is_over, NULL);
	cr_assert(frame_make(&frame, &plan, &b, &kit_people, &kit_a));
	watch_end();
	for (uint32_t i = 0; i < b.n; i++)
		cr_assert(frame.match[0][i]);
	cr_assert_lt(end.asked, 100, "%llu looks", (unsigned long long)end.asked);
}

Test(watch, lists_end_soon, .init = kit_setup, .fini = kit_teardown)
{
	struct batch b = make_batch(ROWS, 1);
	struct evseg seg = {.id = 1, .n = ROWS, .partial = true};
	struct frame frame;
	struct plan plan;
	struct feed feed;

	make_conditions(&plan, FILTER_EQUALS, 0, 1);
	cr_assert(frame_make(&frame, &plan, &b, &kit_people, &kit_a));
	cr_assert(feed_init(&feed, 100, &kit_a));
	cr_assert(feed_fold(&feed, &frame, &seg));
	cr_assert_eq(feed.n, 100);
	cr_assert(feed_init(&feed, 100, &kit_a));
	end.at_us = 0;
	watch_begin(is_over, NULL);
	cr_assert_not(feed_fold(&feed, &frame, &seg));
	watch_end();
	cr_assert_eq(feed.n, 0);
}

/* Of a question with as many events as a call's memory has room for. */
Test(watch, many_events_end_soon, .init = kit_setup, .fini = kit_teardown, .timeout = 120)
{
	enum { EVENTS = 100000 };
	static char json[EVENTS * 3 + 1000];
	int at = sprintf(json, "{\"timeRange\":{\"from\":\"2026-01-01T00:00:00Z\",\"to\":"
			       "\"2026-01-31T00:00:00Z\"},\"granularity\":\"GRANULARITY_DAY\","
			       "\"spec\":{\"insightType\":\"INSIGHT_TYPE_TRENDS\",\"events\":[{}");
	struct plan plan;
	struct evseg s;
	struct batch b;
	struct frame frame;
	struct trends *t;
	int64_t took;

	kit_a.cap = (size_t)1 << 30;
	arena_init(&blob_a, (size_t)1 << 30);
	for (uint32_t i = 1; i < EVENTS; i++)
		at += sprintf(json + at, ",{}");
	strcpy(json + at, "]}}");
	cr_assert_null(kit_compile(&plan, json, "UTC"));
	cr_assert(evseg_open(&s, make_blob(0), &kit_a));
	cr_assert(batch_load(&b, &s, &plan.need, &kit_a));
	cr_assert(frame_make(&frame, &plan, &b, &kit_people, &kit_a));
	t = trends_new(&plan);
	end.at_us = cpu_us() + 20000;
	watch_begin(is_over, NULL);
	cr_assert_not(trends_fold(t, &frame));
	took = cpu_us() - end.at_us;
	cr_assert_not(kit_a.over);
	cr_assert_lt(took, 300000, "%lld ms", (long long)took / 1000);
	/* by now it is over */
	cr_assert_null(hits_any(&frame));
	watch_end();
	cr_assert_not(kit_a.over);
	arena_free(&blob_a);
}

/* Conditions on each of fewer persons than there are turns between two looks. */
Test(watch, rosters_end_soon, .init = kit_setup, .fini = kit_teardown, .timeout = 120)
{
	enum { FILTERS = 50000 };
	struct roster r = {.people = &kit_people, .want = 100};
	struct filter *f = arena_array(&kit_a, FILTERS, sizeof(*f));
	struct plan_group group = {.filters = f, .n = FILTERS};
	struct plan plan;
	const char *why;
	int64_t took;

	for (uint32_t i = 0; i < 3000; i++)
		cr_assert(people_profile(
			&kit_people, str_of(arena_printf(&kit_a, "p%u", i).p), STR("")));
	for (uint32_t i = 0; i < FILTERS; i++)
		f[i] = (struct filter){
			.op = FILTER_NOT_CONTAINS, .profile = true, .value = STR("ab")};
	cr_assert(compile_persons(&plan, NULL, 0, false, &kit_a, &why) == 0);
	cr_assert(persons_init(&r.persons, &plan, NULL, false));
	plan.person_groups = &group;
	plan.n_person_groups = 1;
	end.at_us = cpu_us() + 50000;
	watch_begin(is_over, NULL);
	cr_assert_not(roster_finish(&r));
	watch_end();
	took = cpu_us() - end.at_us;
	fprintf(stderr, "roster: ended %lld ms later\n", (long long)took / 1000);
	cr_assert_lt(took, 300000);
}

/* Outside of a scan nobody says stop. */
Test(watch, nobody_asks)
{
	cr_assert_not(watch_over());
	cr_assert_not(watch_due(WATCH_EVERY - 1));
}
