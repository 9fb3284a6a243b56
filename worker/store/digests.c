/*
 * See digests.h. Open addressing, at most half full, over the digests themselves, which are
 * as good as random.
 */
#include "worker/store/digests.h"

#include <string.h>

#include "shm/base/hash.h"

enum { ROOM_MIN = 64, AHEAD = 24, SOON = 12 };

void digests_init(struct digests *t, struct arena *a)
{
	*t = (struct digests){.a = a};
}

uint64_t digest_of(const uint8_t key[DIGEST_KEY_BYTES], struct str id)
{
	uint64_t d = hash_sip(key, id.p, id.n);

	return d ? d : 1;
}

/* The slot that has d, or the free one where it would go. */
static uint32_t slot_of(const struct digests *t, uint64_t d)
{
	uint32_t k = (uint32_t)d & t->mask;

	while (t->slots[k] && t->v[t->slots[k] - 1] != d)
		k = (k + 1) & t->mask;
	return k;
}

static void place(struct digests *t, uint32_t no)
{
	if (t->v[no])
		t->slots[slot_of(t, t->v[no])] = no + 1;
}

uint64_t digests_slots(uint32_t cap)
{
	uint64_t n = (uint64_t)ROOM_MIN * 2;

	while (n < (uint64_t)cap * 2)
		n *= 2;
	return n;
}

void digests_settle(struct digests *t, uint64_t *v, uint32_t cap, uint32_t *slots, uint64_t n_slots)
{
	t->v = v;
	t->n = 0;
	t->cap = cap;
	t->slots = slots;
	t->mask = (uint32_t)(n_slots - 1);
}

bool digests_reserve(struct digests *t, uint32_t n)
{
	uint64_t cap = t->cap ? t->cap : ROOM_MIN, n_slots;
	uint64_t *v;
	uint32_t *slots;

	if (n <= t->cap - t->n)
		return true;
	while (cap < (uint64_t)t->n + n)
		cap *= 2;
	if (cap > UINT32_MAX / 4)
		return false;
	v = arena_grow(t->a, t->v, t->cap * sizeof(*v), cap * sizeof(*v));
	if (!v)
		return false;
	t->v = v;
	n_slots = digests_slots((uint32_t)cap);
	slots = arena_zalloc(t->a, n_slots * sizeof(*slots));
	if (!slots)
		return false;
	t->slots = slots;
	t->cap = (uint32_t)cap;
	t->mask = (uint32_t)(n_slots - 1);
	for (uint32_t no = 0; no < t->n; no++)
		place(t, no);
	return true;
}

/* Where there is room. */
static uint32_t add(struct digests *t, uint64_t d)
{
	uint32_t k = slot_of(t, d);

	if (t->slots[k])
		return t->slots[k] - 1;
	t->v[t->n++] = d;
	t->slots[k] = t->n;
	return t->n - 1;
}

uint32_t digests_add(struct digests *t, uint64_t d)
{
	return digests_reserve(t, 1) ? add(t, d) : DIGESTS_FULL;
}

/* First the slot, then the digest that it names. */
static void fetch(const struct digests *t, const uint64_t *d, uint32_t i, uint32_t n)
{
	uint32_t no;

	if (i + AHEAD < n)
		__builtin_prefetch(&t->slots[(uint32_t)d[i + AHEAD] & t->mask], 1);
	if (i + SOON >= n)
		return;
	no = t->slots[(uint32_t)d[i + SOON] & t->mask];
	if (no)
		__builtin_prefetch(&t->v[no - 1]);
}

bool digests_add_all(struct digests *t, const uint64_t *d, uint32_t n, uint32_t *no)
{
	if (!digests_reserve(t, n))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		fetch(t, d, i, n);
		no[i] = d[i] ? add(t, d[i]) : DIGESTS_FULL;
	}
	return true;
}

bool digests_append(struct digests *t, const uint64_t *d, uint32_t n)
{
	if (!digests_reserve(t, n))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		fetch(t, d, i, n);
		t->v[t->n] = d[i];
		place(t, t->n++);
	}
	return true;
}

uint32_t digests_find(const struct digests *t, uint64_t d)
{
	return t->n && d ? t->slots[slot_of(t, d)] - 1 : DIGESTS_FULL;
}

void digests_find_all(const struct digests *t, const uint64_t *d, uint32_t n, uint32_t *no)
{
	for (uint32_t i = 0; i < n; i++) {
		if (t->n)
			fetch(t, d, i, n);
		no[i] = digests_find(t, d[i]);
	}
}
