/* See recent.h. */
#include "shm/recent.h"

#include <stdlib.h>
#include <string.h>

#include "shm/segment_priv.h"

enum { AHEAD = 8 };

struct print {
	uint32_t slot, mark;
};

struct recent *recent_of(struct segment *seg)
{
	return &seg->recent;
}

struct recent *recent_new(void)
{
	return calloc(1, sizeof(struct recent));
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
	return (struct print){(uint32_t)(a >> 32) & (RECENT_SLOTS - 1), (uint32_t)a | 1};
}

uint32_t recent_find(const struct recent *r, const int32_t *projects, const uint8_t *ids,
	uint32_t n, int32_t *out)
{
	struct print ahead[AHEAD] = {{0, 0}};
	uint32_t found = 0;

	for (uint32_t i = 0; i < n + AHEAD; i++) {
		struct print *p = &ahead[i % AHEAD];

		if (i >= AHEAD &&
			atomic_load_explicit(&r->v[p->slot], memory_order_relaxed) == p->mark)
			out[found++] = (int32_t)(i - AHEAD) + 1;
		if (i >= n)
			continue;
		*p = print_of(projects[i], ids + (size_t)i * 16);
		__builtin_prefetch(&r->v[p->slot]);
	}
	return found;
}

void recent_add(struct recent *r, const int32_t *projects, const uint8_t *ids, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct print p = print_of(projects[i], ids + (size_t)i * 16);

		atomic_store_explicit(&r->v[p.slot], p.mark, memory_order_relaxed);
	}
}
