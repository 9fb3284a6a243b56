/*
 * Breakdowns of persons: each belongs to the tuple of texts of their first event
 * (D32, D33), so tuples share nobody. Which tuples become series, and $others.
 */
#ifndef INSIGHTS_SPLIT_H
#define INSIGHTS_SPLIT_H

#include "worker/insights/codes.h"
#include "worker/insights/edge.h"
#include "worker/insights/frame.h"

struct split {
	const struct plan *plan;
	struct intern texts, tuples;
	struct codes columns[PLAN_BREAKDOWNS_MAX]; /* of the frame at hand */
	/* by person; times are apart, because nearly all events are asked for theirs only */
	int64_t *times;      /* INT64_MAX while there is none */
	struct edge *firsts; /* tuple is PLAN_NONE while there is none */
	uint32_t n;
	uint32_t source; /* number of the frame at hand */
};

void split_init(struct split *s, const struct plan *plan);
/* Before the events of a frame. False at the arena's cap. */
bool split_frame(struct split *s, const struct frame *f);
/* Whether split_see() may change anything. */
static inline bool split_may_see(const struct split *s, uint32_t person, int64_t time_ms)
{
	return person >= s->n || time_ms <= s->times[person];
}

/* Somebody did something: is it their first? False at the arena's cap. */
bool split_see(struct split *s, const struct frame *f, uint32_t row, uint32_t person);
/* The tuple of somebody's first event, or PLAN_NONE. */
uint32_t split_tuple(const struct split *s, uint32_t person);
/* Whether only ids tell which of their events is the first one (edge.h). */
static inline bool split_unsure(const struct split *s, uint32_t person)
{
	return person < s->n && s->firsts[person].doubt == EDGE_UNSURE;
}

/* The tuples of an answer: by tuple ascending (D74), $others last. */
struct split_series {
	uint32_t n;
	const uint32_t *of;              /* by tuple: its series; PLAN_NONE when nobody has it */
	const struct str *const *values; /* by series: plan->n_breakdowns of them */
};

/* By tuple: what they are ranked by, downwards, and how many persons have them. False
 * at the arena's cap. */
bool split_rank(struct split *s, const uint64_t *weights, const uint64_t *persons,
	struct split_series *out);

#endif
