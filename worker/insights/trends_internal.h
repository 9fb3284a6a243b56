/* What trends.c (folding) and trends_rank.c (the answer) share. */
#ifndef INSIGHTS_TRENDS_INTERNAL_H
#define INSIGHTS_TRENDS_INTERNAL_H

#include "worker/insights/chunks.h"
#include "worker/insights/personset.h"
#include "worker/insights/tally.h"
#include "worker/insights/trends.h"
#include "worker/store/intern.h"
#include "worker/store/people.h"

/* One (plan event, kind, tuple). */
struct line {
	uint32_t event, kind, tuple;
	/* PLAN_NONE: no cell yet */
	uint32_t last_bucket, last_cell; /* events come in runs of one bucket */
};

/* One (line, bucket). */
struct cell {
	uint32_t line, bucket;
	struct tally t;
};

struct trends {
	const struct plan *plan;
	struct intern kinds, texts, tuples, lines_by_key, cells_by_key;
	struct line *lines;
	struct cell *cells;
	uint32_t n_lines, cap_lines, n_cells, cap_cells;
	/* struct personset of ids (hits.h), by cell; of aggregations that need them */
	struct chunks users;
	struct marks marks;
	const struct people *people;
	uint8_t *exists; /* per bucket: some event matched, consent or not */
};

/* A line of the plan's first event, to be counted into from outside. INTERN_FULL at the
 * arena's cap. */
uint32_t trends_line(struct trends *t, uint32_t kind, uint32_t tuple);
/* Its cell of a bucket, until the next one is asked for. NULL at the arena's cap. */
struct tally *trends_cell(struct trends *t, uint32_t line, uint32_t bucket);

#endif
