/*
 * Open addressing over numbers. A slot says enough of its string for others to be passed
 * over, and where the text is, so that a look-up reads a slot and a text and nothing
 * else. The arena's old tables are left behind: at most as much again.
 */
#include "shm/base/hash.h"
#include "worker/store/intern.h"

struct intern_slot {
	const char *p; /* NULL = free */
	uint32_t no;
	uint32_t like; /* of the hash and the length */
};

enum { LENGTH_BITS = 12, LENGTH_MAX = (1 << LENGTH_BITS) - 1 };

void intern_init(struct intern *t, struct arena *a)
{
	*t = (struct intern){.a = a};
}

/* From the half of the hash that does not choose the slot. */
static uint32_t like(struct str s, uint64_t hash)
{
	return (uint32_t)(hash >> 32) << LENGTH_BITS |
	       (uint32_t)(s.n < LENGTH_MAX ? s.n : LENGTH_MAX);
}

static bool is_it(
	const struct intern *t, const struct intern_slot *slot, struct str s, uint32_t wanted)
{
	return slot->like == wanted && (s.n < LENGTH_MAX || t->strings[slot->no].n == s.n) &&
	       memcmp(slot->p, s.p ? s.p : "", s.n) == 0;
}

static struct intern_slot *probe(const struct intern *t, struct str s, uint64_t hash)
{
	uint32_t k = (uint32_t)hash & t->mask, wanted = like(s, hash);

	while (t->slots[k].p && !is_it(t, &t->slots[k], s, wanted))
		k = (k + 1) & t->mask;
	return &t->slots[k];
}

static bool grow(struct intern *t)
{
	uint32_t cap = t->cap ? t->cap * 2 : 64;
	struct intern_slot *slots;
	struct str *strings;

	if (cap >= INTERN_FULL / 4)
		return false;
	strings = arena_grow(t->a, t->strings, t->cap * sizeof(*strings), cap * sizeof(*strings));
	if (!strings)
		return false;
	t->strings = strings;
	slots = arena_array(t->a, (size_t)cap * 2, sizeof(*slots));
	if (!slots)
		return false;
	t->slots = slots;
	t->mask = cap * 2 - 1;
	t->cap = cap;
	for (uint32_t no = 0; no < t->n; no++) {
		uint64_t hash = hash_text(strings[no].p, strings[no].n);
		uint32_t k = (uint32_t)hash & t->mask;

		while (slots[k].p)
			k = (k + 1) & t->mask;
		slots[k] = (struct intern_slot){strings[no].p, no, like(strings[no], hash)};
	}
	return true;
}

static uint32_t add(struct intern *t, struct str s, uint64_t hash)
{
	struct intern_slot *slot;
	char *copy;

	if (t->n == t->cap && !grow(t))
		return INTERN_FULL;
	slot = probe(t, s, hash);
	if (slot->p)
		return slot->no;
	copy = arena_str(t->a, s);
	if (!copy)
		return INTERN_FULL;
	t->strings[t->n] = (struct str){copy, s.n};
	*slot = (struct intern_slot){copy, t->n, like(s, hash)};
	return t->n++;
}

uint32_t intern_add(struct intern *t, struct str s)
{
	return add(t, s, hash_text(s.p, s.n));
}

/* Each round asks for what the next one reads. */
static void fetch(const struct intern *t, const struct str *s, uint32_t n, uint64_t *hashes)
{
	for (uint32_t i = 0; i < n; i++) {
		hashes[i] = hash_text(s[i].p, s[i].n);
		if (t->slots)
			__builtin_prefetch(&t->slots[(uint32_t)hashes[i] & t->mask]);
	}
	for (uint32_t i = 0; t->slots && i < n; i++) {
		const struct intern_slot *slot = &t->slots[(uint32_t)hashes[i] & t->mask];

		if (!slot->p || slot->like != like(s[i], hashes[i]))
			continue;
		/* ids have about the size of a cache line, and seldom begin with one */
		__builtin_prefetch(slot->p);
		__builtin_prefetch(slot->p + s[i].n);
	}
}

/* The table may grow on the way: what was fetched is then of no use, and no harm. */
bool intern_add_all(struct intern *t, const struct str *s, uint32_t n, uint32_t *no)
{
	uint64_t hashes[INTERN_BATCH];

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
	const struct intern_slot *slot;

	if (t->n == 0)
		return INTERN_FULL;
	slot = probe(t, s, hash_text(s.p, s.n));
	return slot->p ? slot->no : INTERN_FULL;
}
