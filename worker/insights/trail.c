/*
 * Blocks double per owner, so that many short trails and one very long one cost
 * about the same an event. Segments hold events roughly in the order of time, so
 * most trails turn out sorted.
 */
#include <endian.h>
#include "worker/insights/trail.h"
#include "worker/insights/watch.h"

enum { BLOCK_MIN = 2, BLOCK_MAX = 512, SHORT = 16 };

void trail_id(uint64_t out[2], const uint8_t *ids, uint32_t row)
{
	out[0] = out[1] = 0;
	if (!ids)
		return;
	memcpy(out, ids + (size_t)row * 16, 16);
	out[0] = be64toh(out[0]);
	out[1] = be64toh(out[1]);
}

static bool own(struct trails *t, uint32_t owner)
{
	uint32_t n = t->n * 2 > owner ? t->n * 2 : owner + 64;
	struct trail *v = arena_grow(t->a, t->v, t->n * sizeof(*v), n * sizeof(*v));

	if (!v)
		return false;
	memset(v + t->n, 0, (n - t->n) * sizeof(*v));
	t->v = v;
	t->n = n;
	return true;
}

static struct trail_block *block_after(struct trails *t, struct trail_block *older)
{
	uint32_t cap = !older ? BLOCK_MIN : older->cap < BLOCK_MAX ? older->cap * 2 : BLOCK_MAX;
	struct trail_block *b = arena_alloc(t->a, sizeof(*b) + cap * sizeof(b->v[0]));

	if (b)
		*b = (struct trail_block){.older = older, .cap = cap};
	return b;
}

bool trail_add(
	struct trails *t, uint32_t owner, int64_t since_ms, const uint64_t id[2], uint32_t value)
{
	struct trail *trail;
	struct trail_block *b;

	if (value > TRAIL_VALUE_MAX || (owner >= t->n && !own(t, owner)))
		return false;
	trail = &t->v[owner];
	b = trail->newest;
	if (!b || b->n == b->cap) {
		b = block_after(t, b);
		if (!b)
			return false;
		trail->newest = b;
	}
	b->v[b->n++] = (struct trail_event){
		{id[0], id[1]}, (uint64_t)since_ms << TRAIL_VALUE_BITS | value};
	if (++trail->n > t->most)
		t->most = trail->n;
	return true;
}

static bool before(const struct trail_event *a, const struct trail_event *b)
{
	int64_t x = trail_time(a), y = trail_time(b);

	if (x != y)
		return x < y;
	return a->id[0] != b->id[0] ? a->id[0] < b->id[0] : a->id[1] < b->id[1];
}

static void sort_short(struct trail_event *v, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		struct trail_event e = v[i];
		uint32_t k = i;

		for (; k > 0 && before(&e, &v[k - 1]); k--)
			v[k] = v[k - 1];
		v[k] = e;
	}
}

static void merge(const struct trail_event *a, uint32_t n_a, const struct trail_event *b,
	uint32_t n_b, struct trail_event *out)
{
	while (n_a && n_b) {
		if (before(b, a)) {
			*out++ = *b++;
			n_b--;
		} else {
			*out++ = *a++;
			n_a--;
		}
	}
	memcpy(out, a, n_a * sizeof(*a));
	memcpy(out + n_a, b, n_b * sizeof(*b));
}

/* Bottom-up merge sort with room for as many: the C library's takes memory that no
 * cap knows of. Returns where the result is. */
static struct trail_event *sort(struct trail_event *v, struct trail_event *spare, uint32_t n)
{
	uint64_t run = SHORT;

	for (uint32_t i = 0; i < n; i += SHORT)
		sort_short(v + i, n - i < SHORT ? n - i : SHORT);
	for (; run < n; run *= 2) {
		struct trail_event *to = spare;

		if (n > WATCH_EVERY && watch_over())
			return NULL;
		for (uint64_t i = 0; i < n; i += run * 2) {
			uint64_t a = n - i < run ? n - i : run;
			uint64_t b = n - i - a < run ? n - i - a : run;

			merge(v + i, (uint32_t)a, v + i + a, (uint32_t)b, to + i);
		}
		spare = v;
		v = to;
	}
	return v;
}

const struct trail_event *trail_sorted(struct trails *t, uint32_t owner, uint32_t *n)
{
	const struct trail *trail = owner < t->n ? &t->v[owner] : &(struct trail){0};
	uint32_t at = trail->n, sorted = 1;

	if (!t->scratch)
		t->scratch = arena_alloc(t->a, ((size_t)t->most + 1) * 2 * sizeof(*t->scratch));
	*n = trail->n;
	if (!t->scratch)
		return NULL;
	for (const struct trail_block *b = trail->newest; b; b = b->older) {
		at -= b->n;
		memcpy(t->scratch + at, b->v, b->n * sizeof(b->v[0]));
	}
	while (sorted < *n && !before(&t->scratch[sorted], &t->scratch[sorted - 1]))
		sorted++;
	return sorted >= *n ? t->scratch : sort(t->scratch, t->scratch + t->most, *n);
}
