/* Session metrics, as a trend and as one number: runs the kernel, writes the answer down. */
#include "worker/insights/sessions.h"
#include "worker/rpc/insight.h"

struct run {
	struct sessions *kernel;
	const struct trend_series *series;
	uint32_t n;
	double total;
};

/* Never undecided: a later part of a session may still settle what its edge is, so only the end
 * tells. */
static bool fold(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	struct run *run = s->kernel;

	(void)seg;
	return sessions_fold(run->kernel, f);
}

/* `s` is the second kernel's scan: all of this is in its memory, which goes over with the
 * join. */
static void *twin(struct scan *s, void *kernel)
{
	struct run *run = arena_zalloc(s->plan->a, sizeof(*run));

	if (run)
		run->kernel = sessions_twin(((struct run *)kernel)->kernel, s->plan);
	return run && run->kernel ? run : NULL;
}

static bool join(struct scan *s, void *other)
{
	struct run *run = s->kernel;

	return sessions_join(run->kernel, ((struct run *)other)->kernel);
}

static bool finish_trends(struct scan *s)
{
	struct run *run = s->kernel;
	bool finished = sessions_finish(run->kernel, &run->series, &run->n);

	s->undecided = !finished && sessions_undecided(run->kernel);
	return finished;
}

/* One number has no breakdowns (insights-dashboards.md 2.1), so no order of events matters to
 * it. */
static bool finish_total(struct scan *s)
{
	struct run *run = s->kernel;

	return sessions_total(run->kernel, &run->total);
}

/* Both answers are worked out on the thread. Two kernels have the days before and after the
 * middle; parts of one session that both have are found as records of one digest. */
static int run_kernel(
	struct call *c, struct scan *s, struct run *run, bool (*finish)(struct scan *s))
{
	*run = (struct run){.kernel = sessions_new(s->plan)};
	s->twin = twin;
	s->join = join;
	return insight_run(c, s, run, run->kernel != NULL, fold, finish);
}

int insight_session_trends(struct call *c, struct scan *s, Insights__V1__QueryResponse *out)
{
	struct run run;

	if (run_kernel(c, s, &run, finish_trends) < 0)
		return -1;
	return insight_put_trends(c, s->plan, run.series, run.n, out);
}

int insight_session_total(struct call *c, struct scan *s, Insights__V1__QueryResponse *out)
{
	Insights__V1__SegmentationResult *result = call_alloc(c, sizeof(*result));
	struct run run;

	if (!result || run_kernel(c, s, &run, finish_total) < 0)
		return -1;
	insights__v1__segmentation_result__init(result);
	result->has_total = true;
	result->total = run.total;
	out->result_case = INSIGHTS__V1__QUERY_RESPONSE__RESULT_SEGMENTATION;
	out->segmentation = result;
	return 0;
}
