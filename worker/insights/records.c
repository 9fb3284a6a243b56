/* See records.h. */
#include "worker/insights/records.h"
#include "worker/insights/watch.h"

/* So many bits for each record: one of twice as many seems to be there before. And for each of
 * those again. */
enum { BITS = 16, BITS_AGAIN = 32, AHEAD = 64 };
/* Not so many that they are mapped for this query only, and cleared page by page. */
enum { CHUNKS_AT_ONCE = 4, CHUNKS_MIN = 64 };

void records_init(struct records *r, struct arena *a, uint32_t words)
{
	*r = (struct records){.a = a, .words = words};
}

/* Room in the list for n more chunks. */
static bool list_chunks(struct records *r, uint32_t n)
{
	uint32_t cap = r->cap_chunks ? r->cap_chunks : CHUNKS_MIN;

	while (cap - r->n_chunks < n)
		cap *= 2;
	if (cap > r->cap_chunks)
		r->chunks = arena_grow(r->a, r->chunks, r->cap_chunks * sizeof(*r->chunks),
			cap * sizeof(*r->chunks));
	r->cap_chunks = cap;
	return r->chunks != NULL;
}

/* As many as there are, up to some. */
bool records_room(struct records *r)
{
	uint32_t n = r->n_chunks < 1 ? 1 : r->n_chunks;
	size_t size = RECORDS_PER + (size_t)RECORDS_PER * r->words / 2;
	uint64_t *p;

	n = n < CHUNKS_AT_ONCE ? n : CHUNKS_AT_ONCE;
	if (r->n > UINT32_MAX - 2 * RECORDS_PER || !list_chunks(r, n))
		return false;
	p = arena_alloc(r->a, n * size * sizeof(*p));
	/* close to the cap one may still fit */
	if (!p && n > 1) {
		n = 1;
		p = arena_alloc(r->a, size * sizeof(*p));
	}
	for (uint32_t i = 0; p && i < n; i++)
		r->chunks[r->n_chunks++] = p + i * size;
	return p != NULL;
}

/* Only the last chunk of each may have room: what fills ours comes from the end of the other
 * one. */
bool records_join(struct records *r, struct records *other)
{
	uint32_t rest = r->n & (RECORDS_PER - 1), used;

	if ((uint64_t)r->n + other->n > UINT32_MAX - 2 * RECORDS_PER)
		return false;
	/* until the last chunk is full */
	for (; rest > 0 && rest < RECORDS_PER && other->n > 0; rest++) {
		uint32_t *to = records_add(r, *records_digest(other, other->n - 1));

		memcpy(to, records_at(other, --other->n), r->words * sizeof(*to));
	}
	used = (r->n + RECORDS_PER - 1) >> RECORDS_SHIFT;
	if (other->n == 0)
		return true;
	/* chunks that nothing is in stay unused */
	r->n_chunks = used;
	used = (other->n + RECORDS_PER - 1) >> RECORDS_SHIFT;
	if (!list_chunks(r, used))
		return false;
	memcpy(r->chunks + r->n_chunks, other->chunks, used * sizeof(*r->chunks));
	r->n_chunks += used;
	r->n += other->n;
	other->n = 0;
	return true;
}

/* ---- those of equal digests ---- */

/* Numbers of records. */
struct list {
	uint32_t *v, n, cap;
};

struct merging {
	struct records *r;
	struct arena a;
	uint64_t *bits, mask;
	struct list doubles, suspects;
	uint32_t n_gone; /* of the suspects, the first ones: taken over */
};

/* Room for those of another chunk. */
static bool reserve(struct list *l, struct arena *a)
{
	uint32_t cap = l->cap ? l->cap : 2 * RECORDS_PER;

	while (cap - l->n < RECORDS_PER)
		cap *= 2;
	if (cap == l->cap)
		return true;
	l->v = arena_grow(a, l->v, l->cap * sizeof(*l->v), cap * sizeof(*l->v));
	l->cap = cap;
	return l->v != NULL;
}

static size_t power_of_two(size_t at_least)
{
	size_t n = 1024;

	while (n < at_least)
		n *= 2;
	return n;
}

static bool make_bits(struct merging *m, size_t at_least)
{
	size_t n = power_of_two(at_least);

	m->mask = n - 1;
	m->bits = arena_zalloc(&m->a, n / 8);
	return m->bits != NULL;
}

static uint32_t chunk_end(const struct records *r, uint32_t at)
{
	return r->n - at < RECORDS_PER ? r->n : at + RECORDS_PER;
}

