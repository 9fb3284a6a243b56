/* Kernels of paths in every amount of memory: an answer or an honest no, nothing between. */
#include "tests/unit/insight_kit.h"
#include "worker/insights/flow.h"
#include "worker/insights/funnel.h"
#include "worker/insights/retention.h"

TestSuite(path_memory, .init = kit_setup, .fini = kit_teardown);

#define Q(type, spec)                                                                        \
	"{\"spec\":{\"insightType\":\"INSIGHT_TYPE_" type "\"," spec "},"                    \
	"\"timeRange\":{\"from\":\"2024-01-01T00:00:00Z\",\"to\":\"2024-01-05T00:00:00Z\"}," \
	"\"granularity\":\"GRANULARITY_DAY\"}"
#define AB "\"events\":[{\"event\":{\"kind\":\"a\"}},{\"event\":{\"kind\":\"b\"}}]"
#define BY ",\"breakdowns\":[{\"property\":\"p\"}]"

struct kernel {
	void *k;
	bool (*fold)(void *k, const struct frame *f);
	bool failed;
};

static bool fold(void *arg, const struct frame *f)
{
	struct kernel *k = arg;

	k->failed |= !k->fold(k->k, f);
	return true;
}

static bool fold_funnel(void *k, const struct frame *f)
{
	return funnel_fold(k, f);
}

static bool fold_retention(void *k, const struct frame *f)
{
	return retention_fold(k, f);
}

static bool fold_flow(void *k, const struct frame *f)
{
	return flow_fold(k, f);
}

/* What is counted in the answer, or -1 without memory. */
static int64_t run(struct plan *plan, struct kernel *k, const char *const *lines)
{
	const struct funnel_series *funnel;
	const struct retention_series *retention;
	struct flow_answer flow;
	int64_t sum = 0;
	uint32_t n = 0;

	kit_fold(plan, lines, fold, k);
	if (k->failed)
		return -1;
	if (k->fold == fold_flow) {
		if (!flow_finish(k->k, &flow))
			return -1;
		for (uint32_t i = 0; i < flow.n_links; i++)
			sum += (int64_t)flow.links[i].value;
	} else if (k->fold == fold_funnel) {
		if (!funnel_finish(k->k, &funnel, &n))
			return -1;
		for (uint32_t i = 0; i < n; i++)
			sum += (int64_t)funnel[i].totals[1];
	} else {
		if (!retention_finish(k->k, &retention, &n))
			return -1;
		for (uint32_t i = 0; i < n; i++)
			sum += (int64_t)retention[i].cohorts[0].size;
	}
	return sum;
}

/* 300 persons with a session each, who do a and b. */
static const char *const *events(void)
{
	static char lines[600][80];
	static const char *list[602];

	for (int i = 0; i < 600; i++) {
		snprintf(lines[i], sizeof(lines[i]),
			"2024-01-01T10:%02d:%02d %s u%d p=v%d #session=%d", i % 60, i / 60,
			i < 300 ? "a" : "b", i % 300, i % 40, i % 250);
		list[i] = lines[i];
	}
	list[600] = list[601] = NULL;
	return list;
}

static void in_every_amount(const char *json, bool (*f)(void *k, const struct frame *f),
	void *(*make)(const struct plan *plan), int64_t expected)
{
	const char *const *lines = events();
	int answers = 0, refusals = 0;

	for (size_t cap = 256; cap < 4 << 20; cap += cap / 8) {
		struct kernel k = {.fold = f};
		struct plan plan;
		struct arena small;
		int64_t got;

		cr_assert_null(kit_compile(&plan, json, ""));
		arena_init(&small, cap);
		plan.a = &small;
		k.k = make(&plan);
		got = k.k ? run(&plan, &k, lines) : -1;
		cr_assert(got == expected || (got < 0 && small.over), "%zu: %lld", cap,
			(long long)got);
		answers += got >= 0;
		refusals += got < 0;
		arena_free(&small);
	}
	cr_assert(answers > 5 && refusals > 5, "%d %d", answers, refusals);
}

static void *make_funnel(const struct plan *plan)
{
	return funnel_new(plan);
}

static void *make_retention(const struct plan *plan)
{
	return retention_new(plan);
}

static void *make_flow(const struct plan *plan)
{
	return flow_new(plan);
}

Test(path_memory, funnel)
{
	in_every_amount(
		Q("FUNNEL", AB BY ",\"includeStepTiming\":true"), fold_funnel, make_funnel, 300);
	in_every_amount(Q("FUNNEL", AB), fold_funnel, make_funnel, 300);
}

Test(path_memory, retention)
{
	in_every_amount(Q("RETENTION", AB BY), fold_retention, make_retention, 300);
}

Test(path_memory, flow)
{
	in_every_amount(Q("USER_FLOW", "\"userFlow\":{}"), fold_flow, make_flow, 250);
}
