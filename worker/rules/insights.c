/*
 * Rules of insight queries (insights-dashboards.md 2.1, 2.2): which parts go
 * with which type, and how wide a window may be. What an aggregation needs is
 * the same in events, top-K and maps.
 */
#include <stdio.h>

#include "proto/insights/v1/insights.pb-c.h"
#include "proto/validate.h"
#include "proto/wkt.h"
#include "rules.h"

#define TYPE(name)        INSIGHTS__V1__INSIGHT_TYPE__INSIGHT_TYPE_##name
#define AGG(name)         INSIGHTS__V1__AGGREGATION_TYPE__AGGREGATION_TYPE_##name
#define METRIC(name)      INSIGHTS__V1__SESSION_METRIC__SESSION_METRIC_##name
#define DIMENSION(name)   INSIGHTS__V1__TOP_KQUERY__DIMENSION__DIMENSION_##name
#define GRANULARITY(name) INSIGHTS__V1__GRANULARITY__GRANULARITY_##name
#define NODE_PROPERTY     INSIGHTS__V1__USER_FLOW_QUERY__NODE_KIND__NODE_KIND_PROPERTY

enum { MAX_FUNNEL = 20, MAX_RETENTION = 2 };

static bool given(const char *text)
{
	return text && *text;
}

/* SUM, AVG, MIN, MAX look at the numbers of a property. */
static bool is_numeric(Insights__V1__AggregationType type)
{
	return type == AGG(SUM) || type == AGG(AVG) || type == AGG(MIN) || type == AGG(MAX);
}

/* Types that answer one question about single events, with no series. */
static bool is_ranking(const Insights__V1__InsightQuerySpec *spec)
{
	return spec->insight_type == TYPE(TOP_K) || spec->insight_type == TYPE(MAP) ||
	       spec->insight_type == TYPE(USER_FLOW);
}

/* Types that may have numeric aggregations in events, or a session part (2.1). */
static bool is_counting(const Insights__V1__InsightQuerySpec *spec)
{
	return spec->insight_type == TYPE(TRENDS) || spec->insight_type == TYPE(SEGMENTATION);
}

void rule_event_query(struct pb_check *check, const ProtobufCMessage *message)
{
	const Insights__V1__EventQuery *query = (const Insights__V1__EventQuery *)message;

	if (is_numeric(query->aggregation) && !given(query->aggregation_property))
		pb_violation(check, "aggregation_property",
			"aggregation_property is required by SUM, AVG, MIN and MAX");
}

void rule_user_flow_query(struct pb_check *check, const ProtobufCMessage *message)
{
	const Insights__V1__UserFlowQuery *query = (const Insights__V1__UserFlowQuery *)message;

	if (query->node_kind == NODE_PROPERTY && !given(query->node_property))
		pb_violation(
			check, "node_property", "node_property is required by node_kind PROPERTY");
	if (query->max_nodes == 1)
		pb_violation(check, "max_nodes", "max_nodes must be 0 or from 2 to 50");
}

static void check_metric(
	struct pb_check *check, Insights__V1__AggregationType metric, const char *property)
{
	if (is_numeric(metric) && !given(property))
		pb_violation(check, "metric_property",
			"metric_property is required by SUM, AVG, MIN and MAX");
}

void rule_top_k_query(struct pb_check *check, const ProtobufCMessage *message)
{
	const Insights__V1__TopKQuery *query = (const Insights__V1__TopKQuery *)message;
	bool by_property = query->dimension == DIMENSION(PROPERTY);

	if (by_property && !given(query->property))
		pb_violation(check, "property", "property is required by dimension PROPERTY");
	if (!by_property && given(query->property))
		pb_violation(
			check, "property", "property must be empty unless dimension is PROPERTY");
	if (query->dimension == DIMENSION(USER) &&
		(query->metric == AGG(UNIQUE_USERS) || query->metric == AGG(PER_USER_AVG)))
		pb_violation(check, "metric",
			"metric must not be UNIQUE_USERS or PER_USER_AVG when dimension is USER");
	check_metric(check, query->metric, query->metric_property);
}

void rule_map_query(struct pb_check *check, const ProtobufCMessage *message)
{
	const Insights__V1__MapQuery *query = (const Insights__V1__MapQuery *)message;

	check_metric(check, query->metric, query->metric_property);
}

static void check_events(struct pb_check *check, const Insights__V1__InsightQuerySpec *spec)
{
	bool funnel = spec->insight_type == TYPE(FUNNEL);
	bool retention = spec->insight_type == TYPE(RETENTION);
	char place[64];

	if ((funnel || retention) && spec->n_events == 0)
		pb_violation(check, "events", "events is required by this insight_type");
	if (retention && spec->n_events > MAX_RETENTION)
		pb_violation(check, "events", "events must have at most %d elements for RETENTION",
			MAX_RETENTION);
	if (funnel && spec->n_events > MAX_FUNNEL)
		pb_violation(check, "events", "events must have at most %d elements for FUNNEL",
			MAX_FUNNEL);
	if (is_ranking(spec) && spec->n_events > 0)
		pb_violation(check, "events", "events must be empty for this insight_type");
	if (is_counting(spec))
		return;
	for (size_t i = 0; i < spec->n_events; i++) {
		if (!is_numeric(spec->events[i]->aggregation))
			continue;
		snprintf(place, sizeof(place), "events[%zu].aggregation", i);
		pb_violation(check, place,
			"aggregation must not be SUM, AVG, MIN or MAX for this insight_type");
	}
}

