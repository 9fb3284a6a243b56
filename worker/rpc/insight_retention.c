/* Retention: runs the kernel, writes the answer down. */
#include <stdio.h>
#include <stdlib.h>
#include "proto/wkt.h"
#include "worker/insights/retention.h"
#include "worker/rpc/insight.h"

struct answer {
	struct retention *kernel;
	const struct retention_series *series;
	uint32_t n;
};

static bool fold(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	struct answer *a = s->kernel;
	bool folded = retention_fold(a->kernel, f);

	(void)seg;
	s->undecided = !folded && retention_undecided(a->kernel);
	return folded;
}

/* Undecided only with breakdowns: which of somebody's start events is the first matters for its
 * values alone (compile_retention()). */
static bool finish(struct scan *s)
{
	struct answer *a = s->kernel;
	bool finished = retention_finish(a->kernel, &a->series, &a->n);

	s->undecided = !finished && retention_undecided(a->kernel);
	return finished;
}

/* RFC 3339 in the project's zone, with Z where the offset is zero (D33, D76). Offsets are
 * whole minutes since before the first event that can be stored. Points are
 * instants; a cohort is text, which keeps the offset. */
static char *local_text(struct call *c, const struct tz *zone, int64_t ms)
{
	int64_t at = ms / 1000 - (ms % 1000 < 0), minutes = tz_at(zone, at).offset / 60;
	int64_t local = at + minutes * 60, day = local / 86400 - (local % 86400 < 0), year;
	int second = (int)(local - day * 86400), apart = abs((int)minutes);
	char text[64], offset[16] = "Z";
	unsigned month, mday;

	wkt_date(day, &year, &month, &mday);
	if (apart)
		snprintf(offset, sizeof(offset), "%c%02d:%02d", minutes < 0 ? '-' : '+',
			apart / 60 % 100, apart % 60);
	snprintf(text, sizeof(text), "%04d-%02u-%02uT%02d:%02d:%02d%s", (int)year, month, mday,
		second / 3600, second / 60 % 60, second % 60, offset);
	return call_str(c, str_of(text));
}

static int put_cohorts(struct call *c, Insights__V1__RetentionSeries *out, const struct plan *p,
	const struct retention_series *series)
{
	Insights__V1__RetentionCohort *all = call_alloc(c, series->n_cohorts * sizeof(*all));

	out->cohorts = call_alloc(c, series->n_cohorts * sizeof(all));
	if (!all || !out->cohorts)
		return -1;
	for (uint32_t i = 0; i < series->n_cohorts; i++) {
		insights__v1__retention_cohort__init(&all[i]);
		all[i].cohort = local_text(c, p->zone, series->cohorts[i].start_ms);
		all[i].has_cohort_size = true;
		all[i].cohort_size = (double)series->cohorts[i].size;
		all[i].n_points = series->cohorts[i].n_points;
		all[i].points = insight_put_points(
			c, series->cohorts[i].points, series->cohorts[i].n_points);
		if (!all[i].cohort || !all[i].points)
			return -1;
		out->cohorts[i] = &all[i];
	}
	out->n_cohorts = series->n_cohorts;
	return 0;
}

/* Without a start event there is no series (D76), but the arm is set (1.11). */
static int put(struct call *c, const struct answer *a, const struct plan *p,
	Insights__V1__QueryResponse *out)
{
	Insights__V1__RetentionResult *result = call_alloc(c, sizeof(*result));
	Insights__V1__RetentionSeries *all = call_alloc(c, (a->n + 1) * sizeof(*all));

	if (!result || !all)
		return -1;
	insights__v1__retention_result__init(result);
	result->series = call_alloc(c, (a->n + 1) * sizeof(all));
	if (!result->series)
		return -1;
	for (uint32_t i = 0; i < a->n; i++) {
		insights__v1__retention_series__init(&all[i]);
		if (insight_put_breakdown(c, &all[i].base, p, a->series[i].values) < 0 ||
			put_cohorts(c, &all[i], p, &a->series[i]) < 0)
			return -1;
		result->series[i] = &all[i];
	}
	result->n_series = a->n;
	out->result_case = INSIGHTS__V1__QUERY_RESPONSE__RESULT_RETENTION;
	out->retention = result;
	return 0;
}

int insight_retention(struct call *c, struct scan *s, Insights__V1__QueryResponse *out)
{
	struct answer answer = {.kernel = retention_new(s->plan)};

	if (insight_run(c, s, &answer, answer.kernel != NULL, fold, finish) < 0)
		return -1;
	return put(c, &answer, s->plan, out);
}
