/*
 * Compiles the insights that follow persons and sessions from event to event;
 * see compile_internal.h.
 */
#include "worker/insights/compile_internal.h"
#include "worker/insights/funnel.h"
#include "worker/insights/trail.h"

/* A late rejection that names its place; NULL (the arena is full) if it cannot. */
static const char *at_event(struct plan *p, size_t i, const char *what)
{
	return arena_printf(p->a, "events[%zu].event %s", i, what).p;
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

		*why = at_event(p, i, "is required");
		if (!in)
			return -1;
		*why = at_event(p, i, "must have a kind or a filter");
		if (compile_text(in->kind).n == 0 && in->n_filters == 0)
			return -1;
		if (compile_event(p, &events[i], in, why) < 0)
			return -1;
		events[i].consented = !spec->include_cookieless;
	}
	return 0;
}

/* The rules hold windows far below this; a trail has no room for more. */
static int check_window(const struct plan *p, const char **why)
{
	*why = "time_range is too long";
	return p->to_ms - p->from_ms < (int64_t)1 << TRAIL_TIME_BITS ? 0 : -1;
}

int compile_funnel(struct plan *p, const Insights__V1__QueryRequest *in, const char **why)
{
	const Insights__V1__InsightQuerySpec *spec = in->spec;

	*why = "events must have from 1 to 20 elements for FUNNEL";
	if (spec->n_events < 1 || spec->n_events > FUNNEL_STEPS)
		return -1;
	if (check_window(p, why) < 0 || make_steps(p, spec, why) < 0)
		return -1;
	/* longer than the window is as long as the window */
	p->conversion_ms = p->to_ms - p->from_ms;
	if (spec->conversion_window && spec->conversion_window->seconds <= p->conversion_ms / 1000)
		p->conversion_ms = spec->conversion_window->seconds * 1000;
	p->timing = spec->include_step_timing;
	/* they order events of one millisecond, which a single step does not ask for */
	p->need.ids = spec->n_events > 1 || spec->n_breakdowns > 0;
	return 0;
}

int compile_retention(struct plan *p, const Insights__V1__QueryRequest *in, const char **why)
{
	const Insights__V1__InsightQuerySpec *spec = in->spec;

	*why = "events must have one or two elements for RETENTION";
	if (spec->n_events < 1 || spec->n_events > 2)
		return -1;
	/* which event was first matters for its values only (D29) */
	p->need.ids = spec->n_breakdowns > 0;
	return check_window(p, why) < 0 ? -1 : make_steps(p, spec, why);
}
