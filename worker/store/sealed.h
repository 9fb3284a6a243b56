/* A row of what the statements of level 1 give: one segment and some of its columns. */
#ifndef STORE_SEALED_H
#define STORE_SEALED_H

#include "worker/db/db_types.h"
#include "worker/store/evseg.h"

struct sealed {
	int64_t id;
	int32_t n, columns; /* columns: that the segment has */
	struct db_int4s part, scope, raw, stored, crc;
	struct db_texts key;
	struct str data; /* of all of them, one after another */
};

/* Of what a statement gave: the types of their rows differ, their columns do not. */
#define SEALED(row)                        \
	(&(struct sealed){.id = (row)->id, \
		.n = (row)->n,             \
		.columns = (row)->columns, \
		.part = (row)->part,       \
		.scope = (row)->scope,     \
		.raw = (row)->raw,         \
		.stored = (row)->stored,   \
		.crc = (row)->crc,         \
		.key = (row)->key,         \
		.data = (row)->data})

/* Bounds and checksums; what the row refers to must outlive the segment. False when
 * malformed or the arena is full. */
bool sealed_open(struct evseg *s, const struct sealed *row, struct arena *a);

#endif
