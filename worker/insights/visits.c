/*
 * See visits.h. Open addressing, with so many free slots that it is nearly always the first that is
 * looked at: one that is not costs as much as all else. Slots are small: they are what is read at
 * random, digests and items are read nearly in order.
 */
#include "shm/base/hash.h"
#include "worker/insights/visits.h"

enum { ROOM_MIN = 512, SPACE = 8 };

void visits_init(struct visits *v, struct arena *a, size_t size)
{
	*v = (struct visits){.a = a, .size = size};
	hash_random(v->key, sizeof(v->key));
}

/* The number of a digest, if need be the next one, which then is taken. */
static uint32_t find(struct visits *v, uint64_t digest)
{
	uint32_t k = (uint32_t)digest & v->mask;

	for (; v->slots[k]; k = (k + 1) & v->mask)
		if (v->digests[v->slots[k] - 1] == digest)
			return v->slots[k] - 1u;
	v->digests[v->n++] = digest;
	v->slots[k] = (uint16_t)v->n;
	return v->n - 1;
}

static bool grow(struct visits *v, uint32_t room)
{
	struct visits old = *v;

	/* one more: find_all() writes each digest behind the last before it knows */
	v->digests = arena_alloc(v->a, ((size_t)room + 1) * sizeof(*v->digests));
	v->items = arena_alloc(v->a, room * v->size);
	v->slots = arena_array(v->a, (size_t)room * SPACE, sizeof(*v->slots));
	if (!v->digests || !v->items || !v->slots)
		return false;
	v->room = room;
	v->mask = room * SPACE - 1;
	v->n = 0;
	if (old.n > 0)
		memcpy(v->items, old.items, old.n * old.size);
	for (uint32_t i = 0; i < old.n; i++)
		find(v, old.digests[i]);
	return true;
}

/* As find(). Whether it is there nobody knows beforehand, so there is no branch for that: it gets
 * the next number in any case, and gives it back. */
static void find_all(struct visits *v, const uint64_t *wanted, uint32_t n, uint32_t *no)
{
	uint64_t *digests = v->digests;
	uint16_t *slots = v->slots;
	uint32_t mask = v->mask, next = v->n;
	const char *items = v->items;
	size_t size = v->size;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t digest = wanted[i];
		uint32_t k = (uint32_t)digest & mask, slot = slots[k], there = slot != 0;
		uint32_t at = next ^ ((next ^ (slot - 1)) & -there);

		digests[next] = digest;
		if (__builtin_expect(digests[at] != digest, 0)) {
			v->n = next;
			no[i] = find(v, digest);
			next = v->n;
			continue;
		}
		slots[k] = (uint16_t)(at + 1);
		next += 1 - there;
		no[i] = at;
		__builtin_prefetch(items + at * size, 1);
	}
	v->n = next;
}

bool visits_find(struct visits *v, const struct batch_column *c, const uint32_t *codes, uint32_t n,
	uint32_t *no)
{
	uint64_t wanted[VISITS_SOME];
	uint32_t room = v->room ? v->room : ROOM_MIN;

	while (room < v->n + n)
		room *= 2;
	if (room > v->room && !grow(v, room))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		wanted[i] = hash_pair(v->key, batch_uuid(c, codes[i]));
		__builtin_prefetch(&v->slots[(uint32_t)wanted[i] & v->mask]);
	}
	find_all(v, wanted, n, no);
	return true;
}

void visits_forget(struct visits *v)
{
	if (v->n > 0)
		memset(v->slots, 0, ((size_t)v->mask + 1) * sizeof(*v->slots));
	v->n = 0;
}
