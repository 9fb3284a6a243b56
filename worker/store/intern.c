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

static uint32_t probe(const struct intern *t, struct str s, uint64_t hash)
{
	uint32_t k = (uint32_t)hash & t->mask;

	for (; t->slots[k]; k = (k + 1) & t->mask) {
		uint32_t no = t->slots[k] - 1;

		if (t->hashes[no] == hash && str_eq(t->strings[no], s))
			break;
	}
	return k;
}

static bool grow(struct intern *t)
{
	uint32_t cap = t->cap ? t->cap * 2 : 64;
	struct str *strings;
	uint64_t *hashes;
	uint32_t *slots;

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
		slots[k] = no + 1;
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
		return t->slots[k] - 1;
	copy = arena_str(t->a, s);
	if (!copy)
		return INTERN_FULL;
	t->strings[t->n] = (struct str){copy, s.n};
	t->hashes[t->n] = hash;
	t->slots[k] = ++t->n;
	return t->n - 1;
}

uint32_t intern_add(struct intern *t, struct str s)
{
	return add(t, s, hash_64(s.p, s.n));
}

/* Ids have about the size of a cache line, and seldom begin with one. */
static void prefetch_text(struct str s)
{
	__builtin_prefetch(s.p);
	__builtin_prefetch(s.p + s.n);
}

/* Each round asks for what the next one reads. */
static void fetch(const struct intern *t, const struct str *s, uint32_t n, uint64_t *hashes)
{
	uint32_t at[INTERN_SOME];

	for (uint32_t i = 0; i < n; i++) {
		hashes[i] = hash_64(s[i].p, s[i].n);
		if (t->slots)
			__builtin_prefetch(&t->slots[(uint32_t)hashes[i] & t->mask]);
	}
	for (uint32_t i = 0; t->slots && i < n; i++) {
		at[i] = t->slots[(uint32_t)hashes[i] & t->mask];
		if (!at[i])
			continue;
		__builtin_prefetch(&t->hashes[at[i] - 1]);
		__builtin_prefetch(&t->strings[at[i] - 1]);
	}
	for (uint32_t i = 0; t->slots && i < n; i++)
		if (at[i] && t->hashes[at[i] - 1] == hashes[i])
			prefetch_text(t->strings[at[i] - 1]);
}

bool intern_add_some(struct intern *t, const struct str *s, uint32_t n, uint32_t *no)
{
	uint64_t hashes[INTERN_SOME];

	fetch(t, s, n, hashes);
	for (uint32_t i = 0; i < n; i++) {
		no[i] = add(t, s[i], hashes[i]);
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
	return t->slots[k] ? t->slots[k] - 1 : INTERN_FULL;
}
