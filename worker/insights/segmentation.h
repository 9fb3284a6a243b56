/*
 * Segmentation (D31): one number over the events that match any of the listed
 * ones; the first one's aggregation counts.
 */
#ifndef INSIGHTS_SEGMENTATION_H
#define INSIGHTS_SEGMENTATION_H

#include "worker/insights/frame.h"
#include "worker/insights/personset.h"
#include "worker/insights/tally.h"

struct segmentation {
	const struct plan *plan;
	struct tally tally;
	struct personset users; /* ids (hits.h) */
	struct marks marks;
	const struct people *people;
};

void segmentation_init(struct segmentation *s, const struct plan *plan);
/* False at the arena's cap. */
bool segmentation_fold(struct segmentation *s, const struct frame *f);
/* After the last frame. */
void segmentation_finish(struct segmentation *s);
double segmentation_total(const struct segmentation *s);

#endif
