/*
 * Very many records under 64-bit digests, which are put away and hardly ever looked at again:
 * appended to one of some shards by the digest, so that later those of equal digests are found
 * shard by shard, within the caches. A record is words of the caller's behind its digest.
 */
#ifndef INSIGHTS_SHARDS_H
#define INSIGHTS_SHARDS_H

#include <string.h>
#include "shm/base/arena.h"

enum { SHARDS = 256, SHARD_BLOCK = 4096, SHARD_DIGEST = 2 /* words */ };

struct shard_block {
	struct shard_block *next;
	uint32_t words[(SHARD_BLOCK - sizeof(void *)) / sizeof(uint32_t)];
};

struct shard {
	struct shard_block *first, *last;
	uint32_t n;
	uint32_t room; /* records that still fit into the last block */
};

struct shards {
	struct arena *a;
	uint32_t words; /* of a record, the digest included */
	uint32_t per;   /* records in a block */
	uint64_t n;
	struct shard_block *spare;
	struct shard *v;
};

/* False at the arena's cap. */
bool shards_init(struct shards *s, struct arena *a, uint32_t words);
/* False at the arena's cap. */
bool shards_room(struct shards *s, struct shard *shard);
/* Words of a new record, behind its digest, for the caller to set; NULL at the arena's cap. */
static inline uint32_t *shards_add(struct shards *s, uint64_t digest)
{
	struct shard *shard = &s->v[digest >> 56];
	uint32_t *record;

	if (shard->room == 0 && !shards_room(s, shard))
		return NULL;
	record = shard->last->words + (size_t)(s->per - shard->room) * s->words;
	shard->room--;
	shard->n++;
	s->n++;
	memcpy(record, &digest, sizeof(digest));
	return record + SHARD_DIGEST;
}
/* Asks memory for where the next record of a digest goes. */
static inline void shards_fetch(const struct shards *s, uint64_t digest)
{
	const struct shard *shard = &s->v[digest >> 56];

	if (shard->last)
		__builtin_prefetch(
			shard->last->words + (size_t)(s->per - shard->room) * s->words, 1);
}
/* Leaves one record of each digest, given to `meet` with each later one to take it over. False
 * when that says so, at the arena's cap, or when nobody waits any more (watch.h): then records
 * are lost. */
bool shards_merge(struct shards *s,
	bool (*meet)(void *arg, uint32_t *record, const uint32_t *later), void *arg);
/* Whether `is` says so of any. */
bool shards_any(
	const struct shards *s, bool (*is)(const void *arg, const uint32_t *record), const void *arg);

#endif
