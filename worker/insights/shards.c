/* See shards.h. */
#include "worker/insights/shards.h"
#include "worker/insights/watch.h"

enum { BITS = 32 }; /* for each record: one of so many seems to be there twice */

bool shards_init(struct shards *s, struct arena *a, uint32_t words)
{
	*s = (struct shards){.a = a, .words = words};
	s->per = sizeof(s->spare->words) / sizeof(*s->spare->words) / words;
	s->v = arena_array(a, SHARDS, sizeof(*s->v));
	return s->v != NULL;
}

bool shards_room(struct shards *s, struct shard *shard)
{
	struct shard_block *b = s->spare;

	if (b)
		s->spare = b->next;
	else
		b = arena_alloc(s->a, sizeof(*b));
	if (!b)
		return false;
	b->next = NULL;
	if (shard->last)
		shard->last->next = b;
	else
		shard->first = b;
	shard->last = b;
	shard->room = s->per;
	return true;
}

/*
 * One shard that is being merged, in room for the largest. Nearly all digests are of one record:
 * a bit by the digest finds those that may be of more, of which those that come first are found
 * when they are gone through again; only these are compared.
 */
struct merging {
	struct shards *s;
	struct shard_block **blocks;     /* in order */
	uint64_t *once, *again;          /* bits */
	uint32_t *rows;                  /* records that are compared, */
	uint64_t *digests;               /* and their digests */
	uint32_t *slots;                 /* number of one of those + 1; 0: free */
	uint8_t *gone;                   /* by record: it was taken over */
	uint64_t bits; /* a mask */
	uint32_t n;
};

static uint32_t *record_at(const struct merging *m, uint32_t no)
{
	return m->blocks[no / m->s->per]->words + (size_t)(no % m->s->per) * m->s->words;
}

static size_t power_of_two(size_t at_least)
{
	size_t size = 64;

	while (size < at_least)
		size *= 2;
	return size;
}

static bool make_room(struct merging *m)
{
	struct arena *a = m->s->a;
	size_t most = 1;

	for (uint32_t i = 0; i < SHARDS; i++)
		most = m->s->v[i].n > most ? m->s->v[i].n : most;
	m->once = arena_alloc(a, power_of_two(most * BITS) / 8);
	m->again = arena_alloc(a, power_of_two(most * BITS) / 8);
	m->rows = arena_alloc(a, (most + 1) * sizeof(*m->rows));
	m->digests = arena_alloc(a, (most + 1) * sizeof(*m->digests));
	m->slots = arena_alloc(a, power_of_two(most * 2) * sizeof(*m->slots));
	m->gone = arena_alloc(a, most);
	m->blocks = arena_alloc(a, (most / m->s->per + 1) * sizeof(*m->blocks));
	return m->once && m->again && m->rows && m->digests && m->slots && m->gone && m->blocks;
}

static void begin(struct merging *m, const struct shard *shard)
{
	size_t bits = power_of_two((size_t)shard->n * BITS);
	uint32_t n = 0;

	memset(m->once, 0, bits / 8);
	memset(m->again, 0, bits / 8);
	memset(m->gone, 0, shard->n);
	m->bits = bits - 1;
	for (struct shard_block *b = shard->first; b; b = b->next)
		m->blocks[n++] = b;
}

/* How many of the records from `at` on are in its block. */
static uint32_t block_rest(const struct merging *m, const struct shard *shard, uint32_t at)
{
	return shard->n - at < m->s->per ? shard->n - at : m->s->per;
}

static uint64_t digest_of_record(const uint32_t *record)
{
	uint64_t digest;

	memcpy(&digest, record, sizeof(digest));
	return digest;
}

static void note_bits(struct merging *m, const struct shard *shard)
{
	uint64_t *once = m->once, *again = m->again, bits = m->bits;
	uint32_t words = m->s->words;

	for (uint32_t at = 0; at < shard->n; at += m->s->per) {
		const uint32_t *record = record_at(m, at);

		for (uint32_t k = block_rest(m, shard, at); k > 0; k--, record += words) {
			uint64_t bit = digest_of_record(record) & bits, known = once[bit / 64];

			again[bit / 64] |= known & (uint64_t)1 << bit % 64;
			once[bit / 64] = known | (uint64_t)1 << bit % 64;
		}
	}
}

