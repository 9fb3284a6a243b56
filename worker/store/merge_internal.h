/* What merge.c, merge_columns.c and merge_ties.c share. */
#ifndef STORE_MERGE_INTERNAL_H
#define STORE_MERGE_INTERNAL_H

#include "worker/store/intern.h"
#include "worker/store/merge.h"

struct merge_row {
	int64_t time;
	const uint8_t *id;
	uint32_t src, row;
	uint32_t kind; /* number in merge->kinds, or MERGE_SHARED */
	int32_t day;
};

#define MERGE_SHARED UINT32_MAX

/* A segment in the making: rows[first, first + n). */
struct merge_group {
	uint32_t first, n;
	uint64_t decoded; /* what reading it will take, so far */
	bool too_big;     /* must be cut in two */
	struct evseg_part *parts;
	uint32_t n_parts, cap_parts;
	uint64_t bytes;
};

/* One column of one source. */
struct merge_ref {
	const struct evseg_part *part;
	uint32_t src;
};

struct merge {
	const struct evseg *src;
	uint32_t n_src;
	struct arena *a, *scratch;
	struct intern kinds;
	struct merge_row *rows;
	uint32_t n_rows;
	struct merge_ref *refs; /* of all columns, equal ones together */
	uint32_t n_refs;
	/* By row: numbers of its distinct id and its session, 0 without; NULL: nobody has any. */
	uint32_t *distincts, *sessions;
	enum merge_end end;
};

/* Makes the parts of these groups; those that turn out too big are marked so, and the parts that
 * they have by then count for nothing. False with m->end set. */
bool merge_columns(struct merge *m, struct merge_group *groups, uint32_t n);
/* Packs a part and adds it to a group. False with m->end set. */
bool merge_add_part(
	struct merge *m, struct merge_group *g, const struct evseg_part *like, struct str raw);
/* When all groups are made: adds their PART_TIES. False with m->end set. */
bool merge_ties(struct merge *m, struct merge_group *groups, uint32_t n);

#endif
