/* Writes segments into the tables of level 1, inside the caller's transaction. */
#ifndef STORE_PUT_H
#define STORE_PUT_H

#include "worker/db/db.h"
#include "worker/store/merge.h"

struct put_where {
	int32_t project, tier;
	int64_t place;             /* the greatest of the inbox rows that they came from */
	const struct evseg *known; /* whose events they hold, when these may have numbers */
	uint32_t n_known;
	struct arena *scratch; /* emptied again and again */
};

/* Their events' distinct ids get numbers (dense.h). 0, or -1 with db->err: then the
 * transaction must be rolled back. */
int put_segments(
	struct db *db, const struct put_where *where, const struct merge_segment *v, uint32_t n);

/* Kinds of segments that have several, as segment_put and numberless_put take them. */
struct put_kinds {
	struct arena *a;
	int64_t *of;
	struct str *kind;
	int n, cap;
};

/* Adds those of one; with a segment that cannot be read, or at an arena's cap, nothing. */
void put_kinds_add(struct put_kinds *k, int64_t id, const struct evseg *seg, struct arena *scratch);
/* A part more for each of these segments; those with stored.p == NULL get none. */
int put_parts(struct db *db, const struct put_where *where, const int64_t *ids,
	const struct evseg_part *parts, uint32_t n);

#endif
