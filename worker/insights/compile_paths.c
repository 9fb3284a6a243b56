/*
 * Compiles the insights that follow persons and sessions from event to event;
 * see compile_internal.h.
 */
#include "worker/insights/compile_internal.h"
#include "worker/insights/flow.h"
#include "worker/insights/funnel.h"
#include "worker/insights/trail.h"

static int wrong_event(struct plan *p, size_t i, const char *text, const char **why)
{
	*why = compile_wrong(p, "spec.events", i, "event", text);
	return -1;
}

/* Events that must each say something (2.6), counted as of people. */
static int make_steps(struct plan *p, const Insights__V1__InsightQuerySpec *spec, const char **why)
{
	struct plan_event *events = arena_array(p->a, spec->n_events + 1, sizeof(*events));

	*why = NULL;
	if (!events)
		return -1;
	p->events = events;
	p->n_events = (uint32_t)spec->n_events;
	p->people = true;
	for (size_t i = 0; i < spec->n_events; i++) {
		const Common__V1__EventFilter *in = spec->events[i]->event;

		if (!in)
			return wrong_event(p, i, "event is required", why);
		if (compile_text(in->kind).n == 0 && in->n_filters == 0)
			return wrong_event(p, i, "event must have a kind or a filter", why);
		if (compile_event(p, &events[i], in, why) < 0)
			return -1;
		events[i].consented = !spec->include_cookieless;
	}
	return 0;
}

/* The rules hold windows far below this; a trail has no room for more. */
static int check_window(const struct plan *p, const char **why)
{
	*why = "time_range: time_range is too long";
	return p->to_ms - p->from_ms < (int64_t)1 << TRAIL_TIME_BITS ? 0 : -1;
}

int compile_funnel(struct plan *p, const Insights__V1__QueryRequest *in, const char **why)
{
	const Insights__V1__InsightQuerySpec *spec = in->spec;

	*why = "spec.events: events must have from 1 to 20 elements for FUNNEL";
	if (spec->n_events < 1 || spec->n_events > FUNNEL_STEPS)
		return -1;
	if (check_window(p, why) < 0 || make_steps(p, spec, why) < 0)
		return -1;
	/* longer than the window is as long as the window */
	p->conversion_ms = p->to_ms - p->from_ms;
	if (spec->conversion_window && spec->conversion_window->seconds <= p->conversion_ms / 1000)
		p->conversion_ms = spec->conversion_window->seconds * 1000;
	p->timing = spec->include_step_timing;
	/* of events of one millisecond, which a single step does not ask for */
	p->need.order = spec->n_events > 1 || spec->n_breakdowns > 0;
	return 0;
}

int compile_retention(struct plan *p, const Insights__V1__QueryRequest *in, const char **why)
{
	const Insights__V1__InsightQuerySpec *spec = in->spec;

	*why = "spec.events: events must have one or two elements for RETENTION";
	if (spec->n_events < 1 || spec->n_events > 2)
		return -1;
	/* which event was first matters for its values only (D29) */
	p->need.order = spec->n_breakdowns > 0;
	return check_window(p, why) < 0 ? -1 : make_steps(p, spec, why);
}

static uint32_t limit(int32_t asked, uint32_t otherwise)
{
	return asked > 0 ? (uint32_t)asked : otherwise;
}

int compile_flow(struct plan *p, const Insights__V1__QueryRequest *in, const char **why)
{
	enum { HOPS = 5, NODES = 20, LINKS = 100 }; /* 4.2 */
	const Insights__V1__UserFlowQuery *q = in->spec->user_flow;
	struct plan_event *scope = arena_array(p->a, 1, sizeof(*scope));

	*why = "spec.user_flow: user_flow is required by this insight_type";
	if (!q || check_window(p, why) < 0)
		return -1;
	p->max_hops = limit(q->max_hops, HOPS);
	p->max_nodes = limit(q->max_nodes, NODES);
	p->max_links = limit(q->max_links, LINKS);
	*why = "spec.user_flow.max_hops: max_hops must be between 0 and 10";
	/* a rule says the same; place_nodes() has room for no more depths */
	if (p->max_hops > FLOW_HOPS)
		return -1;
	*why = NULL;
	if (!scope || compile_event(p, scope, q->scope, why) < 0)
		return -1;
	scope->consented = !in->spec->include_cookieless;
	p->events = scope;
	p->n_events = 1;
	p->need.session = p->need.order = true;
	/* to leave out visitors, not to resolve anybody: two threads can do that (scan.c) */
	p->need.distinct = scope->consented;
	p->node = PLAN_NONE;
	if (q->node_kind != INSIGHTS__V1__USER_FLOW_QUERY__NODE_KIND__NODE_KIND_PROPERTY)
		return 0;
	*why = NULL;
	p->node = plan_property(p, compile_text(q->node_property));
	return p->node == PLAN_NONE ? -1 : 0;
}
