/* What eraser.c, eraser_segments.c and eraser_numbers.c share. */
#ifndef JOBS_ERASER_INTERNAL_H
#define JOBS_ERASER_INTERNAL_H

#include "q.h"
#include "worker/db/stream.h"
#include "worker/jobs/eraser.h"
#include "worker/store/sealer.h"
#include "worker/store/tombs.h"

enum {
	BLOB_MEMORY = 512 << 20, /* one segment, decoded and encoded again */
	ERASE_LOCK_MS = 10000,   /* for the lock of sealers, whose transactions are long */
	SCAN_MS = 30000,         /* a silent server */
	SCAN_BATCH = 1000,       /* segments looked at before the cursor moves */
	HITS_MAX = 128
};

enum step { STEP_MORE, STEP_LAST /* of this level */, STEP_TROUBLE, STEP_BROKEN };

struct pass {
	struct eraser *e;
	struct db db;
	struct arena a, blob;
	const struct q_erase_group_row *group; /* by `high` */
	struct db_texts ids;                   /* of the group */
	int64_t *counts;                       /* by number in the group */
	struct tombs tombs;                    /* owner: number in the group */
	struct sealer sealer;                  /* of level 1 */
	int32_t level;
	int64_t cursor, low, high; /* low, high: of the group */
	const char *why;           /* of STEP_BROKEN */
};

/* Segments that are looked through. */
struct scan {
	struct db_stream stream;
	struct pass *p;
	int64_t hits[HITS_MAX], last;
	int32_t days[HITS_MAX]; /* level 1 */
	int n_hits, n;
	bool broken, enough;
	uint64_t end_ms;
};

void erase_count(const struct pass *p, enum counter c, int64_t n);
/* Gives the next statement its time. */
void erase_patient(struct pass *p);
/* STEP_BROKEN with its reason: too little memory, or damage. */
enum step erase_broken(struct pass *p, bool memory);
/* What to leave out, and whose it was; false when it is nobody's any more. */
bool erase_mark(struct pass *p, const struct evseg *seg, const uint32_t *owners, uint8_t *drop);
struct scan *scan_of(struct db_stream *st);
void scan_begin(struct pass *p, struct scan *s,
	enum stream_next (*row)(struct db_stream *st, const struct query *q, const PGresult *res));
/* One was looked at. `day`: level 1. */
enum stream_next scanned(struct scan *s, int64_t id, int32_t day, bool hit);
/* `n`: what the query said. STEP_LAST: all were looked at. */
enum step scan_end(struct pass *p, struct scan *s, int n);
/* Level 1, some of it, from the cursor on. */
enum step segments_step(struct pass *p);
/* What is kept of their ids beside the segments, all of it. */
enum step numbers_step(struct pass *p);

#endif
