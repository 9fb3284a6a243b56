/* Funnels: runs the kernel, writes the answer down. */
#include "worker/insights/funnel.h"
#include "worker/rpc/insight.h"

struct answer {
	struct funnel *kernel;
	const struct funnel_series *series;
	uint32_t n;
};

/* On the scan thread, as finish(): the answer is on the stack of the call's coroutine, which is
 * parked until the thread has ended, whatever becomes of the client. False alone says that memory
 * is full; with s->undecided the question is asked again with event ids (insight_ask()). */
static bool fold(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	struct answer *a = s->kernel;
	bool folded = funnel_fold(a->kernel, f);

	(void)seg;
	s->undecided = !folded && funnel_undecided(a->kernel);
	return folded;
}

static bool finish(struct scan *s)
{
	struct answer *a = s->kernel;
	bool finished = funnel_finish(a->kernel, &a->series, &a->n);

	s->undecided = !finished && funnel_undecided(a->kernel);
	return finished;
}

/* Never negative, as steps follow one another: seconds and nanos would need one sign
 * (wkt_duration_ok()). */
static Google__Protobuf__Duration *duration(struct call *c, int64_t ns)
{
	Google__Protobuf__Duration *d = call_alloc(c, sizeof(*d));

	if (!d)
		return NULL;
	google__protobuf__duration__init(d);
	d->seconds = ns / 1000000000;
	d->nanos = (int32_t)(ns % 1000000000);
	return d;
}

/* All buckets, empty ones too: labels and order are contract (insights-dashboards.md 1.6). */
static int put_distribution(
	struct call *c, Insights__V1__StepTiming *out, const struct funnel_timing *t)
{
	Insights__V1__DistributionBucket *buckets = call_alloc(c, FUNNEL_TIMES * sizeof(*buckets));

	out->distribution = call_alloc(c, FUNNEL_TIMES * sizeof(buckets));
	if (!buckets || !out->distribution)
		return -1;
	for (int i = 0; i < FUNNEL_TIMES; i++) {
		insights__v1__distribution_bucket__init(&buckets[i]);
		buckets[i].label = call_str(c, str_of(funnel_times[i].label));
		buckets[i].has_count = true;
		buckets[i].count = (int64_t)t->counts[i];
		if (funnel_times[i].below_s) {
			buckets[i].upper_bound = duration(c, funnel_times[i].below_s * 1000000000);
			if (!buckets[i].upper_bound)
				return -1;
		}
		if (!buckets[i].label)
			return -1;
		out->distribution[i] = &buckets[i];
	}
	out->n_distribution = FUNNEL_TIMES;
	return 0;
}

static Insights__V1__StepTiming *put_timing(struct call *c, const struct funnel_timing *t)
{
	Insights__V1__StepTiming *out = call_alloc(c, sizeof(*out));

	if (!out)
		return NULL;
	insights__v1__step_timing__init(out);
	out->avg = duration(c, t->avg_ns);
	out->median = duration(c, t->median_ns);
	out->p95 = duration(c, t->p95_ns);
	if (!out->avg || !out->median || !out->p95 || put_distribution(c, out, t) < 0)
		return NULL;
	return out;
}

/* Of the first step there is never a timing, of the others always when it was asked for (D32). A
 * step of filters only has the kind "". */
static int put_steps(struct call *c, Insights__V1__FunnelSeries *out, const struct plan *p,
	const struct funnel_series *series)
{
	Insights__V1__FunnelStep *steps = call_alloc(c, p->n_events * sizeof(*steps));

	out->steps = call_alloc(c, p->n_events * sizeof(steps));
	if (!steps || !out->steps)
		return -1;
	for (uint32_t i = 0; i < p->n_events; i++) {
		insights__v1__funnel_step__init(&steps[i]);
		steps[i].event_kind = call_str(c, p->events[i].kind);
		if (!steps[i].event_kind)
			return -1;
		steps[i].has_total = true;
		steps[i].total = (double)series->totals[i];
		if (series->timing && i > 0) {
			steps[i].timing = put_timing(c, &series->timing[i]);
			if (!steps[i].timing)
				return -1;
		}
		out->steps[i] = &steps[i];
	}
	out->n_steps = p->n_events;
	return 0;
}

/* The arm is set without any series, too (1.11). */
static int put(struct call *c, const struct answer *a, const struct plan *p,
	Insights__V1__QueryResponse *out)
{
	Insights__V1__FunnelResult *result = call_alloc(c, sizeof(*result));
	Insights__V1__FunnelSeries *all = call_alloc(c, (a->n + 1) * sizeof(*all));

	if (!result || !all)
		return -1;
	insights__v1__funnel_result__init(result);
	result->series = call_alloc(c, (a->n + 1) * sizeof(all));
	if (!result->series)
		return -1;
	for (uint32_t i = 0; i < a->n; i++) {
		insights__v1__funnel_series__init(&all[i]);
		if (insight_put_breakdown(c, &all[i].base, p, a->series[i].values) < 0 ||
			put_steps(c, &all[i], p, &a->series[i]) < 0)
			return -1;
		result->series[i] = &all[i];
	}
	result->n_series = a->n;
	out->result_case = INSIGHTS__V1__QUERY_RESPONSE__RESULT_FUNNEL;
	out->funnel = result;
	return 0;
}

int insight_funnel(struct call *c, struct scan *s, Insights__V1__QueryResponse *out)
{
	struct answer answer = {.kernel = funnel_new(s->plan)};

	if (insight_run(c, s, &answer, answer.kernel != NULL, fold, finish) < 0)
		return -1;
	return put(c, &answer, s->plan, out);
}
