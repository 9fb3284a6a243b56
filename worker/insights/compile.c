/*
 * Compiles insight specs and activity lists; see compile.h. Everything a kernel
 * needs per query is decided here, so that nothing is looked up per event.
 */
#include "proto/number.h"
#include "proto/wkt.h"
#include "worker/insights/compile.h"

#define AGG(name) INSIGHTS__V1__AGGREGATION_TYPE__AGGREGATION_TYPE_##name

enum { BREAKDOWN_LIMIT = 10 };

static const char *const too_big = NULL;

static struct str text(const char *z)
{
	return z ? str_of(z) : STR("");
}

static bool set_values(struct plan *p, struct filter *f, const Common__V1__PropertyFilter *in)
{
	struct str *values = arena_array(p->a, in->n_values + 1, sizeof(*values));

	if (!values)
		return false;
	for (size_t i = 0; i < in->n_values; i++)
		values[i] = text(in->values[i]);
	f->values = values;
	f->n_values = (uint32_t)in->n_values;
	return true;
}

static int make_filter(
	struct plan *p, struct filter *f, const Common__V1__PropertyFilter *in, const char **why)
{
	struct str key = text(in->property), low = text(in->value), high = low;

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
	*why = "a numeric filter needs numbers";
	return number_parse(low, &f->low) && number_parse(high, &f->high) ? 0 : -1;
}

static int make_group(struct plan *p, struct plan_group *g, Common__V1__PropertyFilter **in,
	size_t n, bool any, const char **why)
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

static int make_groups(
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
		if (make_group(p, &groups[i], in[i]->filters, in[i]->n_filters,
			    in[i]->operator_ == COMMON__V1__LOGICAL_OPERATOR__LOGICAL_OPERATOR_OR,
			    why) < 0)
			return -1;
	return 0;
}

static int make_event(
	struct plan *p, struct plan_event *ev, const Common__V1__EventFilter *in, const char **why)
{
	*ev = (struct plan_event){.agg = AGG_TOTAL, .number = PLAN_NONE};
	if (!in)
		return 0;
	ev->kind = text(in->kind);
	return make_group(p, &ev->filters, in->filters, in->n_filters, false, why);
}

static int set_aggregation(
	struct plan *p, struct plan_event *ev, const Insights__V1__EventQuery *in, bool cookieless)
{
	if (in->aggregation > AGG(UNSPECIFIED) && in->aggregation <= AGG(MAX))
		ev->agg = (enum plan_agg)in->aggregation;
	if (ev->agg == AGG_UNIQUE_USERS || ev->agg == AGG_PER_USER_AVG) {
		p->people = true;
		ev->consented = !cookieless;
	} else if (ev->agg != AGG_TOTAL) {
		ev->number = plan_property(p, text(in->aggregation_property));
		return ev->number == PLAN_NONE ? -1 : 0;
	}
	return 0;
}

static bool is_empty(const Insights__V1__EventQuery *q)
{
	return q->event->n_filters == 0 && text(q->event->kind).n == 0;
}

/* What segmentation refuses and trends do not (2.6). */
static const char *refusal(const Insights__V1__InsightQuerySpec *spec)
{
	for (size_t i = 0; i < spec->n_events; i++) {
		if (!spec->events[i]->event)
			return "every element of events must have an event";
		if (spec->n_events > 1 && is_empty(spec->events[i]))
			return "each of several events must have a kind or a filter";
	}
	return NULL;
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
	events[0] = (struct plan_event){.agg = AGG_TOTAL, .number = PLAN_NONE};
	for (size_t i = 0; i < spec->n_events; i++) {
		if (make_event(p, &events[i], spec->events[i]->event, why) < 0)
			return -1;
		*why = too_big;
		/* of segmentation only the first event's aggregation counts (D31) */
		if (p->kind == PLAN_SEGMENTATION && i > 0)
			continue;
		if (set_aggregation(p, &events[i], spec->events[i], spec->include_cookieless) < 0)
			return -1;
	}
	return 0;
}

static int make_breakdowns(
	struct plan *p, const Insights__V1__InsightQuerySpec *spec, const char **why)
{
	*why = "too many breakdowns";
	if (spec->n_breakdowns > PLAN_BREAKDOWNS_MAX)
		return -1;
	p->limit = spec->breakdown_limit > 0 ? (uint32_t)spec->breakdown_limit : BREAKDOWN_LIMIT;
	for (size_t i = 0; i < spec->n_breakdowns; i++) {
		p->names[i] = text(spec->breakdowns[i]->property);
		p->breakdowns[i] = plan_property(p, p->names[i]);
		*why = too_big;
		if (p->breakdowns[i] == PLAN_NONE)
			return -1;
	}
	p->n_breakdowns = (uint32_t)spec->n_breakdowns;
	return 0;
}

