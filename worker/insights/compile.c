/*
 * Compiles insight specs and conditions on persons; see compile.h. Everything a kernel
 * needs per query is decided here, so that nothing is looked up per event.
 */
#include "proto/number.h"
#include "proto/wkt.h"
#include "worker/insights/compile.h"
#include "worker/insights/compile_internal.h"
#include "worker/insights/tally.h"

#define AGG(name) INSIGHTS__V1__AGGREGATION_TYPE__AGGREGATION_TYPE_##name

/* BREAKDOWN_LIMIT: what 0 means (4.2). FLAT_EDGES_MAX: edges are sent with the statement, which
 * looks for the ends of each segment among them (scan_segments). */
enum { BREAKDOWN_LIMIT = 10, FLAT_EDGES_MAX = 4096 };

/* No words: the arena is full (compile_internal.h). */
static const char *const too_big = NULL;

struct str compile_text(const char *z)
{
	return z ? str_of(z) : STR("");
}

static bool set_values(struct plan *p, struct filter *f, const Common__V1__PropertyFilter *in)
{
	struct str *values = arena_array(p->a, in->n_values + 1, sizeof(*values));

	if (!values)
		return false;
	for (size_t i = 0; i < in->n_values; i++)
		values[i] = compile_text(in->values[i]);
	f->values = values;
	f->n_values = (uint32_t)in->n_values;
	return filter_prepare(f, p->a);
}

/* A trait is a person's, so that ids must be resolved for it; promoted keys (4.3) have their rules
 * as properties of events only. */
static int make_filter(
	struct plan *p, struct filter *f, const Common__V1__PropertyFilter *in, const char **why)
{
	struct str key = compile_text(in->property), low = compile_text(in->value), high = low;

	*f = (struct filter){.op = (enum filter_op)in->operator_, .value = low};
	f->profile = in->source == COMMON__V1__PROPERTY_SOURCE__PROPERTY_SOURCE_PROFILE;
	f->class = f->profile ? KEY_PLAIN : value_key_class(key);
	f->source = f->profile ? plan_path(p, key) : plan_property(p, key);
	p->people |= f->profile;
	if (f->source == PLAN_NONE || !set_values(p, f, in)) {
		*why = too_big;
		return -1;
	}
	if (!filter_numeric(f->op))
		return 0;
	if (f->op == FILTER_BETWEEN || f->op == FILTER_NOT_BETWEEN) {
		low = f->n_values == 2 ? f->values[0] : STR("");
		high = f->n_values == 2 ? f->values[1] : STR("");
	}
	*why = "value: a numeric filter needs numbers";
	if (!number_parse(low, &f->low) || !number_parse(high, &f->high))
		return -1;
	*why = too_big;
	return 0;
}

int compile_group(struct plan *p, struct plan_group *g, Common__V1__PropertyFilter **in, size_t n,
	bool any, const char **why)
{
	struct filter *filters = arena_array(p->a, n + 1, sizeof(*filters));

	*why = too_big;
	if (!filters)
		return -1;
	*g = (struct plan_group){.any = any, .filters = filters, .n = (uint32_t)n};
	for (size_t i = 0; i < n; i++)
		if (make_filter(p, &filters[i], in[i], why) < 0)
			return -1;
	return 0;
}

int compile_groups(
	struct plan *p, Insights__V1__FilterGroup **in, size_t n, bool any, const char **why)
{
	struct plan_group *groups = arena_array(p->a, n + 1, sizeof(*groups));

	*why = too_big;
	if (!groups)
		return -1;
	p->groups = groups;
	p->n_groups = (uint32_t)n;
	p->any_group = any;
	for (size_t i = 0; i < n; i++)
		if (compile_group(p, &groups[i], in[i]->filters, in[i]->n_filters,
			    in[i]->operator_ == COMMON__V1__LOGICAL_OPERATOR__LOGICAL_OPERATOR_OR,
			    why) < 0)
			return -1;
	return 0;
}

