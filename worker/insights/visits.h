/*
 * The sessions met lately, by a 64-bit digest of their UUIDs (storage.md 1), each with an item
 * of the caller's. Never more than fit into the caches of a core: segments come day by day and
 * sessions are of a day, so what is looked up is mostly there; the caller puts the rest away
 * in time and begins anew (visits_forget()).
 */
#ifndef INSIGHTS_VISITS_H
#define INSIGHTS_VISITS_H

#include "shm/base/arena.h"
#include "worker/store/batch.h"

enum {
	VISITS_MAX = UINT16_MAX, /* sessions at a time */
#ifdef PUGD_TEST_HOOKS
	VISITS_MANY = 3, /* so that tests of few events put away, too */
#else
	VISITS_MANY = 1 << 14, /* fewer take no time worth saving */
#endif
	VISITS_SOME = 256 /* that are looked for at once */
};

struct visits {
	struct arena *a;
	uint64_t key[2]; /* clients choose ids: this keeps them from choosing collisions */
	uint32_t n, room;
	uint64_t *digests; /* by number */
	char *items;
	size_t size;     /* of one */
	uint16_t *slots; /* number + 1; 0: free */
	uint32_t mask;
};

/* Items of `size` bytes. */
void visits_init(struct visits *v, struct arena *a, size_t size);
/* Numbers of the sessions of n codes, none of them 0, of which there are at most VISITS_SOME, and
 * with those that are there no more than VISITS_MAX. New ones get the next numbers; their items
 * are not set. False at the arena's cap. */
bool visits_find(struct visits *v, const struct batch_column *c, const uint32_t *codes, uint32_t n,
	uint32_t *no);
static inline void *visits_item(const struct visits *v, uint32_t no)
{
	return v->items + no * v->size;
}
/* All of them. */
void visits_forget(struct visits *v);

#endif
