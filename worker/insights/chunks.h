/*
 * A growing array whose items never move, in an arena: growing a plain one leaves
 * the old copies behind, which for millions of items is as much memory again.
 */
#ifndef INSIGHTS_CHUNKS_H
#define INSIGHTS_CHUNKS_H

#include "shm/base/arena.h"

enum { CHUNK_SHIFT = 10, CHUNK_ITEMS = 1 << CHUNK_SHIFT };

struct chunks {
	struct arena *a;
	size_t size; /* of an item */
	char **v;
	uint32_t cap; /* chunks, some of them NULL */
};

static inline void chunks_init(struct chunks *c, struct arena *a, size_t size)
{
	*c = (struct chunks){.a = a, .size = size};
}

/* Item no, zero when it is new; NULL at the arena's cap. */
static inline void *chunks_make(struct chunks *c, uint32_t no)
{
	uint32_t k = no >> CHUNK_SHIFT;

	if (k >= c->cap) {
		uint32_t cap = c->cap ? c->cap : 16;
		char **v;

		while (cap <= k)
			cap *= 2;
		v = arena_array(c->a, cap, sizeof(*v));
		if (!v)
			return NULL;
		if (c->cap)
			memcpy(v, c->v, c->cap * sizeof(*v));
		c->v = v;
		c->cap = cap;
	}
	if (!c->v[k])
		c->v[k] = arena_zalloc(c->a, c->size << CHUNK_SHIFT);
	return c->v[k] ? c->v[k] + (no & (CHUNK_ITEMS - 1)) * c->size : NULL;
}

/* Item no, which was made before. */
static inline void *chunks_at(const struct chunks *c, uint32_t no)
{
	return c->v[no >> CHUNK_SHIFT] + (no & (CHUNK_ITEMS - 1)) * c->size;
}

/* Asks memory for an item below one that was made. */
static inline void chunks_fetch(const struct chunks *c, uint32_t no)
{
	const char *chunk = c->v[no >> CHUNK_SHIFT];

	if (chunk)
		__builtin_prefetch(chunk + (no & (CHUNK_ITEMS - 1)) * c->size, 1);
}

#endif