static int set_window(struct plan *p, const Common__V1__TimeRange *range, const char **why)
{
	p->from_ms = wkt_to_ms(range->from->seconds, range->from->nanos);
	p->to_ms = wkt_to_ms(range->to->seconds, range->to->nanos);
	/* a range within one millisecond holds nothing, but is no mistake */
	*why = "time_range.from must be before time_range.to";
	return p->from_ms <= p->to_ms ? 0 : -1;
}

int compile_query(struct plan *p, const Insights__V1__QueryRequest *in, struct str zone,
	struct arena *a, const char **why)
{
	const Insights__V1__InsightQuerySpec *spec = in->spec;
	bool trends = spec->insight_type == INSIGHTS__V1__INSIGHT_TYPE__INSIGHT_TYPE_TRENDS;
	const struct tz *z = tz_open(zone, a);

	*p = (struct plan){.kind = trends ? PLAN_TRENDS : PLAN_SEGMENTATION, .a = a};
	*why = "the project's reporting timezone is unknown to this server";
	if (!z)
		return -1;
	*why = trends ? NULL : refusal(spec);
	if (*why || set_window(p, in->time_range, why) < 0)
		return -1;
	if (make_events(p, spec, why) < 0 || make_breakdowns(p, spec, why) < 0)
		return -1;
	if (make_groups(p, spec->filter_groups, spec->n_filter_groups,
		    spec->filter_groups_operator ==
			    COMMON__V1__LOGICAL_OPERATOR__LOGICAL_OPERATOR_OR,
		    why) < 0)
		return -1;
	p->need.distinct = p->people;
	p->lean = true;
	*why = too_big;
	if (!plan_only_events(p))
		return -1;
	*why = "time_range has too many buckets";
	return !trends || buckets_make(&p->buckets, z, (enum bucket_unit)in->granularity,
				  p->from_ms, p->to_ms, a)
		       ? 0
		       : -1;
}

static int list_events(struct plan *p, const Activity__V1__ListRequest *in, const char **why)
{
	struct plan_event *events = arena_array(p->a, in->n_events + 1, sizeof(*events));
	struct plan_group *all = arena_array(p->a, 1, sizeof(*all));

	*why = too_big;
	if (!events || !all)
		return -1;
	p->events = events;
	p->n_events = in->n_events ? (uint32_t)in->n_events : 1;
	if (in->n_events == 0 && make_event(p, &events[0], NULL, why) < 0)
		return -1;
	for (size_t i = 0; i < in->n_events; i++)
		if (make_event(p, &events[i], in->events[i], why) < 0)
			return -1;
	p->groups = all;
	p->n_groups = 1;
	return make_group(p, all, in->property_filters, in->n_property_filters, false, why);
}

int compile_list(
	struct plan *p, const Activity__V1__ListRequest *in, struct arena *a, const char **why)
{
	uint8_t *session = arena_alloc(a, 16);

	*p = (struct plan){
		.kind = PLAN_LIST, .a = a, .from_ms = INT64_MIN / 2, .to_ms = INT64_MAX / 2};
	*why = too_big;
	if (!session || list_events(p, in, why) < 0)
		return -1;
	if (in->time_range && set_window(p, in->time_range, why) < 0)
		return -1;
	*why = too_big;
	if (!plan_only_events(p))
		return -1;
	if (text(in->kind).n) {
		p->only_kind = text(in->kind);
		p->kinds = &p->only_kind;
		p->n_kinds = 1;
	}
	*why = "session_id must be a UUID";
	if (text(in->session_id).n) {
		if (!str_uuid(text(in->session_id), session))
			return -1;
		p->session = (struct str){(const char *)session, 16};
	}
	if (text(in->distinct_id).n) {
		p->person = text(in->distinct_id);
		p->people = true;
	}
	p->need.session = p->session.p != NULL;
	p->need.ids = true;
	p->need.distinct = p->people;
	p->lean = true;
	return 0;
}

/* ---- conditions on persons ---- */

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
	*why = "filters on profiles name traits, or with PROPERTY_SOURCE_AUTO one of the "
	       "properties of the activity summary";
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		known |= str_eq(text(in->property), str_of(shown[i]));
	if (!known || in->source != COMMON__V1__PROPERTY_SOURCE__PROPERTY_SOURCE_AUTO)
		return -1;
	*why = "properties of the activity summary are text, which no numeric operator takes";
	return filter_numeric((enum filter_op)in->operator_) ? -1 : make_filter(p, f, &copy, why);
}

static int make_person_group(
	struct plan *p, struct plan_group *g, const Profiles__V1__FilterGroup *in, const char **why)
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
		if (make_person_filter(p, &filters[i], in->filters[i], why) < 0)
			return -1;
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
		if (make_person_group(p, &made[i], groups[i], why) < 0)
			return -1;
	p->need.ids = p->need.n_props > 0;
	return 0;
}