int compile_event(
	struct plan *p, struct plan_event *ev, const Common__V1__EventFilter *in, const char **why)
{
	*ev = (struct plan_event){.agg = AGG_TOTAL, .number = PLAN_NONE};
	if (!in)
		return 0;
	ev->kind = compile_text(in->kind);
	return compile_group(p, &ev->filters, in->filters, in->n_filters, false, why);
}

/* Whether cookieless events count is up to each event's aggregation, not to the query: one trend
 * may have both (0.8, D37). */
int compile_aggregation(struct plan *p, struct plan_event *ev, Insights__V1__AggregationType type,
	const char *property, bool cookieless)
{
	if (type > AGG(UNSPECIFIED) && type <= AGG(MAX))
		ev->agg = (enum plan_agg)type;
	if (ev->agg == AGG_UNIQUE_USERS || ev->agg == AGG_PER_USER_AVG) {
		p->people = true;
		ev->consented = !cookieless;
	} else if (ev->agg != AGG_TOTAL) {
		ev->number = plan_property(p, compile_text(property));
		return ev->number == PLAN_NONE ? -1 : 0;
	}
	return 0;
}

static bool is_empty(const Insights__V1__EventQuery *q)
{
	return q->event->n_filters == 0 && compile_text(q->event->kind).n == 0;
}

const char *compile_wrong(
	struct plan *p, const char *list, size_t i, const char *field, const char *text)
{
	return arena_printf(p->a, "%s[%zu].%s: %s", list, i, field, text).p;
}

/* Trends do not refuse it: each event has a series of its own there. */
bool compile_refused(struct plan *p, const char *list, Insights__V1__EventQuery *const *events,
	size_t n, const char **why)
{
	for (size_t i = 0; i < n; i++) {
		const char *text =
			!events[i]->event ? "event is required"
			: n > 1 && is_empty(events[i])
				? "event must have a kind or a filter, as there are several"
				: NULL;

		if (!text)
			continue;
		*why = compile_wrong(p, list, i, "event", text);
		return true;
	}
	return false;
}

static int make_events(struct plan *p, const Insights__V1__InsightQuerySpec *spec, const char **why)
{
	size_t n = spec->n_events ? spec->n_events : 1;
	struct plan_event *events = arena_array(p->a, n, sizeof(*events));

	*why = too_big;
	if (!events)
		return -1;
	p->events = events;
	p->n_events = (uint32_t)n;
	/* where the request names none this stays: any event, counted (1.3) */
	events[0] = (struct plan_event){.agg = AGG_TOTAL, .number = PLAN_NONE};
	for (size_t i = 0; i < spec->n_events; i++) {
		/* without `event`: any (2.6); segmentation has refused that before */
		if (compile_event(p, &events[i], spec->events[i]->event, why) < 0)
			return -1;
		*why = too_big;
		/* of segmentation only the first event's aggregation counts (D31) */
		if (p->kind == PLAN_SEGMENTATION && i > 0)
			continue;
		if (compile_aggregation(p, &events[i], spec->events[i]->aggregation,
			    spec->events[i]->aggregation_property, spec->include_cookieless) < 0)
			return -1;
	}
	return 0;
}

int compile_breakdowns(struct plan *p, const Insights__V1__InsightQuerySpec *spec, const char **why)
{
	*why = "spec.breakdowns: breakdowns has too many elements";
	if (spec->n_breakdowns > PLAN_BREAKDOWNS_MAX)
		return -1;
	p->limit = spec->breakdown_limit > 0 ? (uint32_t)spec->breakdown_limit : BREAKDOWN_LIMIT;
	for (size_t i = 0; i < spec->n_breakdowns; i++) {
		p->names[i] = compile_text(spec->breakdowns[i]->property);
		p->breakdowns[i] = plan_property(p, p->names[i]);
		*why = too_big;
		if (p->breakdowns[i] == PLAN_NONE)
			return -1;
	}
	p->n_breakdowns = (uint32_t)spec->n_breakdowns;
	return 0;
}

int compile_window(struct plan *p, const Common__V1__TimeRange *range, const char **why)
{
	p->from_ms = wkt_to_ms(range->from->seconds, range->from->nanos);
	p->to_ms = wkt_to_ms(range->to->seconds, range->to->nanos);
	/* a range within one millisecond holds nothing, but is no mistake */
	*why = "time_range.from: from must be before to";
	return p->from_ms <= p->to_ms ? 0 : -1;
}

