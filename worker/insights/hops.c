/* See hops.h. Open addressing, at most three quarters full. */
#include "worker/insights/hops.h"
#include "shm/base/hash.h"
#include "worker/insights/watch.h"

enum { SLOTS_MIN = 256 };

void hops_init(struct hops *h, struct arena *a)
{
	*h = (struct hops){.a = a};
	hash_random(h->key, sizeof(h->key));
}

/* With a key: nodes are numbered as they appear, so whoever sends events chooses, by their times,
 * which numbers follow each other. */
static uint32_t slot_of(const struct hops *h, uint32_t from, uint32_t to)
{
	uint64_t hop[2] = {from, to};

	return (uint32_t)hash_pair(h->key, hop) & h->mask;
}

/* The hop, or the free slot where it would be; there is one, for make_room() leaves a quarter
 * free. */
static struct hop *find(const struct hops *h, uint32_t from, uint32_t to)
{
	uint32_t k = slot_of(h, from, to);

	while (h->slots[k].sessions != 0 && (h->slots[k].from != from || h->slots[k].to != to))
		k = (k + 1) & h->mask;
	return &h->slots[k];
}

/* Without memory, or when watch_over(), nothing can be counted any more: whoever is told so does
 * not go on. */
static bool grow(struct hops *h)
{
	struct hops old = {.slots = h->slots, .mask = h->mask};
	size_t n = old.slots ? ((size_t)old.mask + 1) * 2 : SLOTS_MIN;

	if (n > UINT32_MAX / 2)
		return false;
	h->slots = arena_array(h->a, n, sizeof(*h->slots));
	if (!h->slots)
		return false;
	h->mask = (uint32_t)(n - 1);
	for (uint32_t i = 0; old.slots && i <= old.mask; i++) {
		if (watch_due(i))
			return false;
		if (old.slots[i].sessions != 0)
			*find(h, old.slots[i].from, old.slots[i].to) = old.slots[i];
	}
	return true;
}

/* Room for n more. */
static bool make_room(struct hops *h, uint32_t n)
{
	while (!h->slots || h->n + n > h->mask - h->mask / 4)
		if (!grow(h))
			return false;
	return true;
}

/* There is room. */
static void add(struct hops *h, uint32_t from, uint32_t to, uint32_t sessions)
{
	struct hop *hop = find(h, from, to);

	h->n += hop->sessions == 0;
	hop->from = from;
	hop->to = to;
	hop->sessions += sessions;
}

bool hops_add(struct hops *h, uint32_t from, uint32_t to, uint32_t sessions)
{
	if (!make_room(h, 1))
		return false;
	add(h, from, to, sessions);
	return true;
}

/* Room for all of them first: slots that memory was asked for must not move. When there is none,
 * `waiting` stays full, so that hops_note() must not be called again. */
bool hops_count(struct hops *h)
{
	if (!make_room(h, h->n_waiting))
		return false;
	for (uint32_t i = 0; i < h->n_waiting; i++)
		__builtin_prefetch(&h->slots[slot_of(h, h->waiting[i].from, h->waiting[i].to)], 1);
	for (uint32_t i = 0; i < h->n_waiting; i++)
		add(h, h->waiting[i].from, h->waiting[i].to, 1);
	h->n_waiting = 0;
	return true;
}

const struct hop *hops_next(const struct hops *h, uint32_t *at)
{
	while (h->slots && *at <= h->mask) {
		const struct hop *hop = &h->slots[(*at)++];

		if (hop->sessions != 0)
			return hop;
	}
	return NULL;
}
