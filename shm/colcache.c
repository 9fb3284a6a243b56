/*
 * See colcache.h. Bytes of a column lie at [pos, pos + size) of a ring, where positions only
 * grow. A writer
 *
 *   1. says in a record of its own from where on it may write (`from`),
 *   2. claims bytes by one CAS on `head`: never such as another record's owner may still be
 *      writing, for one that is slow would write over whoever claimed the same place a round
 *      later,
 *   3. copies, and publishes an entry, whose lock works like the key cache's (keycache.c),
 *   4. gives the record back.
 *
 * A reader copies an entry, then the bytes, and then looks at `head`: as long as that is not
 * beyond pos + ring, nobody has begun to write over them. Dead in mid-write, a writer leaves
 * its number in its record, and the master, which alone knows that it is gone, clears record
 * and entry; until then the ring stands still at that place and nothing more is put.
 */
#include <string.h>

#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/colcache.h"
#include "shm/segment_priv.h"

enum { UNIT = 64, RING_MIN = 4096, SHARE = 8, AHEAD = 128 };

static uint64_t get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static uint64_t look(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

static void set(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

void colcache_open(struct colcache *c, struct segment *seg, int slot_no, uint64_t bytes)
{
	struct column_cache *cache = &seg->cache;
	uint64_t ring = 0, want = bytes < CACHE_RING_MAX ? bytes / UNIT * UNIT : CACHE_RING_MAX;

	must(slot_no >= 0 && slot_no < SLOTS_MAX);
	*c = (struct colcache){.seg = seg, .slot_no = slot_no};
	if (want < RING_MIN)
		return;
	if (atomic_compare_exchange_strong(&cache->ring, &ring, want))
		ring = want;
	/* a process gone wild may have written anything */
	if (ring < RING_MIN || ring > CACHE_RING_MAX || ring % UNIT != 0)
		return;
	c->ring = ring;
	c->epoch = look(&cache->epoch);
}

uint64_t colcache_hash(const struct colcache *c, const void *p, size_t n)
{
	uint8_t key[16];

	memcpy(key, c->seg->head.seed, sizeof(key));
	return hash_sip(key, p, n);
}

static struct cache_entry *set_of(const struct colcache *c, struct colcache_key key)
{
	return &c->seg->cache.entries[key.tag % CACHE_SETS * CACHE_WAYS];
}

/* ---- reading ---- */

static bool entry_is(const struct cache_entry *e, struct colcache_key key)
{
	return get(&e->word[CACHE_TAG]) == key.tag && get(&e->word[CACHE_ID]) == key.id;
}

/* A consistent copy, or false. */
static bool entry_copy(const struct cache_entry *e, uint64_t copy[CACHE_WORDS])
{
	uint64_t lock = look(&e->word[CACHE_LOCK]);

	if (lock == 0 || lock & 0xff)
		return false;
	for (unsigned i = CACHE_LOCK + 1; i < CACHE_WORDS; i++)
		copy[i] = get(&e->word[i]);
	atomic_thread_fence(memory_order_acquire);
	return get(&e->word[CACHE_LOCK]) == lock;
}

bool colcache_stays(const struct colcache *c, struct colcache_place place, uint64_t more)
{
	return look(&c->seg->cache.head) + more <= place.pos + c->ring;
}

/* What it says was written, and lies in the ring. */
static bool entry_good(const struct colcache *c, const uint64_t copy[CACHE_WORDS])
{
	uint64_t head = look(&c->seg->cache.head), pos = copy[CACHE_POS], size = copy[CACHE_SIZE];

	return copy[CACHE_EPOCH] == c->epoch && size <= c->ring && pos <= head &&
	       size <= head - pos && head - pos <= c->ring && pos % UNIT == 0 &&
	       pos % c->ring + size <= c->ring;
}

bool colcache_find(const struct colcache *c, struct colcache_key key, struct colcache_place *place)
{
	const struct cache_entry *way = set_of(c, key);

	for (int i = 0; i < CACHE_WAYS; i++, way++) {
		uint64_t copy[CACHE_WORDS];

		if (!entry_is(way, key) || !entry_copy(way, copy))
			continue;
		/* It may have become another one's between the look and the copy. */
		if (copy[CACHE_TAG] != key.tag || copy[CACHE_ID] != key.id || !entry_good(c, copy))
			continue;
		*place = (struct colcache_place){copy[CACHE_POS], copy[CACHE_SIZE]};
		return true;
	}
	return false;
}

bool colcache_read(const struct colcache *c, struct colcache_place place, void *out)
{
	const struct column_cache *cache = &c->seg->cache;
	const _Atomic uint64_t *from = &cache->bytes[place.pos % c->ring / 8];
	uint64_t *to = out;

	for (uint64_t i = 0, n = (place.size + 7) / 8; i < n; i++) {
		/* a processor's own fetching ahead ends where a page does */
		if (i % 8 == 0 && i + AHEAD < n)
			__builtin_prefetch((const void *)(uintptr_t)&from[i + AHEAD]);
		to[i] = get(&from[i]);
	}
	/* Whoever wrote anything of what was read had moved `head` before. */
	atomic_thread_fence(memory_order_acquire);
	return get(&cache->head) <= place.pos + c->ring && get(&cache->epoch) == c->epoch;
}

/* ---- writing ---- */

static struct cache_writer *writer_begin(struct colcache *c)
{
	struct column_cache *cache = &c->seg->cache;

	for (unsigned i = 0; i < CACHE_WRITERS; i++) {
		struct cache_writer *w =
			&cache->writers[(i + (unsigned)c->slot_no) % CACHE_WRITERS];
		uint64_t owner = 0;

		if (get(&w->owner) != 0 || !atomic_compare_exchange_strong(
						   &w->owner, &owner, (uint64_t)c->slot_no + 1))
			continue;
		/* Before the claim, and no later than what it will be. */
		atomic_store(&w->from, look(&cache->head) + 1);
		return w;
	}
	return NULL;
}

static void writer_end(struct cache_writer *w)
{
	atomic_store_explicit(&w->entry, 0, memory_order_release);
	atomic_store_explicit(&w->from, 0, memory_order_release);
	atomic_store_explicit(&w->owner, 0, memory_order_release);
}

/* Nobody may still be writing there, of the round before. */
static bool nobody_before(const struct colcache *c, uint64_t end)
{
	const struct column_cache *cache = &c->seg->cache;

	for (int i = 0; i < CACHE_WRITERS; i++) {
		uint64_t from = look(&cache->writers[i].from);

		if (from != 0 && end > from - 1 + c->ring)
			return false;
	}
	return true;
}

/* Who registers after the look at the others has a `from` of at least `head`, or moves it,
 * and then this fails and looks again. */
static bool claim(struct colcache *c, uint64_t need, uint64_t *pos)
{
	_Atomic uint64_t *head = &c->seg->cache.head;
	uint64_t was = atomic_load(head), at;

	do {
		at = was;
		if (at % c->ring + need > c->ring)
			at += c->ring - at % c->ring;
		if (!nobody_before(c, at + need))
			return false;
	} while (!atomic_compare_exchange_strong(head, &was, at + need));
	*pos = at;
	return true;
}

static void copy_in(struct colcache *c, uint64_t pos, struct str body)
{
	_Atomic uint64_t *to = &c->seg->cache.bytes[pos % c->ring / 8];
	uint64_t word;
	size_t i;

	for (i = 0; i + 8 <= body.n; i += 8) {
		memcpy(&word, body.p + i, 8);
		set(&to[i / 8], word);
	}
	if (i == body.n)
		return;
	word = 0;
	memcpy(&word, body.p + i, body.n - i);
	set(&to[i / 8], word);
}

/* How soon a way is no loss: the lower the sooner. The ring's first column is at 0, so what says
 * nothing must be below that. */
static uint64_t way_age(const struct colcache *c, const struct cache_entry *way)
{
	return get(&way->word[CACHE_EPOCH]) == c->epoch ? get(&way->word[CACHE_POS]) + 1 : 0;
}

/* The way to overwrite: the column's own, else an empty one, else the one whose bytes are gone or
 * go first. NULL when all are being written. */
static struct cache_entry *way_choose(const struct colcache *c, struct colcache_key key)
{
	struct cache_entry *way = set_of(c, key), *best = NULL;
	uint64_t best_age = UINT64_MAX;

	for (int i = 0; i < CACHE_WAYS; i++, way++) {
		bool held = get(&way->word[CACHE_LOCK]) & 0xff;
		uint64_t age = way_age(c, way);

		if (entry_is(way, key) && get(&way->word[CACHE_LOCK]) != 0)
			return held ? NULL : way;
		if (!held && age < best_age) {
			best = way;
			best_age = age;
		}
	}
	return best;
}

/* Between the CAS and the last store the process may die at any instruction. */
static bool publish(struct colcache *c, struct cache_writer *w, struct colcache_key key,
	struct colcache_place place)
{
	struct cache_entry *e = way_choose(c, key);
	uint64_t lock;

	if (!e)
		return false;
	lock = get(&e->word[CACHE_LOCK]);
	atomic_store(&w->entry, (uint64_t)(e - c->seg->cache.entries) + 1);
	if (lock & 0xff || !atomic_compare_exchange_strong(
				   &e->word[CACHE_LOCK], &lock, lock | ((uint64_t)c->slot_no + 1)))
		return false;
	/* No word may become visible before the owner's number. */
	atomic_thread_fence(memory_order_release);
	set(&e->word[CACHE_ID], key.id);
	set(&e->word[CACHE_TAG], key.tag);
	set(&e->word[CACHE_EPOCH], c->epoch);
	set(&e->word[CACHE_POS], place.pos);
	set(&e->word[CACHE_SIZE], place.size);
	atomic_store_explicit(&e->word[CACHE_LOCK], ((lock >> 8) + 1) << 8, memory_order_release);
	return true;
}

uint64_t colcache_room(const struct colcache *c)
{
	uint64_t head = look(&c->seg->cache.head), share = c->ring / SHARE;

	return (head < c->ring ? c->ring - head : 0) + (c->put < share ? share - c->put : 0);
}

static bool write_body(struct colcache *c, struct str body, uint64_t *pos)
{
	uint64_t need = (body.n + UNIT - 1) / UNIT * UNIT;
	bool full = look(&c->seg->cache.head) + need > c->ring;

	if (need > c->ring / SHARE || (full && c->put + need > c->ring / SHARE) ||
		!claim(c, need, pos))
		return false;
	if (full)
		c->put += need;
	/* No byte may become visible before `head`. */
	atomic_thread_fence(memory_order_release);
	copy_in(c, *pos, body);
	return true;
}

bool colcache_put(struct colcache *c, struct colcache_key key, struct str body)
{
	struct colcache_place place;

	/* somebody else was as clever */
	return colcache_find(c, key, &place) || colcache_replace(c, key, body);
}

bool colcache_replace(struct colcache *c, struct colcache_key key, struct str body)
{
	struct colcache_place place = {.size = body.n};
	struct cache_writer *w;
	bool done;

	w = writer_begin(c);
	if (!w)
		return false;
	place.pos = look(&c->seg->cache.head);
	done = (body.n == 0 || write_body(c, body, &place.pos)) && publish(c, w, key, place);
	writer_end(w);
	return done;
}

/* ---- the master ---- */

static void entry_wipe(struct cache_entry *e, int slot_no)
{
	uint64_t lock = look(&e->word[CACHE_LOCK]);

	if ((lock & 0xff) != (uint64_t)slot_no + 1)
		return;
	for (unsigned i = CACHE_LOCK + 1; i < CACHE_WORDS; i++)
		set(&e->word[i], 0);
	atomic_store_explicit(&e->word[CACHE_LOCK], ((lock >> 8) + 1) << 8, memory_order_release);
}

int colcache_repair(struct segment *seg, int slot_no, bool wild)
{
	struct column_cache *cache = &seg->cache;
	uint64_t epoch;
	int freed = 0;

	must(slot_no >= 0 && slot_no < SLOTS_MAX);
	if (wild) {
		/* Not the next one: what that was may have been written, too. */
		hash_random(&epoch, sizeof(epoch));
		atomic_store(&cache->epoch, epoch);
	}
	for (int i = 0; i < CACHE_WRITERS; i++) {
		struct cache_writer *w = &cache->writers[i];
		uint64_t entry = get(&w->entry);

		if (look(&w->owner) != (uint64_t)slot_no + 1)
			continue;
		if (entry >= 1 && entry <= (uint64_t)CACHE_SETS * CACHE_WAYS)
			entry_wipe(&cache->entries[entry - 1], slot_no);
		writer_end(w);
		freed++;
	}
	return freed;
}
