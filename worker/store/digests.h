/*
 * 64-bit digests to dense numbers, 0, 1, 2, ... in the order in which they were added.
 * A digest is an id under its project's key (pugd.projects.digest_key): two ids of a project
 * with 4 million of them share one with a probability of 4e-7, and nobody who does not
 * know the key can do anything about that.
 */
#ifndef STORE_DIGESTS_H
#define STORE_DIGESTS_H

#include "shm/base/arena.h"

enum { DIGESTS_FULL = UINT32_MAX, DIGEST_KEY_BYTES = 16 };

struct digests {
	struct arena *a;
	uint64_t *v; /* by number; 0: of none */
	uint32_t n, cap;
	uint32_t *slots; /* number + 1; 0: free */
	uint32_t mask;
};

void digests_init(struct digests *t, struct arena *a);
/* Never 0. */
uint64_t digest_of(const uint8_t key[DIGEST_KEY_BYTES], struct str id);
/* Slots of a table with room for `cap`. */
uint64_t digests_slots(uint32_t cap);
/* An empty table in memory of the caller's, v for `cap` digests and as many slots as that
 * takes, or more, all 0. */
void digests_settle(
	struct digests *t, uint64_t *v, uint32_t cap, uint32_t *slots, uint64_t n_slots);
/* Room for n more, so that it need not grow. False at the arena's cap. */
bool digests_reserve(struct digests *t, uint32_t n);
/* Number of d, which is not 0. DIGESTS_FULL at the arena's cap. */
uint32_t digests_add(struct digests *t, uint64_t d);
/* The same for many, which costs less each: memory fetches what the next ones need. 0 gets
 * DIGESTS_FULL. False at the arena's cap. */
bool digests_add_all(struct digests *t, const uint64_t *d, uint32_t n, uint32_t *no);
/* Gives the next n numbers to these, of which none is there yet; 0 takes a number and is not
 * found again. False at the arena's cap. */
bool digests_append(struct digests *t, const uint64_t *d, uint32_t n);
/* DIGESTS_FULL when it was never added. */
uint32_t digests_find(const struct digests *t, uint64_t d);
/* The same for many. */
void digests_find_all(const struct digests *t, const uint64_t *d, uint32_t n, uint32_t *no);

#endif
