/*
 * The most frequent texts of a property or trait. Exact while all different ones fit in
 * memory; beyond that the rarer half of those seen so far is forgotten, so that a property
 * that is different on every event costs no more than others do.
 */
#ifndef INSIGHTS_VALUES_H
#define INSIGHTS_VALUES_H

#include "worker/insights/frame.h"
#include "worker/store/intern.h"

/* Longer texts are left out: no property of an event is longer, and answers stay small. */
enum { VALUES_TEXT_MAX = 4096 };

struct values {
	struct arena room, *a; /* texts and counts; for sorting */
	struct intern texts;
	uint64_t *counts; /* by number */
	uint32_t cap;
	size_t budget; /* of `room`; half as much again while it is cleared out */
};

/* Release with values_free(), or `room`, which holds it all, as is best (scan_release()). */
void values_init(struct values *v, size_t budget, struct arena *a);
void values_free(struct values *v);
/* Adds n times a text; an empty one is no value. False at the arena's cap. */
bool values_add(struct values *v, struct str text, uint64_t n);
/* Adds property 0 of the plan. False at the arena's cap. */
bool values_fold(struct values *v, const struct frame *f);
/* The `limit` most frequent, ties by text. False at the arena's cap. */
bool values_top(struct values *v, uint32_t limit, const struct str **out, uint32_t *n);

#endif
