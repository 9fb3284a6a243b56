/* Kernels end soon after nobody waits for their answer; sorting that can be stopped. */
#include <stdlib.h>
#include "insight_kit.h"
#include "worker/insights/flow.h"
#include "worker/insights/funnel.h"
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

/* Outside of a scan nobody says stop. */
Test(watch, nobody_asks)
{
	cr_assert_not(watch_over());
	cr_assert_not(watch_due(WATCH_EVERY - 1));
}
