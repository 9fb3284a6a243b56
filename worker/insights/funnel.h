/*
 * Funnels (D32, D75): how many persons get how far through steps, each step an
 * event of its own, and how long that takes them.
 */
#ifndef INSIGHTS_FUNNEL_H
#define INSIGHTS_FUNNEL_H

#include "worker/insights/frame.h"

enum { FUNNEL_STEPS = 20, FUNNEL_TIMES = 8 };

/* Buckets of the distribution (1.6); a time is below its bucket's bound. */
struct funnel_time {
	const char *label;
	int64_t below_s; /* 0: no bound */
};

extern const struct funnel_time funnel_times[FUNNEL_TIMES];

/* Times from the step before. */
struct funnel_timing {
	int64_t avg_ns, median_ns, p95_ns;
	uint64_t counts[FUNNEL_TIMES];
};

struct funnel_series {
	const struct str *values;           /* plan->n_breakdowns of them */
	const uint64_t *totals;             /* by step */
	const struct funnel_timing *timing; /* by step, from [1] on; NULL when not asked for */
};

struct funnel;

/* NULL at the arena's cap. */
struct funnel *funnel_new(const struct plan *plan);
/* False at the arena's cap, or when funnel_undecided(). */
bool funnel_fold(struct funnel *f, const struct frame *frame);
/* Series in the order of D32, in plan->a. False at the arena's cap. */
bool funnel_finish(struct funnel *f, const struct funnel_series **series, uint32_t *n);
/* Why fold or finish failed: of events of one time only the ids tell an order that matters, and
 * they were not loaded (batch.h). */
bool funnel_undecided(const struct funnel *f);

#endif
