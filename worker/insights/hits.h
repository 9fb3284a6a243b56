/*
 * The rows of a frame at which a vector of its matches is set, some at a time or all at once:
 * without a branch per event, and so that what is looked up for one is not waited for by the
 * next.
 */
#ifndef INSIGHTS_HITS_H
#define INSIGHTS_HITS_H

#include "worker/insights/frame.h"
#include "worker/insights/personset.h"

enum { HITS = 1024 };

/* All of them. In most frames that is every row, and columns can be taken as they are. */
struct picked {
	const struct frame *f;
	const uint8_t *match; /* 0 or 1 */
	uint32_t n;
	bool every;
	const uint32_t *rows; /* hits_rows(); NULL: every */
};

/* Picked rows with the same code: how many, and their values, from groups->values[at] on. */
struct group {
	uint32_t code, n, at;
};

enum { COUNT_LANES = 4 };

struct groups {
	uint32_t n_codes; /* and one more: 0 */
	uint32_t *place;  /* by lane and code; zeros in between */
	uint32_t n;
	struct group *v;
	uint32_t *values;
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
/* Picks the rows of a vector; consented: of those whose events may count for what counts
 * people. False when the frame's arena is full. */
bool hits_pick(struct picked *p, const struct frame *f, const uint8_t *match, bool consented);
/* Makes rows. False when the frame's arena is full. */
bool hits_rows(struct picked *p);
static inline uint32_t hits_row(const struct picked *p, uint32_t k)
{
	return p->rows ? p->rows[k] : k;
}
/* With rows: how many of what was picked, from `at` on, lie in the bucket of the first, which is
 * set; near as in buckets_find_near(). */
uint32_t hits_in_bucket(const struct picked *p, const struct buckets *b, struct buckets_near *near,
	uint32_t at, uint32_t *bucket);
/* A column at what was picked. NULL when the frame's arena is full. */
const uint32_t *hits_column(const struct picked *p, const uint32_t *column);
/* Whose events were picked, as ids (people_id()) below hits_ids_end(). Those of sealed events
 * need no looking up, so sets are of ids until the end. NULL when the frame's arena is full. */
const uint32_t *hits_ids(const struct picked *p);
uint32_t hits_ids_end(const struct frame *f);
static inline struct id_map hits_id_map(const struct people *p)
{
	return (struct id_map){p->of_number, p->n_numbers};
}
/* Groups by a column with codes up to n_codes, of up to n rows. False when the arena is full. */
bool groups_init(struct groups *g, uint32_t n_codes, uint32_t n, struct arena *a);
/* Sets the groups of n codes; values of each, or NULL: nobody asks. */
void groups_make(struct groups *g, const uint32_t *codes, uint32_t n, const uint32_t *values);
/* What frame_matches() says of each row. NULL when the frame's arena is full, or
 * watch_over(). */
const uint8_t *hits_any(const struct frame *f);

#endif