/* ---- the kinds of insights ---- */

static int trends(struct plan *p, const Insights__V1__QueryRequest *in, const char **why)
{
	return make_events(p, in->spec, why);
}

static int segmentation(struct plan *p, const Insights__V1__QueryRequest *in, const char **why)
{
	return compile_refused(p, "spec.events", in->spec->events, in->spec->n_events, why)
		       ? -1
		       : trends(p, in, why);
}

#define TYPE(name) INSIGHTS__V1__INSIGHT_TYPE__INSIGHT_TYPE_##name

/* By type, and whether spec.session is set. Each has its kernel in rpc/insights.c. */
static const struct {
	Insights__V1__InsightType type;
	enum plan_kind kind;
	bool buckets; /* counts per time bucket */
	bool session; /* asks about spec.session */
	int (*compile)(struct plan *p, const Insights__V1__QueryRequest *in, const char **why);
} kinds[] = {
	{TYPE(TRENDS), PLAN_TRENDS, true, false, trends},
	{TYPE(SEGMENTATION), PLAN_SEGMENTATION, false, false, segmentation},
	{TYPE(TRENDS), PLAN_SESSIONS, true, true, compile_sessions},
	{TYPE(SEGMENTATION), PLAN_SESSIONS, false, true, compile_sessions},
	{TYPE(FUNNEL), PLAN_FUNNEL, false, false, compile_funnel},
	{TYPE(RETENTION), PLAN_RETENTION, true, false, compile_retention},
	{TYPE(USER_FLOW), PLAN_FLOW, false, false, compile_flow},
	{TYPE(TOP_K), PLAN_TOP_K, false, false, compile_top_k},
	{TYPE(MAP), PLAN_TOP_K, false, false, compile_map},
};

/* Whether events may come without the texts of their distinct_ids: nothing asks what more than a
 * few are called (naming.h) or for a trait, and no cookieless visitor is somebody. */
static bool numbers_will_do(const struct plan *p)
{
	bool people = p->kind == PLAN_FUNNEL || p->kind == PLAN_RETENTION ||
		      (p->kind == PLAN_TOP_K && p->dimension == DIMENSION_USER);
	bool every = p->need.distinct && p->n_paths == 0;

	for (uint32_t i = 0; i < p->n_events; i++)
		if (people || tally_needs_users(p->events[i].agg))
			every &= p->events[i].consented;
	return every;
}

/* What the reader may leave out or make short. Comes last: filters, groups, aggregations and
 * buckets each have a say in it. */
static void make_lean(struct plan *p)
{
	p->lean = true;
	p->need.numbers = numbers_will_do(p);
	p->need.flat =
		(p->kind == PLAN_TRENDS || p->kind == PLAN_SEGMENTATION || p->kind == PLAN_TOP_K) &&
		p->buckets.n_stretches <= FLAT_EDGES_MAX;
	p->need.edges = p->buckets.from;
	p->need.n_edges = p->buckets.n_stretches;
}

static int compile_kind(struct plan *p, const Insights__V1__QueryRequest *in, const struct tz *z,
	size_t kind, const char **why)
{
	const Insights__V1__InsightQuerySpec *spec = in->spec;

	int64_t from_ms, to_ms;

	p->kind = kinds[kind].kind;
	if (compile_window(p, in->time_range, why) < 0)
		return -1;
	/* a kind may read beyond its window */
	from_ms = p->from_ms;
	to_ms = p->to_ms;
	if (kinds[kind].compile(p, in, why) < 0 || compile_breakdowns(p, spec, why) < 0)
		return -1;
	if (compile_groups(p, spec->filter_groups, spec->n_filter_groups,
		    spec->filter_groups_operator ==
			    COMMON__V1__LOGICAL_OPERATOR__LOGICAL_OPERATOR_OR,
		    why) < 0)
		return -1;
	/* a group may have asked for traits, which need people */
	p->need.distinct |= p->people;
	*why = too_big;
	if (!plan_only_events(p))
		return -1;
	*why = "time_range: time_range has too many buckets";
	if (kinds[kind].buckets && !buckets_make(&p->buckets, z, (enum bucket_unit)in->granularity,
					   from_ms, to_ms, p->a))
		return -1;
	make_lean(p);
	return 0;
}

