/*
 * Gives the distinct ids of segments that are about to be put their numbers (numbers.h): those
 * that the project has for them, and new ones to the others. What there is in the database goes
 * by in blocks, and is looked up among the ids at hand: memory depends on these, not on
 * how many the project has.
 */
#ifndef STORE_DENSE_H
#define STORE_DENSE_H

#include "worker/db/db.h"
#include "worker/store/digests.h"
#include "worker/store/numbers.h"

/* Numbers of a block: small enough to be written anew for one more, large enough for a
 * project of millions to have hundreds. Few in tests, whose projects are small. */
#ifdef PUGD_TEST_HOOKS
enum { DENSE_BLOCK = 256 };
#else
enum { DENSE_BLOCK = 8192 };
#endif

struct dense {
	struct arena *a, *scratch; /* scratch: emptied again and again */
	const uint8_t *key;        /* DIGEST_KEY_BYTES */
	struct digests ids;        /* of the segments at hand */
	uint32_t *numbers;         /* of these; 0: not known */
	uint32_t cap, unknown;
	uint32_t next; /* the project's next number */
	uint32_t last; /* numbers in its last block */
	uint64_t *fresh;
	uint32_t n_fresh; /* with numbers from next - n_fresh on */
};

/* A new block, or what the last one gets. */
struct dense_piece {
	uint32_t first, n;
	const uint64_t *digests;
};

/* Whether an id is a cookieless visitor's, who gets no number: queries do not count these by
 * their ids, which are new every day. */
bool dense_cookieless(struct str id);
void dense_init(struct dense *d, const uint8_t *key, struct arena *a, struct arena *scratch);
/* Takes over the numbers that a segment has; one without, or that cannot be read, has none. */
void dense_know(struct dense *d, const struct evseg *s);
/* Notes the ids of a segment. For each event *rows has its place in d->ids + 1, or 0 for a
 * cookieless visitor; in d->a. False when the segment is malformed or an arena is full. */
bool dense_collect(struct dense *d, const struct evseg *s, uint32_t **rows);
/* A block of the project, in their order, from the first on. False when it is not the next. */
bool dense_meet(struct dense *d, uint32_t first, const uint64_t *digests, uint32_t n);
/* New numbers for what has none, as long as there are any. False at the arena's cap. */
bool dense_give(struct dense *d);
/* The next piece of what was given; *at begins with 0. False at the end. */
bool dense_piece(const struct dense *d, uint32_t *at, struct dense_piece *p);
/* The part; stored.p == NULL: one of the ids has no number, or an arena is full. */
void dense_part(const struct dense *d, const uint32_t *rows, uint32_t n, struct evseg_part *part);

/* All of that, inside a transaction that has sealer_lock(), and holds numbers_lock() from then
 * on unless all numbers were known: parts[i] of segs[i]. 0, or -1 with db->err. */
struct dense_job {
	int32_t project;
	const struct evseg *known; /* segments of the project, or NULL */
	uint32_t n_known;
	const struct evseg *segs;
	uint32_t n;
	struct evseg_part *parts;
	bool full; /* set when there are no more numbers */
};

int dense_number(struct db *db, struct dense_job *j, struct arena *a, struct arena *scratch);

#endif