/* Records whose bit is there already. */
static bool list_doubles(struct merging *m)
{
	struct list *doubles = &m->doubles;
	uint64_t *bits = m->bits, mask = m->mask;

	for (uint32_t at = 0; at < m->r->n; at = chunk_end(m->r, at)) {
		const uint64_t *digests = records_digest(m->r, at);
		uint32_t left = chunk_end(m->r, at) - at;

		if (watch_over() || !reserve(doubles, &m->a))
			return false;
		for (uint32_t k = 0; k < left; k++) {
			uint64_t bit = digests[k] & mask, *word = &bits[bit / 64], known = *word;

			if (left - k > AHEAD)
				__builtin_prefetch(&bits[(digests[k + AHEAD] & mask) / 64]);
			doubles->v[doubles->n] = at + k;
			doubles->n += (uint32_t)(known >> bit % 64 & 1);
			*word = known | (uint64_t)1 << bit % 64;
		}
	}
	return true;
}

/* Records that have the bits of those; other ones, the low ones are those they have in common. */
static bool list_suspects(struct merging *m)
{
	struct list *suspects = &m->suspects;
	uint64_t *bits = m->bits, mask = m->mask;

	for (uint32_t i = 0; i < m->doubles.n; i++) {
		uint64_t bit = *records_digest(m->r, m->doubles.v[i]) >> 32 & mask;

		bits[bit / 64] |= (uint64_t)1 << bit % 64;
	}
	for (uint32_t at = 0; at < m->r->n; at = chunk_end(m->r, at)) {
		const uint64_t *digests = records_digest(m->r, at);
		uint32_t left = chunk_end(m->r, at) - at;

		if (watch_over() || !reserve(suspects, &m->a))
			return false;
		for (uint32_t k = 0; k < left; k++) {
			uint64_t bit = digests[k] >> 32 & mask;

			suspects->v[suspects->n] = at + k;
			suspects->n += (uint32_t)(bits[bit / 64] >> bit % 64 & 1);
		}
	}
	return true;
}

/* Compares them. The list becomes that of those that are gone; slots say which records are first
 * of theirs, + 1. */
static bool compare(
	struct merging *m, bool (*meet)(void *arg, uint32_t *record, uint32_t *later), void *arg)
{
	size_t size = power_of_two(m->suspects.n + m->suspects.n / 2), k;
	uint32_t *slots = arena_array(&m->a, size, sizeof(*slots));

	if (!slots)
		return false;
	for (uint32_t i = 0; i < m->suspects.n; i++) {
		uint32_t no = m->suspects.v[i];
		uint64_t digest = *records_digest(m->r, no);

		for (k = digest & (size - 1); slots[k]; k = (k + 1) & (size - 1))
			if (*records_digest(m->r, slots[k] - 1) == digest)
				break;
		if (!slots[k]) {
			slots[k] = no + 1;
			continue;
		}
		if (!meet(arg, records_at(m->r, slots[k] - 1), records_at(m->r, no)) ||
			watch_due(i))
			return false;
		m->suspects.v[m->n_gone++] = no;
	}
	return true;
}

/* The others move up. Numbers of those that are gone ascend, as the chunks were gone through. */
static void squeeze(const struct merging *m)
{
	struct records *r = m->r;
	const uint32_t *gone = m->suspects.v;
	uint32_t to = m->n_gone > 0 ? gone[0] : r->n;

	for (uint32_t i = 0; i < m->n_gone; i++) {
		uint32_t end = i + 1 < m->n_gone ? gone[i + 1] : r->n;

		for (uint32_t no = gone[i] + 1; no < end; no++, to++) {
			*records_digest(r, to) = *records_digest(r, no);
			memcpy(records_at(r, to), records_at(r, no), r->words * sizeof(uint32_t));
		}
	}
	r->n = to;
}

/* In an arena of its own, which is gone when this returns: what is merged again and again must
 * not leave its tables in the query's. */
bool records_merge(struct records *r, bool (*meet)(void *arg, uint32_t *record, uint32_t *later),
	void *arg, bool last)
{
	struct merging m = {.r = r};
	bool done;

	arena_init(&m.a, r->a->cap - arena_held(r->a));
	done = make_bits(&m, (size_t)r->n * BITS) && list_doubles(&m) &&
	       make_bits(&m, (size_t)m.doubles.n * BITS_AGAIN) && list_suspects(&m) &&
	       compare(&m, meet, arg);
	if (done && !last)
		squeeze(&m);
	r->a->over |= m.a.over;
	arena_free(&m.a);
	return done;
}