int compile_query(struct plan *p, const Insights__V1__QueryRequest *in, struct str zone,
	struct arena *a, const char **why)
{
	const struct tz *z = tz_open(zone, a);

	*p = (struct plan){.a = a, .zone = z};
	/* whoever reads it must find the word "timezone" (D44) */
	*why = "the project's reporting timezone is unknown to this server";
	if (!z)
		return -1;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].type == in->spec->insight_type &&
			kinds[i].session == (in->spec->session != NULL))
			return compile_kind(p, in, z, i, why);
	*why = "spec.insight_type: insight_type is not known";
	return -1;
}

/* ---- conditions on persons ---- */

/* *why begins with the field of the filter that is wrong. Without a source it is a trait
 * (events-profiles.md 5.5): in a copy, because nobody changes messages after decoding. */
static int make_person_filter(
	struct plan *p, struct filter *f, const Common__V1__PropertyFilter *in, const char **why)
{
	/* what an activity summary shows; traits are the other thing to ask for */
	static const char *const shown[] = {"$browser", "$browserVersion", "$os", "$osVersion",
		"$device", "$country", "$region", "$city"};
	Common__V1__PropertyFilter copy = *in;
	bool known = false;

	if (in->source == COMMON__V1__PROPERTY_SOURCE__PROPERTY_SOURCE_UNSPECIFIED)
		copy.source = COMMON__V1__PROPERTY_SOURCE__PROPERTY_SOURCE_PROFILE;
	if (copy.source == COMMON__V1__PROPERTY_SOURCE__PROPERTY_SOURCE_PROFILE)
		return make_filter(p, f, &copy, why);
	*why = "source: filters on profiles name traits, or with PROPERTY_SOURCE_AUTO one of the "
	       "properties of the activity summary";
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		known |= str_eq(compile_text(in->property), str_of(shown[i]));
	if (!known || in->source != COMMON__V1__PROPERTY_SOURCE__PROPERTY_SOURCE_AUTO)
		return -1;
	*why = "operator: properties of the activity summary are text, which no numeric operator "
	       "takes";
	return filter_numeric((enum filter_op)in->operator_) ? -1 : make_filter(p, f, &copy, why);
}

static int make_person_group(struct plan *p, struct plan_group *g, size_t no,
	const Profiles__V1__FilterGroup *in, const char **why)
{
	struct filter *filters = arena_array(p->a, in->n_filters + 1, sizeof(*filters));

	*why = too_big;
	if (!filters)
		return -1;
	*g = (struct plan_group){
		.any = in->operator_ == COMMON__V1__LOGICAL_OPERATOR__LOGICAL_OPERATOR_OR,
		.filters = filters,
		.n = (uint32_t)in->n_filters};
	for (size_t i = 0; i < in->n_filters; i++)
		if (make_person_filter(p, &filters[i], in->filters[i], why) < 0) {
			if (*why)
				*why = arena_printf(
					p->a, "filter_groups[%zu].filters[%zu].%s", no, i, *why)
					       .p;
			return -1;
		}
	return 0;
}

int compile_persons(struct plan *p, Profiles__V1__FilterGroup *const *groups, size_t n, bool any,
	struct arena *a, const char **why)
{
	struct plan_group *made = arena_array(a, n + 1, sizeof(*made));

	*p = (struct plan){.kind = PLAN_PERSONS,
		.a = a,
		.from_ms = INT64_MIN / 2,
		.to_ms = INT64_MAX / 2,
		.people = true,
		.need = {.distinct = true},
		.person_groups = made,
		.n_person_groups = (uint32_t)n,
		.any_person_group = any,
		.dates = true,
		.lean = true};
	*why = too_big;
	if (!made)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (make_person_group(p, &made[i], i, groups[i], why) < 0)
			return -1;
	/* which event of one instant is the latest matters to its properties only (D29) */
	p->need.ids = p->need.n_props > 0;
	return 0;
}
