/* See pairs.h. Open addressing, at most half full. Both halves are dense numbers of the query's
 * own, but whoever sends events chooses which of them meet: the hash has a key. */
#include "worker/insights/pairs.h"
#include "shm/base/hash.h"

enum { CAP_MIN = 64 };

static uint32_t slot_of(const struct pairs *p, struct pair pair)
{
	uint64_t halves[2] = {pair.a, pair.b};

	return (uint32_t)hash_pair(p->key, halves) & p->mask;
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
	if (p->n == 0)
		hash_random(p->key, sizeof(p->key));
	p->cap = cap;
	p->mask = cap * 2 - 1;
	for (uint32_t i = 0; i < p->n; i++) {
		uint32_t k = slot_of(p, p->v[i]);

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
	for (k = slot_of(p, pair); p->slots[k]; k = (k + 1) & p->mask)
		if (p->v[p->slots[k] - 1].a == a && p->v[p->slots[k] - 1].b == b)
			return p->slots[k] - 1;
	p->v[p->n] = pair;
	p->slots[k] = ++p->n;
	return p->n - 1;
}
