/* What reader_cached.c (columns in memory) and reader_twin.c (two threads) share. */
#ifndef STORE_READER_CACHED_H
#define STORE_READER_CACHED_H

#include "worker/store/reader_internal.h"

enum { CACHED_COLUMNS = 64 /* that may be wanted: bits of a word */ };

struct cached_head {
	struct reader_head row;
	uint64_t tag;
	uint64_t wanted, missing; /* columns, by their places in the lists */
};

struct reader_cached {
	struct reader_wanted w;
	uint64_t tag[CACHED_COLUMNS];
	uint64_t kept;     /* columns that are worth being in memory */
	uint64_t optional; /* that a segment may be without; the loss of another is not kept */
	struct cached_head *heads;
	uint32_t n, most;
	uint32_t next; /* to be given */
	/* the window, and what is read for it */
	uint32_t end, n_pairs, most_pairs, last;
	int64_t *segment;
	int32_t *no;
	uint32_t *of;
	/* heads[next], if some of it was read */
	bool open;
	struct evseg_part *v;
	uint32_t n_v;
	uint64_t got;
	/* heads[next] is not in memory any more */
	bool lost;
	uint32_t n_lost, whole; /* whole: it is read whole */
	bool enough;
};

/* Columns of a segment that are not in memory, or will not be after `more` bytes were put. */
uint64_t cached_missing(const struct reader *r, const struct cached_head *h, uint64_t more);
/* Gives what is before `end`, all of which is in memory, or was read. */
enum stream_next cached_give(struct reader *r, uint32_t end);
/* Reads and gives what is left. 0, or negative with r->error or the stream's. */
int cached_steps(struct reader *r);
/* The same by two threads, if r->twin has another reader. */
int cached_twins(struct reader *r);

#endif
