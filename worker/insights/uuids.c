/*
 * See uuids.h. Open addressing, at most half full. A large table is in no cache: entries
 * go through it side by side, so that one does not wait for the memory of another.
 */
#include "shm/base/hash.h"
#include "worker/insights/uuids.h"

enum { UUID = 16, SOME = 32, SLOTS_MIN = 1024 };

void uuids_init(struct uuids *u, struct arena *a)
{
	*u = (struct uuids){.a = a};
	chunks_init(&u->v, a, UUID);
	hash_random(u->key, sizeof(u->key));
}

static uint32_t hash(const struct uuids *u, const void *id)
{
	uint64_t w[2];
	unsigned __int128 product;

	memcpy(w, id, sizeof(w));
	product = (unsigned __int128)(w[0] ^ u->key[0]) * (w[1] ^ u->key[1]);
	return (uint32_t)((uint64_t)product ^ (uint64_t)(product >> 64));
}

static bool grow(struct uuids *u)
{
	uint32_t size = u->slots ? (u->mask + 1) * 2 : SLOTS_MIN;

	if (u->n >= UINT32_MAX / 4)
		return false;
	u->slots = arena_array(u->a, size, sizeof(*u->slots));
	if (!u->slots)
		return false;
	u->mask = size - 1;
	for (uint32_t i = 0; i < u->n; i++) {
		uint32_t k = hash(u, chunks_at(&u->v, i)) & u->mask;

		while (u->slots[k])
			k = (k + 1) & u->mask;
		u->slots[k] = i + 1;
	}
	return true;
}

/* UINT32_MAX at the arena's cap. */
static uint32_t add(struct uuids *u, const char *id, uint32_t hash)
{
	uint32_t k = hash & u->mask;
	void *v;

	for (; u->slots[k]; k = (k + 1) & u->mask)
		if (memcmp(chunks_at(&u->v, u->slots[k] - 1), id, UUID) == 0)
			return u->slots[k] - 1;
	v = chunks_make(&u->v, u->n);
	if (!v)
		return UINT32_MAX;
	memcpy(v, id, UUID);
	u->slots[k] = ++u->n;
	return u->n - 1;
}

static bool add_some(struct uuids *u, const struct batch_column *c, const uint32_t *codes,
	uint32_t n, uint32_t *no)
{
	uint32_t hashes[SOME];

	if ((!u->slots || (u->n + n) * 2 > u->mask) && !grow(u))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		hashes[i] = hash(u, c->entries[codes[i] - 1].s.p);
		__builtin_prefetch(&u->slots[hashes[i] & u->mask]);
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = u->slots[hashes[i] & u->mask];

		if (at)
			__builtin_prefetch(chunks_at(&u->v, at - 1));
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
