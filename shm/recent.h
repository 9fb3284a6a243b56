/*
 * Ids that the workers stored lately: who sends again mostly does so soon, but to whichever
 * worker takes the new connection. A hint, nothing else: fingerprints, of which newer ones take
 * the places of older ones, so that an answer may be wrong both ways. What is stored is for the
 * primary key of pugd.event_seen to say (D20). Nobody waits and nothing needs repair.
 */
#ifndef SHM_RECENT_H
#define SHM_RECENT_H

#include <stdatomic.h>
#include <stdint.h>

enum { RECENT_WAYS = 15, RECENT_SETS = 1 << 17 }; /* an id each: some seconds at full speed */

/* A cache line. The oldest goes first (FIFO, by the hand), but for those that were stored again
 * since the hand was there last: who sends an id twice sends it thrice, and one id that is not
 * known costs its whole group a claim that fails. */
struct recent_set {
	_Atomic uint32_t hand;
	_Atomic uint32_t v[RECENT_WAYS]; /* 0: free; the last bit: stored again */
};

struct recent {
	struct recent_set sets[RECENT_SETS];
};

struct segment;

/* That of all workers, in the segment. */
struct recent *recent_of(struct segment *seg);
/* One's own, for commands. NULL without memory. */
struct recent *recent_new(void);
void recent_free(struct recent *r);
/* Which of the ids (16 bytes each) were stored, as far as is known: their numbers, from 1 and
 * ascending, into out, which has room for n. Returns how many. */
uint32_t recent_find(const struct recent *r, const int32_t *projects, const uint8_t *ids,
	uint32_t n, int32_t *out);
void recent_add(struct recent *r, const int32_t *projects, const uint8_t *ids, uint32_t n);

#endif
