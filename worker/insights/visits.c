/*
 * See visits.h. A hash table of buckets with a few numbers each, whose tags are compared at once.
 * What overflows goes to the next bucket; nothing is ever taken out. A tag is not what chose the
 * bucket, so that another session's digest is hardly ever looked at.
 */
#include "shm/base/hash.h"
#include "worker/insights/visits.h"

/* so many numbers to a bucket when there is room for no more */
enum { ROOM_MIN = 512, FULL = VISITS_LANES / 2, TAG_BITS = 16 };

static const uint64_t ones = 0x0001000100010001, tops = 0x8000800080008000;

void visits_init(struct visits *v, struct arena *a, size_t size)
{
	*v = (struct visits){.a = a, .size = size};
	hash_random(v->key, sizeof(v->key));
}

/* NH, of one pair: two ids have the same product, of 128 bits, for one of 2^64 keys. */
static inline uint64_t digest_of_id(const uint64_t key[2], const char *id)
{
	uint64_t w[2];
	unsigned __int128 product;

	memcpy(w, id, sizeof(w));
	product = (unsigned __int128)(w[0] + key[0]) * (w[1] + key[1]);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t tag_of(uint64_t digest)
{
	return digest >> (64 - TAG_BITS) | 1;
}

/* The top bit of each lane that is 0, and maybe of some above the first of those. */
static inline uint64_t empty_lanes(uint64_t lanes)
{
	return (lanes - ones) & ~lanes & tops;
}

static inline uint32_t first_lane(uint64_t lanes)
{
	return (uint32_t)__builtin_ctzll(lanes) / TAG_BITS;
}

/* The number of a digest, if need be the next one, which then is taken. */
static uint32_t find(struct visits *v, uint64_t digest)
{
	for (uint32_t k = (uint32_t)digest;; k++) {
		struct visits_bucket *b = &v->buckets[k & v->mask];

		for (uint32_t lane = 0; lane < VISITS_LANES; lane++) {
			uint64_t tag = b->tags >> lane * TAG_BITS & UINT16_MAX;

			if (tag == tag_of(digest) && v->digests[b->no[lane]] == digest)
				return b->no[lane];
			if (tag)
				continue;
			b->tags |= tag_of(digest) << lane * TAG_BITS;
			b->no[lane] = v->n;
			v->digests[v->n] = digest;
			return v->n++;
		}
	}
}

static bool grow(struct visits *v, uint32_t room)
{
	struct visits old = *v;

	v->digests = arena_alloc(v->a, ((size_t)room + 1) * sizeof(*v->digests));
	v->items = arena_alloc(v->a, room * v->size);
	v->buckets = arena_array(v->a, room / FULL, sizeof(*v->buckets));
	if (!v->digests || !v->items || !v->buckets)
		return false;
	v->room = room;
	v->mask = room / FULL - 1;
	v->n = 0;
	if (old.n > 0)
		memcpy(v->items, old.items, old.n * old.size);
	for (uint32_t i = 0; i < old.n; i++)
		find(v, old.digests[i]);
	return true;
}

/* As find(). Whether it is there nobody knows beforehand, so there is no branch for that: it gets
 * the next number in any case, and gives it back. */
static void find_all(struct visits *v, const uint64_t *wanted, uint32_t n, uint32_t *no)
{
	struct visits_bucket *buckets = v->buckets;
	uint64_t *digests = v->digests;
	uint32_t mask = v->mask, next = v->n;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t digest = wanted[i], tag = tag_of(digest);
		struct visits_bucket *b = &buckets[(uint32_t)digest & mask];
		uint64_t hit = empty_lanes(b->tags ^ ones * tag), free = empty_lanes(b->tags);
		uint64_t there = -(uint64_t)(hit != 0);
		uint32_t lane = first_lane((hit & there) | (free & ~there) | (uint64_t)1 << 63);
		uint32_t at = next ^ ((next ^ b->no[lane]) & (uint32_t)there);

		digests[next] = digest;
		if (__builtin_expect((hit | free) == 0 || digests[at] != digest, 0)) {
			v->n = next;
			no[i] = find(v, digest);
			next = v->n;
			continue;
		}
		b->tags |= (tag & ~there) << lane * TAG_BITS;
		b->no[lane] = at;
		next += (uint32_t)(1 + there);
		no[i] = at;
	}
	v->n = next;
}

bool visits_find(struct visits *v, const struct batch_column *c, const uint32_t *codes, uint32_t n,
	uint32_t *no)
{
	uint64_t wanted[VISITS_SOME];
	uint32_t room = v->room ? v->room : ROOM_MIN;

	while (room < v->n + n)
		room *= 2;
	if (room > v->room && !grow(v, room))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		wanted[i] = digest_of_id(v->key, batch_uuid(c, codes[i]));
		__builtin_prefetch(&v->buckets[(uint32_t)wanted[i] & v->mask]);
	}
	find_all(v, wanted, n, no);
	return true;
}

void visits_forget(struct visits *v)
{
	if (v->n > 0)
		memset(v->buckets, 0, ((size_t)v->mask + 1) * sizeof(*v->buckets));
	v->n = 0;
}
