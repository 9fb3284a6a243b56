/*
 * The rows of a frame at which a vector of its matches is set, some at a time: without a
 * branch per event, and so that what is looked up for one is not waited for by the next.
 */
#ifndef INSIGHTS_HITS_H
#define INSIGHTS_HITS_H

#include "worker/insights/frame.h"

enum { HITS = 1024 };

/* Hits with the same code of a column: one of their rows, and whose they are, from
 * groups->persons[at] on. */
struct hits_group {
	uint32_t row, code, n, at;
};

struct groups {
	const struct batch_column *column;
	uint32_t *place; /* by code; zeros in between */
	uint32_t n;
	struct hits_group v[HITS];
	uint32_t persons[HITS];
};

struct hits {
	const uint8_t *match; /* 0 or 1 */
	uint32_t n_rows, next;
	uint32_t n;
	uint32_t rows[HITS];
};

static inline void hits_begin(struct hits *h, const struct frame *f, const uint8_t *match)
{
	h->match = match;
	h->n_rows = f->batch->n;
	h->next = 0;
}

/* Sets the next n rows, ascending. False when there are none. */
bool hits_next(struct hits *h);
/* Keeps those of n rows whose events may count for what counts people; how many. */
uint32_t hits_consented(const struct frame *f, uint32_t *rows, uint32_t n);
/* Whose events they are. */
void hits_persons(const struct frame *f, const uint32_t *rows, uint32_t n, uint32_t *persons);
/* NULL when the frame's arena is full. */
struct groups *groups_new(const struct frame *f, const struct batch_column *column);
/* Sets the groups of n rows; persons as of hits_persons(), or NULL: nobody asks. */
void groups_make(struct groups *g, const uint32_t *rows, uint32_t n, const uint32_t *persons);
/* What frame_matches() says of each row. NULL when the frame's arena is full. */
const uint8_t *hits_any(const struct frame *f);

#endif
