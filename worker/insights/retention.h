/*
 * Retention (D33, D76): persons by the bucket of their first start event, and the
 * share of each such cohort that came back, bucket by bucket.
 */
#ifndef INSIGHTS_RETENTION_H
#define INSIGHTS_RETENTION_H

#include "worker/insights/trends.h"

struct retention_cohort {
	int64_t start_ms;
	uint64_t size;                    /* persons */
	const struct trend_point *points; /* percent of the cohort */
	uint32_t n_points;
};

struct retention_series {
	const struct str *values; /* plan->n_breakdowns of them */
	const struct retention_cohort *cohorts;
	uint32_t n_cohorts;
};

struct retention;

/* NULL at the arena's cap. */
struct retention *retention_new(const struct plan *plan);
/* False at the arena's cap, or when retention_undecided(). */
bool retention_fold(struct retention *r, const struct frame *f);
/* Series in the order of D33, in plan->a. False at the arena's cap. */
bool retention_finish(struct retention *r, const struct retention_series **series, uint32_t *n);
/* Why fold or finish failed: of events of one time only the ids tell an order that matters, and
 * they were not loaded (batch.h). */
bool retention_undecided(const struct retention *r);

#endif
