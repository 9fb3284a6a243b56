/* Trends and segmentation: runs the kernel, writes the answer down. */
#include <string.h>

#include "proto/access.h"
#include "proto/wkt.h"
#include "shm/base/log.h"
#include "worker/insights/segmentation.h"
#include "worker/insights/trends.h"
#include "worker/rpc/insight.h"

struct run {
	struct trends *kernel;
	const struct trend_series *series;
	uint32_t n;
};

/* Never undecided: breakdowns are by the event's own value (D30), so no order of events
 * matters. */
static bool fold_trends(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	struct run *run = s->kernel;

	(void)seg;
	return trends_fold(run->kernel, f);
}

/* Ranks millions of tuples where a breakdown has as many: on the thread. */
static bool finish_trends(struct scan *s)
{
	struct run *run = s->kernel;

	return trends_finish(run->kernel, &run->series, &run->n);
}

Insights__V1__DataPoint **insight_put_points(
	struct call *c, const struct trend_point *in, uint32_t n)
{
	struct point {
		Insights__V1__DataPoint point;
		Google__Protobuf__Timestamp time;
	} *points = call_alloc(c, n * sizeof(*points));
	Insights__V1__DataPoint **out = call_alloc(c, n * sizeof(Insights__V1__DataPoint *));

	if (!points || !out)
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		insights__v1__data_point__init(&points[i].point);
		google__protobuf__timestamp__init(&points[i].time);
		wkt_of_ms(in[i].time_ms, &points[i].time.seconds, &points[i].time.nanos);
		points[i].point.time = &points[i].time;
		points[i].point.has_value = true;
		points[i].point.value = in[i].value;
		out[i] = &points[i].point;
	}
	return out;
}

/* The kinds of series have a generated type each, and their entries too, which differ in
 * nothing but their names: so entries are made by their descriptors. Without breakdowns the map
 * stays empty, which is absent (insights-dashboards.md 5). */
int insight_put_breakdown(
	struct call *c, ProtobufCMessage *series, const struct plan *p, const struct str *values)
{
	const ProtobufCFieldDescriptor *map =
		protobuf_c_message_descriptor_get_field_by_name(series->descriptor, "breakdown");
	const ProtobufCMessageDescriptor *entry = map->descriptor;
	size_t n = p->n_breakdowns;
	void **entries = call_alloc(c, (n + 1) * sizeof(*entries));
	char *room = call_alloc(c, (n + 1) * entry->sizeof_message);

	/* key and value, in this order */
	must(entry->n_fields == 2);
	if (!entries || !room)
		return -1;
	for (size_t i = 0; i < n; i++) {
		ProtobufCMessage *e = (void *)(room + i * entry->sizeof_message);
		char *key = call_str(c, p->names[i]), *value = call_str(c, values[i]);

		if (!key || !value)
			return -1;
		protobuf_c_message_init(entry, e);
		memcpy(pb_slot(e, entry->fields[0].offset), &key, sizeof(key));
		memcpy(pb_slot(e, entry->fields[1].offset), &value, sizeof(value));
		entries[i] = e;
	}
	memcpy(pb_slot(series, map->offset), &entries, sizeof(entries));
	memcpy(pb_slot(series, map->quantifier_offset), &n, sizeof(n));
	return 0;
}

int insight_put_trends(struct call *c, const struct plan *p, const struct trend_series *series,
	uint32_t n, Insights__V1__QueryResponse *out)
{
	Insights__V1__TrendsResult *result = call_alloc(c, sizeof(*result));
	Insights__V1__TrendSeries *all = call_alloc(c, (n + 1) * sizeof(*all));

	if (!result || !all)
		return -1;
	insights__v1__trends_result__init(result);
	result->series = call_alloc(c, (n + 1) * sizeof(all));
	if (!result->series)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		insights__v1__trend_series__init(&all[i]);
		all[i].event_kind = call_str(c, series[i].kind);
		all[i].n_points = series[i].n_points;
		all[i].points = insight_put_points(c, series[i].points, series[i].n_points);
		if (!all[i].event_kind || !all[i].points ||
			insight_put_breakdown(c, &all[i].base, p, series[i].values) < 0)
			return -1;
		result->series[i] = &all[i];
	}
	result->n_series = n;
	out->result_case = INSIGHTS__V1__QUERY_RESPONSE__RESULT_TRENDS;
	out->trends = result;
	return 0;
}

int insight_trends(struct call *c, struct scan *s, Insights__V1__QueryResponse *out)
{
	struct run run = {.kernel = trends_new(s->plan)};

	if (insight_run(c, s, &run, run.kernel != NULL, fold_trends, finish_trends) < 0)
		return -1;
	return insight_put_trends(c, s->plan, run.series, run.n, out);
}

static bool fold_segmentation(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	(void)seg;
	return segmentation_fold(s->kernel, f);
}

static bool finish_segmentation(struct scan *s)
{
	segmentation_finish(s->kernel);
	return true;
}

/* The kernel is on the coroutine's stack, which outlives the thread's work. has_total without any
 * match, too (1.4). */
int insight_segmentation(struct call *c, struct scan *s, Insights__V1__QueryResponse *out)
{
	Insights__V1__SegmentationResult *result = call_alloc(c, sizeof(*result));
	struct segmentation kernel;

	if (!result)
		return -1;
	segmentation_init(&kernel, s->plan);
	s->kernel = &kernel;
	s->fold = fold_segmentation;
	s->finish = finish_segmentation;
	if (scan_run(s, c) < 0)
		return -1;
	insights__v1__segmentation_result__init(result);
	result->has_total = true;
	result->total = segmentation_total(&kernel);
	out->result_case = INSIGHTS__V1__QUERY_RESPONSE__RESULT_SEGMENTATION;
	out->segmentation = result;
	return 0;
}
