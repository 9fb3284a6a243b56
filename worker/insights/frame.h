/*
 * One batch seen through a plan: which events match what. Conditions are asked
 * once per dictionary entry; per event there is only a table lookup.
 */
#ifndef INSIGHTS_FRAME_H
#define INSIGHTS_FRAME_H

#include "worker/insights/plan.h"
#include "worker/store/people.h"

struct frame {
	const struct plan *plan;
	const struct batch *batch;
	struct people *people;
	struct arena *a; /* of this batch */
	/* by code of batch->distinct, [0] unused; or NULL. Where the plan has events: of the ids
	 * whose events match one of them, and of no others. */
	const uint32_t *persons;
	const uint8_t *cookieless;   /* by code of batch->distinct; or NULL: 0 is, no other is */
	const uint8_t *base;         /* per event: window, groups, mask */
	const uint8_t *const *match; /* per plan event, per event; base included, consent not */
	/* No event before it comes, neither with this frame nor later. frame_make() knows of
	 * no such time; whoever reads segments in an order may set it. */
	int64_t settled_ms;
};

/* False when an arena is full, a number is nobody's, or watch_over(). */
bool frame_make(struct frame *f, const struct plan *plan, const struct batch *b,
	struct people *people, struct arena *a);
/* True when the event at row may count for a plan event that counts people. */
static inline bool frame_consented(const struct frame *f, uint32_t row)
{
	uint32_t code = f->batch->distinct.codes[row];

	return f->cookieless ? !f->cookieless[code] : code != 0;
}
/* True when the event at row matches any of the plan's; consent is not asked. */
static inline bool frame_matches(const struct frame *f, uint32_t row)
{
	for (uint32_t e = 0; e < f->plan->n_events; e++)
		if (f->match[e][row])
			return true;
	return false;
}

#endif
