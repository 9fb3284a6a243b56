/*
 * The API-key cache. Each entry is a lock word and a payload of atomic words:
 *
 *   lock = sequence << 8 | (worker slot + 1, or 0 when nobody writes)
 *
 * A writer takes the entry with one CAS, writes, and releases it under the next
 * sequence. A reader copies and then checks that the lock word did not change;
 * anything else is a miss. Killed in mid-write, a writer leaves its number in
 * the lock: nobody reads or takes such an entry until the master, which alone
 * knows that the process is gone, wipes it. Nobody else steals, for a stopped
 * process and a dead one look the same from outside.
 */
#include <string.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/segment_priv.h"

enum {
	KEPT_US = 30 * 1000 * 1000,
	DENIED_KEPT_US = 5 * 1000 * 1000,
	FEED_FRESH_US = 1000 * 1000,
};

/* A set of KEY_WAYS entries of `words` words each, out of either array. */
struct ways {
	_Atomic uint64_t *first;
	unsigned words;   /* distance of two entries */
	unsigned payload; /* words in use */
};

static uint64_t get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void set(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

/*
 * Digests are random, but who guesses keys can choose among them; under the
 * seed he does not know which of them meet in one set.
 */
static uint64_t set_of(const struct segment *seg, const uint64_t digest[KEY_DIGEST_WORDS])
{
	unsigned __int128 product = (unsigned __int128)(digest[0] ^ seg->head.seed[0]) *
				    (digest[1] ^ seg->head.seed[1]);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static struct ways ways_good(const struct segment *seg, const uint64_t *digest)
{
	const struct key_cell *cell = &seg->keys[set_of(seg, digest) % KEY_SETS * KEY_WAYS];

	return (struct ways){(_Atomic uint64_t *)(uintptr_t)cell->word, KEY_WORDS,
		WORD_ENTRY + KEY_PAYLOAD_WORDS};
}

static struct ways ways_denied(const struct segment *seg, const uint64_t *digest)
{
	const struct denied_cell *cell = &seg->denied[set_of(seg, digest) % DENIED_SETS * KEY_WAYS];

	return (struct ways){(_Atomic uint64_t *)(uintptr_t)cell->word, DENIED_WORDS, WORD_ENTRY};
}

/* All words are looked at, whatever the first ones say: no timing oracle. */
static bool digest_is(const _Atomic uint64_t *entry, const uint64_t digest[KEY_DIGEST_WORDS])
{
	uint64_t diff = 0;

	for (int i = 0; i < KEY_DIGEST_WORDS; i++)
		diff |= get(&entry[WORD_DIGEST + i]) ^ digest[i];
	return diff == 0;
}

/* A consistent copy of the words before `n`, or false. */
static bool entry_copy(const _Atomic uint64_t *entry, unsigned n, uint64_t *copy)
{
	uint64_t lock = atomic_load_explicit(&entry[WORD_LOCK], memory_order_acquire);

	if (lock & 0xff)
		return false;
	for (unsigned i = WORD_DIGEST; i < n; i++)
		copy[i] = get(&entry[i]);
	atomic_thread_fence(memory_order_acquire);
	return get(&entry[WORD_LOCK]) == lock;
}

/* Finds a current entry and copies it. */
static bool ways_read(const struct segment *seg, struct ways ways, const uint64_t *digest,
	uint64_t now_us, uint64_t *copy)
{
	for (int way = 0; way < KEY_WAYS; way++) {
		const _Atomic uint64_t *entry = ways.first + (size_t)way * ways.words;
		uint64_t diff = 0;

		if (!digest_is(entry, digest) || !entry_copy(entry, ways.payload, copy))
			continue;
		/* It may have become another key's between the look and the copy. */
		for (int i = 0; i < KEY_DIGEST_WORDS; i++)
			diff |= copy[WORD_DIGEST + i] ^ digest[i];
		if (diff == 0 && copy[WORD_EXPIRY] > now_us &&
			copy[WORD_EPOCH] == keycache_epoch(seg))
			return true;
	}
	return false;
}

/* The poll may be some nanoseconds younger than our own look at the clock. */
static bool feed_fresh(const struct segment *seg, uint64_t now_us)
{
	uint64_t feed = atomic_load_explicit(&seg->head.feed_us, memory_order_acquire);

	return feed != 0 && now_us < feed + FEED_FRESH_US && feed < now_us + FEED_FRESH_US &&
	       !get(&seg->head.retired);
}

enum key_found keycache_get(
	const struct segment *seg, const uint8_t digest[32], struct key_entry *out)
{
	uint64_t want[KEY_DIGEST_WORDS], copy[KEY_WORDS];
	uint64_t now_us = clock_boot_us();

	if (!feed_fresh(seg, now_us))
		return KEY_MISS;
	memcpy(want, digest, sizeof(want));
	if (ways_read(seg, ways_good(seg, want), want, now_us, copy)) {
		memcpy(out, copy + WORD_ENTRY, sizeof(*out));
		return KEY_HIT;
	}
	if (ways_read(seg, ways_denied(seg, want), want, now_us, copy))
		return KEY_DENIED;
	return KEY_MISS;
}

uint64_t keycache_epoch(const struct segment *seg)
{
	return atomic_load_explicit(&seg->head.key_epoch, memory_order_acquire);
}

/*
 * The way to overwrite: the same key's, else the one that ends first (outdated
 * and empty ones end at 0). NULL when all are being written.
 */
static _Atomic uint64_t *way_choose(
	const struct segment *seg, struct ways ways, const uint64_t *digest)
{
	_Atomic uint64_t *best = NULL;
	uint64_t best_end = UINT64_MAX, epoch = keycache_epoch(seg);

	for (int way = 0; way < KEY_WAYS; way++) {
		_Atomic uint64_t *entry = ways.first + (size_t)way * ways.words;
		uint64_t end = get(&entry[WORD_EPOCH]) == epoch ? get(&entry[WORD_EXPIRY]) : 0;

		/* The same key being written elsewhere: its writer knows as much as we do. */
		if (digest_is(entry, digest))
			return get(&entry[WORD_LOCK]) & 0xff ? NULL : entry;
		if (!(get(&entry[WORD_LOCK]) & 0xff) && end < best_end) {
			best = entry;
			best_end = end;
		}
	}
	return best;
}

/* Between the CAS and the last store the process may die at any instruction. */
static void entry_write(_Atomic uint64_t *entry, int slot_no, const uint64_t *words, unsigned n)
{
	uint64_t lock = get(&entry[WORD_LOCK]);

	if (lock & 0xff ||
		!atomic_compare_exchange_strong_explicit(&entry[WORD_LOCK], &lock,
			lock | (uint64_t)(slot_no + 1), memory_order_acquire, memory_order_relaxed))
		return;
	/* No payload store may become visible before the owner's number. */
	atomic_thread_fence(memory_order_release);
	for (unsigned i = WORD_DIGEST; i < n; i++)
		set(&entry[i], words[i]);
	atomic_store_explicit(&entry[WORD_LOCK], ((lock >> 8) + 1) << 8, memory_order_release);
}

void keycache_put(struct segment *seg, int slot_no, const uint8_t digest[32], uint64_t epoch,
	const struct key_entry *entry)
{
	uint64_t words[KEY_WORDS] = {0};
	struct ways ways;
	_Atomic uint64_t *way;

	must(slot_no >= 0 && slot_no < SLOTS_MAX);
	/* Outdated before it is stored: it would only push out a good one. */
	if (epoch != keycache_epoch(seg))
		return;
	memcpy(words + WORD_DIGEST, digest, 32);
	words[WORD_EPOCH] = epoch;
	words[WORD_EXPIRY] = clock_boot_us() + (entry ? KEPT_US : DENIED_KEPT_US);
	if (entry)
		memcpy(words + WORD_ENTRY, entry, sizeof(*entry));
	ways = entry ? ways_good(seg, words + WORD_DIGEST) : ways_denied(seg, words + WORD_DIGEST);
	way = way_choose(seg, ways, words + WORD_DIGEST);
	if (way)
		entry_write(way, slot_no, words, ways.payload);
}

void keycache_bump(struct segment *seg)
{
	atomic_fetch_add_explicit(&seg->head.key_epoch, 1, memory_order_acq_rel);
}

void keycache_feed(struct segment *seg, uint64_t database_epoch)
{
	keycache_feed_since(seg, database_epoch, clock_boot_us());
}

void keycache_feed_since(struct segment *seg, uint64_t database_epoch, uint64_t asked_us)
{
	uint64_t last = get(&seg->head.feed_us);

	/* The entries go before the feed counts again. */
	if (atomic_exchange(&seg->head.feed_epoch, database_epoch) != database_epoch)
		keycache_bump(seg);
	/* Two keepers overlap in a reload: the younger poll counts. */
	while (last < asked_us && !atomic_compare_exchange_weak_explicit(&seg->head.feed_us, &last,
					  asked_us, memory_order_release, memory_order_relaxed))
		;
}

void keycache_retire(struct segment *seg)
{
	atomic_store(&seg->head.retired, 1);
}

static int ways_repair(struct ways all, size_t entries, int slot_no)
{
	int wiped = 0;

	for (size_t i = 0; i < entries; i++) {
		_Atomic uint64_t *entry = all.first + i * all.words;
		uint64_t lock = atomic_load_explicit(&entry[WORD_LOCK], memory_order_acquire);

		if ((lock & 0xff) != (uint64_t)(slot_no + 1))
			continue;
		for (unsigned w = WORD_DIGEST; w < all.payload; w++)
			set(&entry[w], 0);
		atomic_store_explicit(
			&entry[WORD_LOCK], ((lock >> 8) + 1) << 8, memory_order_release);
		wiped++;
	}
	return wiped;
}

int keycache_repair(struct segment *seg, int slot_no)
{
	struct ways good = {seg->keys[0].word, KEY_WORDS, WORD_ENTRY + KEY_PAYLOAD_WORDS};
	struct ways denied = {seg->denied[0].word, DENIED_WORDS, WORD_ENTRY};

	must(slot_no >= 0 && slot_no < SLOTS_MAX);
	return ways_repair(good, (size_t)KEY_SETS * KEY_WAYS, slot_no) +
	       ways_repair(denied, (size_t)DENIED_SETS * KEY_WAYS, slot_no);
}
