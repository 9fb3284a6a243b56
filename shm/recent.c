/* See recent.h. */
#include "shm/recent.h"

#include <stdlib.h>
#include <string.h>

#include "shm/segment_priv.h"

enum { AHEAD = 8 };

enum { AGAIN = 1 };

struct print {
	uint32_t set, mark;
};

struct recent *recent_of(struct segment *seg)
{
	return &seg->recent;
}

struct recent *recent_new(void)
{
	struct recent *r = aligned_alloc(64, sizeof(*r));

	return r ? memset(r, 0, sizeof(*r)) : NULL;
}

void recent_free(struct recent *r)
{
	free(r);
}

/* Who makes ids that share a print only makes his own events slower. */
static struct print print_of(int32_t project, const uint8_t *id)
{
	uint64_t a, b;

	memcpy(&a, id, sizeof(a));
	memcpy(&b, id + sizeof(a), sizeof(b));
	a = (a ^ (uint64_t)(uint32_t)project << 17) * 0x9e3779b97f4a7c15u;
	a = (a ^ a >> 32 ^ b) * 0xff51afd7ed558ccdu;
	a ^= a >> 29;
	/* never 0, and its last bit is free */
	return (struct print){(uint32_t)(a >> 32) & (RECENT_SETS - 1), ((uint32_t)a | 1) << 1};
}

/* RECENT_WAYS when it is not there. */
static uint32_t way_of(const struct recent_set *s, uint32_t mark)
{
	uint32_t found = RECENT_WAYS;

	/* to the end, because this way it takes four instructions */
	for (uint32_t i = 0; i < RECENT_WAYS; i++) {
		uint32_t v = atomic_load_explicit(&s->v[i], memory_order_relaxed);

		found = (v & ~(uint32_t)AGAIN) == mark ? i : found;
	}
	return found;
}

/* Whose turn it is to go. Others may be at it, too: then one of both is lost. */
static uint32_t victim(struct recent_set *s)
{
	uint32_t hand = atomic_load_explicit(&s->hand, memory_order_relaxed);

	for (uint32_t i = 0; i < RECENT_WAYS; i++) {
		uint32_t at = hand++ % RECENT_WAYS;
		uint32_t v = atomic_load_explicit(&s->v[at], memory_order_relaxed);

		atomic_store_explicit(&s->hand, hand % RECENT_WAYS, memory_order_relaxed);
		if (!(v & AGAIN))
			return at;
		atomic_store_explicit(&s->v[at], v & ~(uint32_t)AGAIN, memory_order_relaxed);
	}
	return hand % RECENT_WAYS;
}

static void add(struct recent_set *s, uint32_t mark)
{
	uint32_t at = way_of(s, mark);

	if (at < RECENT_WAYS)
		atomic_store_explicit(&s->v[at], mark | AGAIN, memory_order_relaxed);
	else
		atomic_store_explicit(&s->v[victim(s)], mark, memory_order_relaxed);
}

uint32_t recent_find(const struct recent *r, const int32_t *projects, const uint8_t *ids,
	uint32_t n, int32_t *out)
{
	struct print ahead[AHEAD] = {{0, 0}};
	uint32_t found = 0;

	for (uint32_t i = 0; i < n + AHEAD; i++) {
		struct print *p = &ahead[i % AHEAD];

		if (i >= AHEAD && way_of(&r->sets[p->set], p->mark) < RECENT_WAYS)
			out[found++] = (int32_t)(i - AHEAD) + 1;
		if (i >= n)
			continue;
		*p = print_of(projects[i], ids + (size_t)i * 16);
		__builtin_prefetch(&r->sets[p->set]);
	}
	return found;
}

void recent_add(struct recent *r, const int32_t *projects, const uint8_t *ids, uint32_t n)
{
	struct print ahead[AHEAD] = {{0, 0}};

	for (uint32_t i = 0; i < n + AHEAD; i++) {
		struct print *p = &ahead[i % AHEAD];

		if (i >= AHEAD)
			add(&r->sets[p->set], p->mark);
		if (i >= n)
			continue;
		*p = print_of(projects[i], ids + (size_t)i * 16);
		__builtin_prefetch(&r->sets[p->set], 1);
	}
}
