/*
 * Session metrics (D36): folds frames into sessions; at the end those that start in
 * the plan's window become one number, or cells of a trend.
 */
#ifndef INSIGHTS_SESSIONS_H
#define INSIGHTS_SESSIONS_H

#include "worker/insights/frame.h"
#include "worker/insights/trends.h"

struct sessions;

/* NULL at the arena's cap. */
struct sessions *sessions_new(const struct plan *plan);
/* Another one, of the same plan but for its arena: for a second thread, which folds other days.
 * NULL at that arena's cap. */
struct sessions *sessions_twin(const struct sessions *of, const struct plan *plan);
/* Takes over what a twin has, before the end; its memory stays. False at an arena's cap, or when
 * nobody waits. */
bool sessions_join(struct sessions *s, struct sessions *other);
/* False at the arena's cap. */
bool sessions_fold(struct sessions *s, const struct frame *f);
/* Series as those of trends, in plan->a; their kind is that of the scope, or "$session".
 * False at the arena's cap. */
bool sessions_finish(struct sessions *s, const struct trend_series **series, uint32_t *n);
/* The metric over all of them; 0 without any. False as sessions_finish(). */
bool sessions_total(struct sessions *s, double *total);
/* Why finish failed: of events of one time only the ids tell an order that matters, and
 * they were not loaded (batch.h). */
bool sessions_undecided(const struct sessions *s);

#endif
