/* See records.h. */
#include "worker/insights/records.h"
#include "worker/insights/watch.h"

/* So many bits for each record: one of twice as many seems to be there before. And for each of
 * those again. */
enum { BITS = 16, BITS_AGAIN = 32, SLOTS = 2, AHEAD = 64 };
/* Not so many that they are mapped for this query only, and cleared page by page. */
enum { CHUNKS_AT_ONCE = 4, CHUNKS_MIN = 64 };

void records_init(struct records *r, struct arena *a, uint32_t words)
{
	*r = (struct records){.a = a, .words = words};
}

/* As many as there are, up to some. */
bool records_room(struct records *r)
{
	uint32_t n = r->n_chunks < 1 ? 1 : r->n_chunks;
	size_t size = RECORDS_PER + (size_t)RECORDS_PER * r->words / 2;
	uint64_t *p;

	n = n < CHUNKS_AT_ONCE ? n : CHUNKS_AT_ONCE;
	if (r->n > UINT32_MAX - 2 * RECORDS_PER)
		return false;
	if (r->n_chunks + n > r->cap_chunks) {
		uint32_t cap = r->cap_chunks ? r->cap_chunks * 2 : CHUNKS_MIN;

		r->chunks = arena_grow(r->a, r->chunks, r->cap_chunks * sizeof(*r->chunks),
			cap * sizeof(*r->chunks));
		if (!r->chunks)
			return false;
		r->cap_chunks = cap;
	}
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

/* ---- those of equal digests ---- */

/* Numbers of records, or digests. */
struct list {
	uint64_t *v;
	uint32_t n, cap;
};

/* Room for those of another chunk. */
static bool reserve(struct list *l, struct arena *a)
{
	uint32_t cap = l->cap ? l->cap : 4 * RECORDS_PER;

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

/* n cleared bits, a power of two. */
static bool clear_bits(struct records *r, size_t n)
{
	if (n > r->cap_bits) {
		r->bits = arena_alloc(r->a, n / 8);
		r->cap_bits = n;
	}
	if (r->bits)
		memset(r->bits, 0, n / 8);
	return r->bits != NULL;
}

static uint32_t chunk_end(const struct records *r, uint32_t at)
{
	return r->n - at < RECORDS_PER ? r->n : at + RECORDS_PER;
}

/* Digests whose bit is there already. */
static bool list_doubles(struct records *r, size_t n_bits, struct list *doubles)
{
	uint64_t *bits = r->bits, mask = n_bits - 1;

	for (uint32_t at = 0; at < r->n; at = chunk_end(r, at)) {
		const uint64_t *digests = records_digest(r, at);
		uint32_t left = chunk_end(r, at) - at;

		if (watch_over() || !reserve(doubles, r->a))
			return false;
		for (uint32_t k = 0; k < left; k++) {
			uint64_t digest = digests[k], bit = digest & mask;
			uint64_t *word = &bits[bit / 64], known = *word;

			if (left - k > AHEAD)
				__builtin_prefetch(&bits[(digests[k + AHEAD] & mask) / 64]);
			doubles->v[doubles->n] = digest;
			doubles->n += (uint32_t)(known >> bit % 64 & 1);
			*word = known | (uint64_t)1 << bit % 64;
		}
	}
	return true;
}

/* Records that have the bits of those digests; low ones are those that these have in common. */
static bool list_suspects(
	struct records *r, size_t n_bits, const struct list *doubles, struct list *suspects)
{
	uint64_t *bits = r->bits, mask = n_bits - 1;

	for (uint32_t i = 0; i < doubles->n; i++) {
		uint64_t bit = doubles->v[i] >> 32 & mask;

		bits[bit / 64] |= (uint64_t)1 << bit % 64;
	}
	for (uint32_t at = 0; at < r->n; at = chunk_end(r, at)) {
		const uint64_t *digests = records_digest(r, at);
		uint32_t left = chunk_end(r, at) - at;

		if (watch_over() || !reserve(suspects, r->a))
			return false;
		for (uint32_t k = 0; k < left; k++) {
			uint64_t bit = digests[k] >> 32 & mask;

			suspects->v[suspects->n] = at + k;
			suspects->n += (uint32_t)(bits[bit / 64] >> bit % 64 & 1);
		}
	}
	return true;
}

/* Compares them. */
static bool merge(struct records *r, const struct list *suspects,
	bool (*meet)(void *arg, uint32_t *record, uint32_t *later), void *arg)
{
	size_t size = power_of_two((size_t)suspects->n * SLOTS), k;
	uint32_t *slots = arena_array(r->a, size, sizeof(*slots)); /* place in the list + 1 */

	r->gone = arena_alloc(r->a, ((size_t)suspects->n + 1) * sizeof(*r->gone));
	if (!slots || !r->gone)
		return false;
	for (uint32_t i = 0; i < suspects->n; i++) {
		uint32_t no = (uint32_t)suspects->v[i], other = no;
		uint64_t digest = *records_digest(r, no);

		for (k = digest & (size - 1); slots[k]; k = (k + 1) & (size - 1)) {
			other = (uint32_t)suspects->v[slots[k] - 1];
			if (*records_digest(r, other) == digest)
				break;
		}
		if (!slots[k]) {
			slots[k] = i + 1;
			continue;
		}
		if (!meet(arg, records_at(r, other), records_at(r, no)) || watch_due(i))
			return false;
		r->gone[r->n_gone++] = no;
	}
	return true;
}

bool records_merge(
	struct records *r, bool (*meet)(void *arg, uint32_t *record, uint32_t *later), void *arg)
{
	struct list doubles = {0}, suspects = {0};
	size_t n_bits = power_of_two((size_t)r->n * BITS);

	r->n_gone = 0;
	if (!clear_bits(r, n_bits) || !list_doubles(r, n_bits, &doubles))
		return false;
	n_bits = power_of_two((size_t)doubles.n * BITS_AGAIN);
	return clear_bits(r, n_bits) && list_suspects(r, n_bits, &doubles, &suspects) &&
	       merge(r, &suspects, meet, arg);
}

void records_squeeze(struct records *r)
{
	uint32_t to = r->n_gone > 0 ? r->gone[0] : r->n;

	for (uint32_t i = 0; i < r->n_gone; i++) {
		uint32_t end = i + 1 < r->n_gone ? r->gone[i + 1] : r->n;

		for (uint32_t no = r->gone[i] + 1; no < end; no++, to++) {
			*records_digest(r, to) = *records_digest(r, no);
			memcpy(records_at(r, to), records_at(r, no), r->words * sizeof(uint32_t));
		}
	}
	r->n = to;
	r->n_gone = 0;
}
