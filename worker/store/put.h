/* Writes segments into the tables of level 1, inside the caller's transaction. */
#ifndef STORE_PUT_H
#define STORE_PUT_H

#include "worker/db/db.h"
#include "worker/store/merge.h"

struct put_where {
	int32_t project, tier;
	int64_t place;         /* the greatest of the inbox rows that they came from */
	struct arena *scratch; /* emptied again and again */
};

/* 0, or -1 with db->err: then the transaction must be rolled back. */
int put_segments(
	struct db *db, const struct put_where *where, const struct merge_segment *v, uint32_t n);

#endif
