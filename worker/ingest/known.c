/* See known.h. Fingerprints are keyed, because clients choose the names. */
#include "worker/ingest/known.h"

#include <stdlib.h>

#include "shm/base/hash.h"

/* Half of the slots are always free, so that place() comes to an end. A forgotten one is not
 * free: what was put behind it must still be found. */
enum { SLOTS = 2 * KNOWN_MAX, FREE = 0, FORGOTTEN = 1 };

struct generation {
	uint64_t *v; /* fingerprints, whose last bit is 1 for VERDICT_EXCESS; or: */
	uint32_t n;
	uint64_t since_ms;
};

struct known {
	uint8_t key[16];
	struct generation new, old;
};

struct known *known_new(void)
{
	struct known *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->new.v = calloc(SLOTS, sizeof(*k->new.v));
	k->old.v = calloc(SLOTS, sizeof(*k->old.v));
	hash_random(k->key, sizeof(k->key));
	if (k->new.v && k->old.v)
		return k;
	known_free(k);
	return NULL;
}

void known_free(struct known *k)
{
	if (!k)
		return;
	free(k->new.v);
	free(k->old.v);
	free(k);
}

/* Without its last bit; never 0. */
static uint64_t fingerprint(
	const struct known *k, int32_t project, enum name_list list, struct str name)
{
	uint64_t where = (uint64_t)(uint32_t)project * NAME_LISTS + list + 1;
	uint64_t h = hash_sip(k->key, name.p, name.n) ^ where * 0x9e3779b97f4a7c15u;

	h &= ~UINT64_C(1);
	return h ? h : 2;
}

static uint32_t place(const struct generation *g, uint64_t print)
{
	uint32_t at = (uint32_t)(print >> 32) & (SLOTS - 1);

	while (g->v[at] != FREE && (g->v[at] & ~UINT64_C(1)) != print)
		at = (at + 1) & (SLOTS - 1);
	return at;
}

/* What is in `old` now goes. */
static void turn(struct known *k, uint64_t now_ms)
{
	struct generation empty = k->old;

	memset(empty.v, 0, SLOTS * sizeof(*empty.v));
	empty.n = 0;
	empty.since_ms = now_ms;
	k->old = k->new;
	k->new = empty;
}

/* Nobody may have come for long: then both are too old. The first turn is dated back, so that a
 * second one that is due comes at once. */
static void age(struct known *k, uint64_t now_ms)
{
	for (int i = 0; i < 2 && now_ms - k->new.since_ms >= KNOWN_MS; i++) {
		uint64_t since_ms = k->new.since_ms + KNOWN_MS;

		turn(k, i == 0 && now_ms - since_ms >= KNOWN_MS ? since_ms : now_ms);
	}
}

enum verdict known_find(
	struct known *k, int32_t project, enum name_list list, struct str name, uint64_t now_ms)
{
	uint64_t print = fingerprint(k, project, list, name), found;

	age(k, now_ms);
	found = k->new.v[place(&k->new, print)];
	if (!found)
		found = k->old.v[place(&k->old, print)];
	if (!found)
		return VERDICT_NONE;
	return found & 1 ? VERDICT_EXCESS : VERDICT_GOOD;
}

void known_add(struct known *k, int32_t project, enum name_list list, struct str name,
	enum verdict verdict, uint64_t now_ms)
{
	uint64_t print = fingerprint(k, project, list, name);
	uint32_t at;

	age(k, now_ms);
	/* full before its time: the older half goes early, and its names are asked for again */
	if (k->new.n == KNOWN_MAX)
		turn(k, now_ms);
	at = place(&k->new, print);
	k->new.n += k->new.v[at] == FREE;
	k->new.v[at] = print | (verdict == VERDICT_EXCESS);
}

void known_forget(struct known *k, int32_t project, enum name_list list, struct str name)
{
	uint64_t print = fingerprint(k, project, list, name);
	struct generation *both[] = {&k->new, &k->old};

	for (int i = 0; i < 2; i++) {
		uint32_t at = place(both[i], print);

		if (both[i]->v[at] != FREE)
			both[i]->v[at] = FORGOTTEN;
	}
}
