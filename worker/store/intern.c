/*
 * Open addressing over numbers; hashes are kept so that growing touches no
 * string. The arena's old tables are left behind: at most as much again.
 */
#include "shm/base/hash.h"
#include "worker/store/intern.h"

void intern_init(struct intern *t, struct arena *a)
{
	*t = (struct intern){.a = a};
}

static uint64_t slot_of(uint64_t hash, uint32_t no)
{
	return (hash & ~(uint64_t)UINT32_MAX) | (no + 1);
}

static uint32_t number_in(uint64_t slot)
{
	return (uint32_t)slot - 1;
}

static bool may_be(uint64_t slot, uint64_t hash)
{
	return slot >> 32 == hash >> 32;
}

static uint32_t probe(const struct intern *t, struct str s, uint64_t hash)
{
	uint32_t k = (uint32_t)hash & t->mask;

	for (; t->slots[k]; k = (k + 1) & t->mask)
		if (may_be(t->slots[k], hash) && str_eq(t->strings[number_in(t->slots[k])], s))
			break;
	return k;
}

static bool grow(struct intern *t)
{
	uint32_t cap = t->cap ? t->cap * 2 : 64;
	struct str *strings;
	uint64_t *hashes, *slots;

	if (cap >= INTERN_FULL / 4)
		return false;
	strings = arena_grow(t->a, t->strings, t->cap * sizeof(*strings), cap * sizeof(*strings));
	if (!strings)
		return false;
	t->strings = strings;
	hashes = arena_grow(t->a, t->hashes, t->cap * sizeof(*hashes), cap * sizeof(*hashes));
	if (!hashes)
		return false;
	t->hashes = hashes;
	slots = arena_array(t->a, (size_t)cap * 2, sizeof(*slots));
	if (!slots)
		return false;
	t->slots = slots;
	t->mask = cap * 2 - 1;
	t->cap = cap;
	for (uint32_t no = 0; no < t->n; no++) {
		uint32_t k = (uint32_t)t->hashes[no] & t->mask;

		while (slots[k])
			k = (k + 1) & t->mask;
		slots[k] = slot_of(t->hashes[no], no);
	}
	return true;
}

static uint32_t add(struct intern *t, struct str s, uint64_t hash)
{
	uint32_t k;
	char *copy;

	if (t->n == t->cap && !grow(t))
		return INTERN_FULL;
	k = probe(t, s, hash);
	if (t->slots[k])
		return number_in(t->slots[k]);
	copy = arena_str(t->a, s);
	if (!copy)
		return INTERN_FULL;
	t->strings[t->n] = (struct str){copy, s.n};
	t->hashes[t->n] = hash;
	t->slots[k] = slot_of(hash, t->n);
	return t->n++;
}

uint32_t intern_add(struct intern *t, struct str s)
{
	return add(t, s, hash_64(s.p, s.n));
}

/* Three rounds: each asks for the memory that the next one looks at. */
bool intern_add_all(struct intern *t, const struct str *s, uint32_t n, uint32_t *no)
{
	uint64_t hash[INTERN_BATCH];

	for (uint32_t i = 0; i < n; i++) {
		hash[i] = hash_64(s[i].p, s[i].n);
		if (t->slots)
			__builtin_prefetch(&t->slots[(uint32_t)hash[i] & t->mask]);
	}
	for (uint32_t i = 0; i < n && t->slots; i++) {
		uint64_t slot = t->slots[(uint32_t)hash[i] & t->mask];

		if (slot)
			__builtin_prefetch(&t->strings[number_in(slot)]);
	}
	for (uint32_t i = 0; i < n && t->slots; i++) {
		uint64_t slot = t->slots[(uint32_t)hash[i] & t->mask];

		if (slot && may_be(slot, hash[i]))
			__builtin_prefetch(t->strings[number_in(slot)].p);
	}
	for (uint32_t i = 0; i < n; i++) {
		no[i] = add(t, s[i], hash[i]);
		if (no[i] == INTERN_FULL)
			return false;
	}
	return true;
}

uint32_t intern_find(const struct intern *t, struct str s)
{
	uint32_t k;

	if (t->n == 0)
		return INTERN_FULL;
	k = probe(t, s, hash_64(s.p, s.n));
	return t->slots[k] ? number_in(t->slots[k]) : INTERN_FULL;
}
