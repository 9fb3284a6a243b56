/*
 * Trends (D30, D73, D74): folds frames into cells (series, bucket), then ranks,
 * folds the tail into $others and fills zeros.
 */
#ifndef INSIGHTS_TRENDS_H
#define INSIGHTS_TRENDS_H

#include "worker/insights/frame.h"

struct trends;

struct trend_point {
	int64_t time_ms;
	double value;
};

struct trend_series {
	struct str kind;
	const struct str *values; /* plan->n_breakdowns of them */
	const struct trend_point *points;
	uint32_t n_points;
};

/* NULL at the arena's cap. */
struct trends *trends_new(const struct plan *plan);
/* False at the arena's cap, or when watch_over(). */
bool trends_fold(struct trends *t, const struct frame *f);
/* Series in the order of D30, in plan->a. False at the arena's cap. */
bool trends_finish(struct trends *t, const struct trend_series **series, uint32_t *n);

#endif
