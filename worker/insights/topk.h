/*
 * Top-K (D35) and maps (D41, D78): the values of a dimension ranked by a metric,
 * the tail folded into one row.
 */
#ifndef INSIGHTS_TOPK_H
#define INSIGHTS_TOPK_H

#include "worker/insights/scan.h"

struct topk;

struct topk_row {
	struct str value;
	double number;
	bool others;
	bool profile; /* of DIMENSION_USER: a live one, whose id the value is */
};

/* NULL at the arena's cap. */
struct topk *topk_new(const struct plan *plan);
/* False at the arena's cap. */
bool topk_fold(struct topk *t, const struct frame *f);
/* Finds what the persons are called who may be kept, where they are known by digest: before
 * topk_finish(), with s and r of scan's more(). */
bool topk_name(struct topk *t, struct scan *s, struct reader *r);
/* Rows in their order, in plan->a. False at the arena's cap. */
bool topk_finish(struct topk *t, const struct topk_row **rows, uint32_t *n);

#endif
