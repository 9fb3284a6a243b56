/* See pairs.h. Open addressing, at most half full. Both halves are dense numbers of the query's
 * own, which no client chooses: the hash needs no key. */
#include "worker/insights/pairs.h"

enum { CAP_MIN = 64 };

static uint32_t mix(struct pair p)
{
	uint64_t x = ((uint64_t)p.a << 32 | p.b) * 0x9e3779b97f4a7c15u;

	return (uint32_t)(x >> 32 ^ x >> 11);
}

static bool grow(struct pairs *p)
{
	uint32_t cap = p->cap ? p->cap * 2 : CAP_MIN;
	struct pair *v;

	/* slots are twice as many, and in 32 bits, too */
	if (cap >= PAIRS_FULL / 4)
		return false;
	v = arena_grow(p->a, p->v, p->cap * sizeof(*v), cap * sizeof(*v));
	if (!v)
		return false;
	p->v = v;
	/* outgrown ones stay in the arena: all together they are smaller than these */
	p->slots = arena_array(p->a, (size_t)cap * 2, sizeof(*p->slots));
	if (!p->slots)
		return false;
	p->cap = cap;
	p->mask = cap * 2 - 1;
	for (uint32_t i = 0; i < p->n; i++) {
		uint32_t k = mix(p->v[i]) & p->mask;

		while (p->slots[k])
			k = (k + 1) & p->mask;
		p->slots[k] = i + 1;
	}
	return true;
}

uint32_t pairs_add(struct pairs *p, uint32_t a, uint32_t b)
{
	struct pair pair = {a, b};
	uint32_t k;

	if (p->n == p->cap && !grow(p))
		return PAIRS_FULL;
	for (k = mix(pair) & p->mask; p->slots[k]; k = (k + 1) & p->mask)
		if (p->v[p->slots[k] - 1].a == a && p->v[p->slots[k] - 1].b == b)
			return p->slots[k] - 1;
	p->v[p->n] = pair;
	p->slots[k] = ++p->n;
	return p->n - 1;
}
