/*
 * Pairs of 32-bit numbers as small dense numbers: 0, 1, 2, ... in order of appearance.
 */
#ifndef INSIGHTS_PAIRS_H
#define INSIGHTS_PAIRS_H

#include "shm/base/arena.h"

#define PAIRS_FULL UINT32_MAX

struct pair {
	uint32_t a, b;
};

struct pairs {
	struct arena *a;
	struct pair *v; /* by number */
	uint32_t n, cap;
	uint32_t *slots; /* number + 1, 0 = free */
	uint32_t mask;
	uint64_t key[2]; /* of the first slots on */
};

/* The number of a pair; PAIRS_FULL at the arena's cap. Zeros but for `a` are no pairs. */
uint32_t pairs_add(struct pairs *p, uint32_t a, uint32_t b);

#endif
