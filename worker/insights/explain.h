/*
 * What a scan reads, counted in detail for pugd explain; the server's own queries do not. Where
 * a scan needs two runs (scan_again()), segments and events are those of the second one, and
 * bytes and columns those of both.
 */
#ifndef INSIGHTS_EXPLAIN_H
#define INSIGHTS_EXPLAIN_H

#include "worker/db/db.h"
#include "worker/insights/frame.h"

/* Bytes of one column: as stored (LZ4), and unpacked where the plan needs it. */
struct explain_column {
	struct str name; /* "time", "$os" */
	bool property;
	uint64_t segments, stored, decoded;
};

/* What is stored of one level, and why some of it was not read. */
struct explain_level {
	uint64_t all, by_time, by_retention, by_kind, read;
};

struct explain {
	struct arena *a;        /* set by the caller */
	int64_t from_ms, to_ms; /* that the plan reads */
	struct explain_level segments, inbox;
	uint64_t scanned, hidden /* of these: retention, erasure, doubles */, matched;
	/* those that the plan wants, and at the end what came with rows of the inbox besides */
	struct explain_column *columns;
	uint32_t n_columns;
	bool over; /* the arena is full: columns are not counted */
};

/* Counts what the scan will leave out, in its snapshot. False with db->err. */
bool explain_count(struct explain *e, struct db *db, int32_t project, const struct plan *plan);
/* One segment or row of the inbox. */
void explain_segment(struct explain *e, const struct frame *f, const struct evseg *seg);
/* Parts of one that were read later. */
void explain_parts(struct explain *e, const struct plan *plan, const struct evseg *seg);

#endif
