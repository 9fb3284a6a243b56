/*
 * Very many records under 64-bit digests, which are put away one behind the other and hardly ever
 * looked at again: those of equal digests, of which there are few, are found when all are gone
 * through, without a table of them. A record is some words of the caller's, and its digest lies
 * apart, with those of its neighbours.
 */
#ifndef INSIGHTS_RECORDS_H
#define INSIGHTS_RECORDS_H

#include "shm/base/arena.h"

enum { RECORDS_SHIFT = 12, RECORDS_PER = 1 << RECORDS_SHIFT /* in a chunk */ };

struct records {
	struct arena *a;
	uint32_t words; /* of a record */
	uint32_t n;
	uint64_t **chunks; /* digests, and behind these the records */
	uint32_t n_chunks, cap_chunks;
};

void records_init(struct records *r, struct arena *a, uint32_t words);
/* More chunks. False at the arena's cap. */
bool records_room(struct records *r);
static inline uint64_t *records_digest(const struct records *r, uint32_t no)
{
	return r->chunks[no >> RECORDS_SHIFT] + (no & (RECORDS_PER - 1));
}
static inline uint32_t *records_at(const struct records *r, uint32_t no)
{
	uint32_t *first = (uint32_t *)(r->chunks[no >> RECORDS_SHIFT] + RECORDS_PER);

	return first + (size_t)(no & (RECORDS_PER - 1)) * r->words;
}
/* A new record, for the caller to set; NULL at the arena's cap. */
static inline uint32_t *records_add(struct records *r, uint64_t digest)
{
	if (r->n >> RECORDS_SHIFT >= r->n_chunks && !records_room(r))
		return NULL;
	*records_digest(r, r->n) = digest;
	return records_at(r, r->n++);
}
/* Takes over all those of another one, whose memory stays where it is: in no order. False at the
 * arena's cap. */
bool records_join(struct records *r, struct records *other);
/* Gives the first record of each digest to `meet`, with each later one, to take it over; then
 * those are forgotten, or, last, only left alone: nothing may come after that. False when `meet`
 * says so, when there is no memory (what the arena has left, for the time of this), or when
 * nobody waits any more (watch.h). */
bool records_merge(struct records *r, bool (*meet)(void *arg, uint32_t *record, uint32_t *later),
	void *arg, bool last);

#endif
