/*
 * InsightsService: compiles the question, runs it on a scan thread, writes the
 * answer down. The counting itself is in worker/insights.
 */
#include "q.h"
#include "rpc.h"
#include "shm/base/clock.h"
#include "worker/insights/compile.h"
#include "worker/rpc/insight.h"
#include "worker/worker.h"

#define TYPE(name) INSIGHTS__V1__INSIGHT_TYPE__INSIGHT_TYPE_##name

/* The same pairs as in insights/compile.c. The place of one is its bit in worker_ties.kinds: 32
 * at most. */
static const struct {
	Insights__V1__InsightType type;
	bool session; /* asks about spec.session */
	int (*run)(struct call *c, struct scan *s, Insights__V1__QueryResponse *out);
} insights[] = {
	{TYPE(TRENDS), false, insight_trends},
	{TYPE(SEGMENTATION), false, insight_segmentation},
	{TYPE(TRENDS), true, insight_session_trends},
	{TYPE(SEGMENTATION), true, insight_session_total},
	{TYPE(FUNNEL), false, insight_funnel},
	{TYPE(RETENTION), false, insight_retention},
	{TYPE(USER_FLOW), false, insight_flow},
	{TYPE(TOP_K), false, insight_top_k},
	{TYPE(MAP), false, insight_top_k},
};

int insight_run(struct call *c, struct scan *s, void *answer, bool made,
	bool (*fold)(struct scan *s, const struct frame *f, const struct evseg *seg),
	bool (*finish)(struct scan *s))
{
	if (!made)
		return scan_no_memory(c);
	s->kernel = answer;
	s->fold = fold;
	s->finish = finish;
	return scan_run(s, c);
}

/* ---- what only a few questions need ---- */

enum { TIES_MS = 600000 };

/* Where the worker remembers which kinds of insights of a project needed event ids. Projects
 * share places: who lost theirs is only asked twice again. */
static size_t ties_at(const struct call *c)
{
	return (uint32_t)c->who.project % (sizeof(c->w->ties) / sizeof(c->w->ties[0]));
}

/* So that what needs them each time is not asked twice each time. */
static bool ties_expected(const struct call *c, size_t kind)
{
	const struct worker_ties *t = &c->w->ties[ties_at(c)];

	return t->project == c->who.project && t->kinds >> kind & 1 &&
	       clock_mono_ms() < t->until_ms;
}

static void expect_ties(struct call *c, size_t kind)
{
	struct worker_ties *t = &c->w->ties[ties_at(c)];

	if (t->project != c->who.project || clock_mono_ms() >= t->until_ms)
		t->kinds = 0;
	t->project = c->who.project;
	t->kinds |= 1u << kind;
	t->until_ms = clock_mono_ms() + TIES_MS;
}

struct extra {
	bool ids;   /* of all events, where their order is asked for */
	bool texts; /* of distinct ids, where numbers would do */
	bool alone; /* not by two threads */
};

/* One of `insights`. The plan is on this stack, so whatever the answer keeps must be the
 * call's. */
static int ask(struct call *c, struct scan *s, const Insights__V1__QueryRequest *in,
	struct str zone, size_t kind, const struct extra *x, Insights__V1__QueryResponse *out)
{
	uint64_t start = clock_mono_ns();
	struct plan plan;
	const char *why;
	int result;

	if (compile_query(&plan, in, zone, &s->a, &why) < 0) {
		if (!why)
			return scan_no_memory(c);
		return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_INSIGHT_QUERY", "%s", why);
	}
	plan.need.ids |= plan.need.order && x->ids;
	plan.need.numbers &= !x->texts;
	s->plan = &plan;
	s->alone = x->alone;
	s->ns[STAGE_COMPILE] += clock_mono_ns() - start;
	result = insights[kind].run(c, s, out);
	s->ns[STAGE_ANSWER] = clock_mono_ns() - s->ended_ns;
	return result;
}

/* Whether the scan ended because it was asked without something, or with too much. Each of these
 * happens once at most, so that a question is asked four times and no more. */
static bool needs_more(const struct scan *s, struct extra *x)
{
	bool ids = s->end == SCAN_TIES && !x->ids, texts = s->end == SCAN_TEXTS && !x->texts;
	bool alone = s->end == SCAN_ALONE && !x->alone;

	x->ids |= ids;
	x->texts |= texts;
	x->alone |= alone;
	return ids || texts || alone;
}

int insight_ask(struct call *c, struct scan *s, const Insights__V1__QueryRequest *in,
	struct str zone, Insights__V1__QueryResponse *out)
{
	size_t kind = 0, n = sizeof(insights) / sizeof(insights[0]);
	struct extra x = {0};
	int result;

	while (kind < n && (insights[kind].type != in->spec->insight_type ||
				   insights[kind].session != (in->spec->session != NULL)))
		kind++;
	if (kind == n)
		return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_INSIGHT_QUERY",
			"spec.insight_type: insight_type is not known, or has no session metrics");
	x.ids = ties_expected(c, kind);
	for (;;) {
		result = ask(c, s, in, zone, kind, &x, out);
		if (result == 0 || !needs_more(s, &x))
			return result;
		if (s->end == SCAN_TIES)
			expect_ties(c, kind);
		scan_again(s);
	}
}

int rpc_insights_query(
	struct call *c, const Insights__V1__QueryRequest *in, Insights__V1__QueryResponse *out)
{
	struct q_project_zone_row zone;
	int n = q_project_zone(
		&c->db, &(struct q_project_zone_args){.project = c->who.project}, &zone);

	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return call_fail(c, CODE_UNAUTHENTICATED, NULL, "the project was deleted");
	return insight_answer(c, in, zone.reporting_timezone, out);
}
