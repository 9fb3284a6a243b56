/* What trail.c (collecting, giving) and trail_order.c (ties) share. */
#ifndef INSIGHTS_TRAIL_INTERNAL_H
#define INSIGHTS_TRAIL_INTERNAL_H

#include "worker/insights/trail.h"

enum { TRAIL_BLOCK = 128, TRAIL_DAY_BITS = 27 };

/* Column-wise, because each of the loops over a day wants some of it. */
struct trail_block {
	struct trail_block *next;
	uint32_t n;
	bool mixed;         /* origins are set */
	uint32_t origin;    /* number of the segment of the first */
	uint32_t *origins;  /* of all; or NULL */
	uint64_t (*ids)[2]; /* of those that are known; or NULL */
	uint64_t known[TRAIL_BLOCK / 64];
	uint64_t keys[TRAIL_BLOCK];
	uint32_t owners[TRAIL_BLOCK];
};

/* Of the day at hand, by number of the event. */
static inline const struct trail_block *trail_block_of(const struct trails *t, uint64_t number)
{
	return t->blocks[(uint32_t)number / TRAIL_BLOCK];
}

static inline uint32_t trail_owner(const struct trails *t, uint64_t number)
{
	return trail_block_of(t, number)->owners[(uint32_t)number % TRAIL_BLOCK];
}

static inline const uint64_t *trail_key(const struct trails *t, uint64_t number)
{
	return &trail_block_of(t, number)->keys[(uint32_t)number % TRAIL_BLOCK];
}

/* Brings n numbers, each below a time of the day << 32, into the order of time, owner and id; times
 * differ in their lowest bits only, so many of them. There is room for n in t->spares. Where they
 * are then, in v or there; NULL as trails_settle() is false. */
uint64_t *trail_order(struct trails *t, uint64_t *v, uint32_t n, unsigned bits);

#endif