static bool repeats(const Insights__V1__InsightQuerySpec *spec, size_t i)
{
	const char *property = spec->breakdowns[i]->property;

	for (size_t j = 0; property && j < i; j++)
		if (spec->breakdowns[j]->property &&
			strcmp(spec->breakdowns[j]->property, property) == 0)
			return true;
	return false;
}

static void check_breakdowns(struct pb_check *check, const Insights__V1__InsightQuerySpec *spec)
{
	bool none = is_ranking(spec) || spec->insight_type == TYPE(SEGMENTATION);
	char place[64];

	if (none && spec->n_breakdowns > 0)
		pb_violation(check, "breakdowns", "breakdowns must be empty for this insight_type");
	if (spec->breakdown_limit != 0 && (is_ranking(spec) || spec->n_breakdowns == 0))
		pb_violation(check, "breakdown_limit", "breakdown_limit needs breakdowns");
	/* No more than five are allowed, so comparing all pairs is cheap. */
	for (size_t i = 1; i < spec->n_breakdowns && i < 8; i++) {
		if (!repeats(spec, i))
			continue;
		snprintf(place, sizeof(place), "breakdowns[%zu].property", i);
		pb_violation(check, place, "property occurs twice in breakdowns");
	}
}

/* A window of zero on another type is one too many as well (2.1). */
static void check_funnel(struct pb_check *check, const Insights__V1__InsightQuerySpec *spec)
{
	const Google__Protobuf__Duration *window = spec->conversion_window;

	if (spec->insight_type != TYPE(FUNNEL)) {
		if (window)
			pb_violation(
				check, "conversion_window", "conversion_window belongs to FUNNEL");
		if (spec->include_step_timing)
			pb_violation(check, "include_step_timing",
				"include_step_timing belongs to FUNNEL");
	} else if (window && (window->seconds < 1 || window->nanos != 0)) {
		pb_violation(check, "conversion_window",
			"conversion_window must be whole seconds, at least one");
	}
}

static void check_session(struct pb_check *check, const Insights__V1__InsightQuerySpec *spec)
{
	const Insights__V1__SessionQuery *session = spec->session;

	if (!session)
		return;
	if (!is_counting(spec))
		pb_violation(check, "session", "session belongs to TRENDS and SEGMENTATION");
	if (spec->n_events > 0)
		pb_violation(check, "session", "session and events must not be set together");
	if ((session->metric == METRIC(ENTRY) || session->metric == METRIC(EXIT)) &&
		(spec->insight_type != TYPE(TRENDS) || spec->n_breakdowns != 1))
		pb_violation(check, "session.metric",
			"metric ENTRY and EXIT want TRENDS with exactly one breakdown");
}

/* The part of a type is set if, and only if, the type is asked for. */
static void check_part(struct pb_check *check, const char *field, const void *part, bool wanted)
{
	if (wanted && !part)
		pb_violation(check, field, "%s is required by this insight_type", field);
	else if (!wanted && part)
		pb_violation(check, field, "%s belongs to another insight_type", field);
}

void rule_insight_query_spec(struct pb_check *check, const ProtobufCMessage *message)
{
	const Insights__V1__InsightQuerySpec *spec =
		(const Insights__V1__InsightQuerySpec *)message;

	if (!spec->has_insight_type || (int)spec->insight_type < 1 ||
		spec->insight_type > TYPE(MAP))
		return; /* without a type nothing else can be judged */
	check_events(check, spec);
	check_breakdowns(check, spec);
	check_funnel(check, spec);
	check_session(check, spec);
	check_part(check, "user_flow", spec->user_flow, spec->insight_type == TYPE(USER_FLOW));
	check_part(check, "top_k", spec->top_k, spec->insight_type == TYPE(TOP_K));
	check_part(check, "map", spec->map, spec->insight_type == TYPE(MAP));
}

static bool in_years(const Google__Protobuf__Timestamp *time)
{
	return time->seconds >= WKT_MIN_SECONDS && time->seconds <= WKT_MAX_SECONDS;
}

/* Longest windows (0.6), inclusive; the same for every insight type. */
void rule_query_request(struct pb_check *check, const ProtobufCMessage *message)
{
	static const int64_t hours[] = {[GRANULARITY(MINUTE)] = 6,
		[GRANULARITY(HOUR)] = 336,
		[GRANULARITY(DAY)] = 8760,
		[GRANULARITY(WEEK)] = 35064,
		[GRANULARITY(MONTH)] = 87660};
	const Insights__V1__QueryRequest *request = (const Insights__V1__QueryRequest *)message;
	const Common__V1__TimeRange *range = request->time_range;
	unsigned granularity = (unsigned)request->granularity;

	/* Their own rules have told of these, and a difference of such times says nothing. */
	if (!range || !range->from || !range->to || !in_years(range->from) || !in_years(range->to))
		return;
	if (granularity < 1 || granularity > GRANULARITY(MONTH))
		return;
	if (wkt_to_ms(range->to->seconds, range->to->nanos) -
			wkt_to_ms(range->from->seconds, range->from->nanos) >
		hours[granularity] * 3600000 + check->slack_ms)
		pb_violation(check, "time_range",
			"time_range must not be longer than %lld hours with this granularity",
			(long long)hours[granularity]);
}
