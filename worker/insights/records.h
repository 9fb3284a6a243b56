/*
 * Very many records under 64-bit digests, which are put away one behind the other and hardly ever
 * looked at again: those of equal digests, of which there are few, are found when all are gone
 * through, without a table of them. A record is words of the caller's behind its digest.
 */
#ifndef INSIGHTS_RECORDS_H
#define INSIGHTS_RECORDS_H

#include <string.h>
#include "shm/base/arena.h"

enum { RECORDS_SHIFT = 12, RECORDS_PER = 1 << RECORDS_SHIFT /* in a chunk */, RECORD_DIGEST = 2 };

struct records {
	struct arena *a;
	uint32_t words; /* of a record, the digest included */
	uint32_t n;
	uint32_t **chunks;
	uint32_t n_chunks, cap_chunks;
	/* of a merge */
	uint64_t *bits;
	size_t cap_bits;
	uint32_t *gone; /* records that others took over, ascending */
	uint32_t n_gone;
};

void records_init(struct records *r, struct arena *a, uint32_t words);
/* More chunks. False at the arena's cap. */
bool records_room(struct records *r);
static inline uint32_t *records_at(const struct records *r, uint32_t no)
{
	return r->chunks[no >> RECORDS_SHIFT] + (size_t)(no & (RECORDS_PER - 1)) * r->words;
}
/* Words of a new record, behind its digest, for the caller to set; NULL at the arena's cap. */
static inline uint32_t *records_add(struct records *r, uint64_t digest)
{
	uint32_t *record;

	if (r->n >> RECORDS_SHIFT >= r->n_chunks && !records_room(r))
		return NULL;
	record = records_at(r, r->n++);
	memcpy(record, &digest, sizeof(digest));
	return record + RECORD_DIGEST;
}
/* Gives the first record of each digest to `meet`, with each later one, to take it over. False
 * when that says so, at the arena's cap, or when nobody waits any more (watch.h). Before another
 * merge records_squeeze() must come. */
bool records_merge(
	struct records *r, bool (*meet)(void *arg, uint32_t *record, uint32_t *later), void *arg);
/* Forgets the records that others took over. */
void records_squeeze(struct records *r);

#endif
