/*
 * See uuids.h. Open addressing, at most three quarters full; half of the hash is beside
 * each number, so that other ids are hardly ever looked at. A large table is in no cache:
 * entries go through it side by side, so that one does not wait for the memory of another.
 * Before it comes a small one of ids that were asked for lately: sessions are of a day.
 */
#include "shm/base/hash.h"
#include "worker/insights/uuids.h"

/* Tables that were outgrown stay in the arena: a third as much, not as much again, when the
 * next is four times as large. */
enum { UUID = 16, SOME = 32, SLOTS_MIN = 1024, SLOTS_FOUR = 1 << 20, RECENT = 1 << 17 };

void uuids_init(struct uuids *u, struct arena *a)
{
	*u = (struct uuids){.a = a};
	chunks_init(&u->v, a, UUID);
	hash_random(u->key, sizeof(u->key));
}

static uint64_t hash(const struct uuids *u, const void *id)
{
	uint64_t w[2];
	unsigned __int128 product;

	memcpy(w, id, sizeof(w));
	product = (unsigned __int128)(w[0] ^ u->key[0]) * (w[1] ^ u->key[1]);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* NULL while the table is as small. */
static uint64_t *recent_at(const struct uuids *u, uint64_t hash)
{
	return u->recent ? &u->recent[(uint32_t)hash & (RECENT - 1)] : NULL;
}

/* Not the half that chooses the slot. */
static uint64_t slot_for(uint64_t hash, uint32_t no)
{
	return (hash & ~(uint64_t)UINT32_MAX) | (no + 1);
}

static uint32_t number_of(uint64_t slot)
{
	return (uint32_t)slot - 1;
}

static bool grow(struct uuids *u)
{
	size_t size = !u->slots              ? SLOTS_MIN
		      : u->mask < SLOTS_FOUR ? ((size_t)u->mask + 1) * 4
					     : ((size_t)u->mask + 1) * 2;

	if (u->n >= UINT32_MAX / 4)
		return false;
	if (!u->recent && size > RECENT)
		u->recent = arena_array(u->a, RECENT, sizeof(*u->recent));
	u->slots = arena_array(u->a, size, sizeof(*u->slots));
	if (!u->slots || (size > RECENT && !u->recent))
		return false;
	u->mask = (uint32_t)(size - 1);
	for (uint32_t i = 0; i < u->n; i++) {
		uint64_t h = hash(u, chunks_at(&u->v, i));
		uint32_t k = (uint32_t)h & u->mask;

		while (u->slots[k])
			k = (k + 1) & u->mask;
		u->slots[k] = slot_for(h, i);
	}
	return true;
}

static bool is_it(const struct uuids *u, uint64_t slot, const char *id, uint64_t hash)
{
	return slot && slot >> 32 == hash >> 32 &&
	       memcmp(chunks_at(&u->v, number_of(slot)), id, UUID) == 0;
}

/* UINT32_MAX at the arena's cap. */
static uint32_t add(struct uuids *u, const char *id, uint64_t hash)
{
	uint64_t *recent = recent_at(u, hash);
	uint32_t k = (uint32_t)hash & u->mask;
	void *v;

	if (recent && is_it(u, *recent, id, hash))
		return number_of(*recent);
	while (u->slots[k] && !is_it(u, u->slots[k], id, hash))
		k = (k + 1) & u->mask;
	if (!u->slots[k]) {
		v = chunks_make(&u->v, u->n);
		if (!v)
			return UINT32_MAX;
		memcpy(v, id, UUID);
		u->slots[k] = slot_for(hash, u->n++);
	}
	if (recent)
		*recent = u->slots[k];
	return number_of(u->slots[k]);
}

static bool add_some(struct uuids *u, const struct batch_column *c, const uint32_t *codes,
	uint32_t n, uint32_t *no)
{
	uint64_t hashes[SOME];

	if ((!u->slots || u->n + n > u->mask - u->mask / 4) && !grow(u))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t *recent;

		hashes[i] = hash(u, c->entries[codes[i] - 1].s.p);
		recent = recent_at(u, hashes[i]);
		if (!recent || *recent >> 32 != hashes[i] >> 32)
			__builtin_prefetch(&u->slots[(uint32_t)hashes[i] & u->mask]);
	}
	for (uint32_t i = 0; i < n; i++) {
		no[codes[i]] = add(u, c->entries[codes[i] - 1].s.p, hashes[i]);
		if (no[codes[i]] == UINT32_MAX)
			return false;
	}
	return true;
}

bool uuids_add(struct uuids *u, const struct batch_column *c, const uint8_t *wanted, uint32_t *no)
{
	uint32_t some[SOME], n = 0;

	for (uint32_t code = 1; code <= c->n_entries; code++) {
		if (!wanted[code])
			continue;
		some[n++] = code;
		if (n == SOME) {
			if (!add_some(u, c, some, n, no))
				return false;
			n = 0;
		}
	}
	return n == 0 || add_some(u, c, some, n, no);
}
