/*
 * Compiles what counts events or sessions without a path through them: top-K (D35),
 * maps (D41), session metrics (D36); see compile_internal.h.
 */
#include "worker/insights/compile_internal.h"

#define DIMENSION(name) INSIGHTS__V1__TOP_KQUERY__DIMENSION__DIMENSION_##name

/* What 0 means (4.2). */
enum { TOP_LIMIT = 10 };

static const char *const too_big = NULL;

/* The one event of a plan; NULL when the arena is full. */
static struct plan_event *one_event(
	struct plan *p, const Common__V1__EventFilter *scope, const char **why)
{
	struct plan_event *ev = arena_array(p->a, 1, sizeof(*ev));

	*why = too_big;
	if (!ev || compile_event(p, ev, scope, why) < 0)
		return NULL;
	p->events = ev;
	p->n_events = 1;
	return ev;
}

static int rank_by_property(struct plan *p, struct str key, const char **why)
{
	p->ranked = plan_property(p, key);
	*why = too_big;
	return p->ranked == PLAN_NONE ? -1 : 0;
}

int compile_top_k(struct plan *p, const Insights__V1__QueryRequest *in, const char **why)
{
	const Insights__V1__TopKQuery *q = in->spec->top_k;
	bool cookieless = in->spec->include_cookieless;
	struct plan_event *ev;

	*why = "spec.top_k: top_k is required by this insight_type";
	ev = q ? one_event(p, q->scope, why) : NULL;
	if (!ev || compile_aggregation(p, ev, q->metric, q->metric_property, cookieless) < 0)
		return -1;
	p->n_rows = q->limit > 0 ? (uint32_t)q->limit : TOP_LIMIT;
	p->omit_others = q->omit_others;
	switch ((int)q->dimension) {
	case DIMENSION(PROPERTY):
		p->dimension = DIMENSION_PROPERTY;
		return rank_by_property(p, compile_text(q->property), why);
	case DIMENSION(EVENT_KIND):
		p->dimension = DIMENSION_KIND;
		return 0;
	case DIMENSION(USER):
		p->dimension = DIMENSION_USER;
		p->people = true;
		/* whoever is ranked as a person must be one, whatever the metric (0.8) */
		ev->consented = !cookieless;
		return 0;
	default:
		*why = "spec.top_k.dimension: dimension is not known";
		return -1;
	}
}

int compile_map(struct plan *p, const Insights__V1__QueryRequest *in, const char **why)
{
	const Insights__V1__MapQuery *q = in->spec->map;
	struct plan_event *ev;

	*why = "spec.map: map is required by this insight_type";
	ev = q ? one_event(p, q->scope, why) : NULL;
	if (!ev || compile_aggregation(
			   p, ev, q->metric, q->metric_property, in->spec->include_cookieless) < 0)
		return -1;
	p->dimension = DIMENSION_COUNTRY;
	p->n_rows = UINT32_MAX; /* every country (D78) */
	p->omit_others = true;
	return rank_by_property(p, STR("$country"), why);
}

#define METRIC(name) INSIGHTS__V1__SESSION_METRIC__SESSION_METRIC_##name

/* ENTRY and EXIT count sessions, too: of what event, their one breakdown says (1.10). Durations are
 * in ms, and answered in seconds (D36). */
static const struct {
	Insights__V1__SessionMetric metric;
	enum plan_session number;
	enum plan_agg agg;
	bool exits;
} metrics[] = {
	{METRIC(SESSIONS), SESSION_ITSELF, AGG_TOTAL, false},
	{METRIC(AVG_DURATION), SESSION_DURATION, AGG_MEAN_SECONDS, false},
	{METRIC(BOUNCE_RATE), SESSION_BOUNCE, AGG_AVG, false},
	{METRIC(ENTRY), SESSION_ITSELF, AGG_TOTAL, false},
	{METRIC(EXIT), SESSION_ITSELF, AGG_TOTAL, true},
	{METRIC(AVG_EVENTS_PER_SESSION), SESSION_EVENTS, AGG_AVG, false},
};

/* spec.session is there: compile.c's kinds are chosen by it. */
int compile_sessions(struct plan *p, const Insights__V1__QueryRequest *in, const char **why)
{
	const Insights__V1__SessionQuery *q = in->spec->session;
	struct plan_event *ev = one_event(p, q->scope, why);
	size_t i = 0, n = sizeof(metrics) / sizeof(metrics[0]);

	if (!ev)
		return -1;
	while (i < n && metrics[i].metric != q->metric)
		i++;
	*why = "spec.session.metric: metric is not known";
	if (i == n)
		return -1;
	ev->agg = metrics[i].agg;
	p->session_number = metrics[i].number;
	p->exits = metrics[i].exits;
	p->need.session = true;
	/* of events of one instant the id tells which is first (D29) */
	p->need.order = in->spec->n_breakdowns > 0;
	/* a session of the window may go on after it, and one that goes on in it is not of it */
	p->starts_from_ms = p->from_ms;
	p->starts_to_ms = p->to_ms;
	p->from_ms = INT64_MIN / 2;
	p->to_ms = INT64_MAX / 2;
	return 0;
}

int compile_segment_users(struct plan *p, const Insights__V1__SegmentUsersRequest *in,
	struct arena *a, const char **why)
{
	struct plan_event *events = arena_array(a, in->n_events, sizeof(*events));

	*p = (struct plan){.kind = PLAN_SEGMENT_USERS,
		.a = a,
		.people = true,
		.need = {.distinct = true, .flat = true},
		.lean = true,
		.events = events,
		.n_events = (uint32_t)in->n_events};
	*why = too_big;
	/* refusing comes first: below, each `event` is there */
	if (!events || compile_refused(p, "events", in->events, in->n_events, why) ||
		compile_window(p, in->time_range, why) < 0)
		return -1;
	for (size_t i = 0; i < in->n_events; i++)
		if (compile_event(p, &events[i], in->events[i]->event, why) < 0)
			return -1;
	*why = too_big;
	if (!plan_only_events(p))
		return -1;
	if (compile_groups(p, in->filter_groups, in->n_filter_groups,
		    in->filter_groups_operator == COMMON__V1__LOGICAL_OPERATOR__LOGICAL_OPERATOR_OR,
		    why) < 0)
		return -1;
	/* the texts are read in any case, but only few of them are looked at */
	p->need.numbers = p->need.texts = p->n_paths == 0;
	return 0;
}