/* The records whose bits came again, in order. */
static void list_again(struct merging *m, const struct shard *shard)
{
	uint64_t *again = m->again, bits = m->bits, *digests = m->digests;
	uint32_t words = m->s->words, n = 0, *rows = m->rows;

	for (uint32_t at = 0; at < shard->n; at += m->s->per) {
		const uint32_t *record = record_at(m, at);
		uint32_t rest = block_rest(m, shard, at);

		for (uint32_t k = 0; k < rest; k++, record += words) {
			uint64_t digest = digest_of_record(record), bit = digest & bits;

			rows[n] = at + k;
			digests[n] = digest;
			n += again[bit / 64] >> bit % 64 & 1;
		}
	}
	m->n = n;
}

/* The slot with the digest, or the free one where it goes; bits above those that these have in
 * common. */
static uint32_t *slot_of(const struct merging *m, uint64_t digest, size_t mask)
{
	size_t k = digest >> 24 & mask;

	while (m->slots[k] && m->digests[m->slots[k] - 1] != digest)
		k = (k + 1) & mask;
	return &m->slots[k];
}

/* Sets how many were taken over. */
static bool merge_listed(struct merging *m,
	bool (*meet)(void *arg, uint32_t *record, const uint32_t *later), void *arg, uint32_t *gone)
{
	size_t size = power_of_two((size_t)m->n * 2);

	memset(m->slots, 0, size * sizeof(*m->slots));
	*gone = 0;
	for (uint32_t i = 0; i < m->n; i++) {
		uint32_t *slot = slot_of(m, m->digests[i], size - 1);

		if (!*slot) {
			*slot = i + 1;
			continue;
		}
		if (!meet(arg, record_at(m, m->rows[*slot - 1]) + SHARD_DIGEST,
			    record_at(m, m->rows[i]) + SHARD_DIGEST))
			return false;
		m->gone[m->rows[i]] = 1;
		++*gone;
	}
	return true;
}

/* Records move up to where others were; blocks that are not needed any more are for others. */
static void squeeze(struct merging *m, struct shard *shard)
{
	uint32_t kept = 0, used;

	for (uint32_t i = 0; i < shard->n; i++) {
		if (m->gone[i])
			continue;
		if (kept < i)
			memcpy(record_at(m, kept), record_at(m, i), m->s->words * sizeof(uint32_t));
		kept++;
	}
	used = (kept + m->s->per - 1) / m->s->per;
	m->s->n -= shard->n - kept;
	shard->n = kept;
	shard->room = used * m->s->per - kept;
	shard->last->next = m->s->spare;
	shard->last = m->blocks[used - 1];
	m->s->spare = shard->last->next;
	shard->last->next = NULL;
}

bool shards_merge(struct shards *s,
	bool (*meet)(void *arg, uint32_t *record, const uint32_t *later), void *arg)
{
	struct merging m = {.s = s};
	uint32_t gone;

	if (!make_room(&m))
		return false;
	for (uint32_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &s->v[i];

		if (shard->n < 2)
			continue;
		begin(&m, shard);
		note_bits(&m, shard);
		list_again(&m, shard);
		if (watch_over() || !merge_listed(&m, meet, arg, &gone))
			return false;
		if (gone > 0)
			squeeze(&m, shard);
	}
	return true;
}

bool shards_any(
	const struct shards *s, bool (*is)(const void *arg, const uint32_t *record), const void *arg)
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		uint32_t left = s->v[i].n;

		for (const struct shard_block *b = s->v[i].first; b && left > 0; b = b->next)
			for (uint32_t k = 0; k < s->per && left > 0; k++, left--)
				if (is(arg, b->words + (size_t)k * s->words + SHARD_DIGEST))
					return true;
	}
	return false;
}
