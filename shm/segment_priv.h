/*
 * The layout of the shared segment, only for shm/ itself and the tests that
 * look at raw words. Every array has a fixed place and size. A change of any
 * structure here changes segment_layout(), and then two binaries do not share.
 *
 * All words that two processes touch are atomics: relaxed accesses cost the
 * same as plain ones and leave the compiler no freedom to tear them.
 */
#ifndef SHM_SEGMENT_PRIV_H
#define SHM_SEGMENT_PRIV_H

#include <assert.h>
#include <stddef.h>

#include "shm/flights.h"
#include "shm/keycache.h"
#include "shm/recent.h"
#include "shm/segment.h"
#include "shm/turns.h"

/* Test builds move everything behind the head, to look like another release. */
#ifdef PUGD_TEST_SHM_PAD
#define SEGMENT_PAD ((PUGD_TEST_SHM_PAD + 4095) / 4096 * 4096)
#else
#define SEGMENT_PAD 0
#endif

enum {
	LINE = 64,        /* a cache line */
	LINES_PAIR = 128, /* the prefetcher fetches lines in pairs */
	COUNTERS_ROOM = 64,
	QUARANTINE_ROWS = 256,
	LIMIT_WAYS = 8,
	LIMIT_SETS = 8192,
	KEY_WAYS = 8,
	KEY_SETS = 512,    /* positive: 4096 entries */
	DENIED_SETS = 128, /* negative: 1024 entries */
	KEY_DIGEST_WORDS = 4,
	KEY_PAYLOAD_WORDS = sizeof(struct key_entry) / 8,
	KEY_WORDS = 32,
	DENIED_WORDS = 8,
	REGIONS = 12,
	CACHE_WAYS = 8,
	CACHE_SETS = 16384, /* 131072 columns */
	CACHE_WRITERS = 64,
	CACHE_RING_MAX = 1 << 30,
	CACHE_ENTRY_WORDS = 8,
};

/* Words of a key-cache entry; a denied one ends before WORD_ENTRY. */
enum {
	WORD_LOCK,
	WORD_DIGEST,
	WORD_EPOCH = WORD_DIGEST + KEY_DIGEST_WORDS,
	WORD_EXPIRY,
	WORD_ENTRY
};

/* Words of an entry of the column cache. */
enum { CACHE_LOCK, CACHE_ID, CACHE_TAG, CACHE_EPOCH, CACHE_POS, CACHE_SIZE, CACHE_WORDS };

/* Where each array is: for people and tools that look at a dump. */
struct segment_region {
	char name[16];
	uint64_t offset, size;
};

struct segment_head {
	char magic[8];
	uint64_t layout;    /* segment_layout() of the creator */
	uint64_t size;      /* of the whole segment */
	int64_t created_us; /* real time */
	uint64_t seed[2];   /* random: whoever picks keys cannot pick sets */
	uint64_t regions;   /* used entries of the directory */
	struct segment_region region[REGIONS];
	/* What every lookup reads; the keeper writes feed_us four times a second. */
	_Alignas(LINES_PAIR) _Atomic uint64_t key_epoch;
	_Atomic uint64_t feed_us; /* boot clock of the last good poll; 0: never */
	_Atomic uint64_t feed_epoch;
	_Atomic uint64_t retired; /* sticky: no poll counts any more */
	/* shm/tail.h; written every few seconds, so that it may share the line */
	_Atomic uint64_t tail_events, tail_oldest_us, tail_seen_us;
	/* Slots with statistics: reading the others would allocate their pages (7 MB). */
	_Alignas(LINES_PAIR) _Atomic uint8_t counted[SLOTS_MAX];
};

/* Who waits for a turn. */
struct turn_place {
	_Atomic uint32_t owner; /* slot + 1; 0: free */
	_Atomic uint64_t since_ms, seen_ms;
};

struct turns {
	_Atomic uint32_t holder[TURNS_MAX]; /* slot + 1; 0: free */
	struct turn_place place[TURNS_WAITING];
};

struct slot_cell {
	_Alignas(4096) struct slot slot;
};

struct counter_cell {
	_Alignas(LINES_PAIR) _Atomic uint64_t value[COUNTERS_ROOM];
};

struct stat_cell {
	_Alignas(LINE) _Atomic uint64_t calls;
	_Atomic uint64_t by_code[CODES], latency[LATENCY_BUCKETS], latency_sum_us;
};

struct key_cell {
	_Alignas(LINE) _Atomic uint64_t word[KEY_WORDS];
};

struct denied_cell {
	_Alignas(LINE) _Atomic uint64_t word[DENIED_WORDS];
};

struct quarantine_cell {
	_Atomic uint64_t until_ms; /* 0: not in quarantine yet */
	_Atomic uint64_t last_ms;  /* of the last death */
	_Atomic uint32_t deaths;
	_Atomic uint32_t sentences; /* how often it has been quarantined */
};

struct quarantine {
	_Alignas(LINE) _Atomic uint64_t until_ms; /* the latest of all rows: mostly past */
	_Alignas(LINE) _Atomic uint64_t fingerprint[QUARANTINE_ROWS]; /* 0: free row */
	struct quarantine_cell row[QUARANTINE_ROWS];
};

/* Only ever claimed, never freed: an index means one name for the segment's life. */
struct name_cell {
	_Alignas(LINE) _Atomic uint64_t hash; /* of the name, with bit 0 set; 0: free */
	_Atomic uint32_t written;             /* text is there; release after it */
	char text[116];
};

/* A flight (flights.c). */
struct flight_place {
	_Alignas(LINE) _Atomic uint64_t word; /* how often it was given out, slot + 1, state */
	_Atomic uint64_t until_ms;            /* with FLIGHT_FIXED */
	_Atomic uint64_t wanted_ms;           /* when one who joined it has looked last; 0: none */
	_Atomic uint64_t landed_ms;
	_Atomic uint64_t digest[4];
};

struct cache_entry {
	_Alignas(LINE) _Atomic uint64_t word[CACHE_ENTRY_WORDS];
};

/* Who is putting something into the column cache now. */
struct cache_writer {
	_Alignas(LINE) _Atomic uint64_t owner; /* slot + 1; 0: free */
	_Atomic uint64_t from;  /* 1 + where in the ring it writes, or before that; 0: nowhere */
	_Atomic uint64_t entry; /* 1 + which one it may have locked; 0: none */
};

/* Positions only grow; where one lies is its rest by `ring`. */
struct column_cache {
	_Alignas(LINES_PAIR) _Atomic uint64_t head; /* where the next bytes go */
	_Alignas(LINES_PAIR) _Atomic uint64_t ring; /* bytes in use; 0: nobody has said yet */
	_Atomic uint64_t epoch;                     /* what has another one is not believed */
	_Alignas(LINES_PAIR) struct cache_writer writers[CACHE_WRITERS];
	_Alignas(4096) struct cache_entry entries[CACHE_SETS * CACHE_WAYS];
	_Atomic uint64_t bytes[CACHE_RING_MAX / 8];
};

struct segment {
	_Alignas(4096) struct segment_head head;
	struct turns turns; /* in the page of the head, which has room */
	_Alignas(LINE) unsigned char pad[4096 - sizeof(struct segment_head) - sizeof(struct turns) +
					 SEGMENT_PAD];
	struct slot_cell slots[SLOTS_MAX];
	struct counter_cell counters[SLOTS_MAX];
	struct key_cell keys[KEY_SETS * KEY_WAYS];
	struct denied_cell denied[DENIED_SETS * KEY_WAYS];
	_Alignas(LINE) _Atomic uint64_t limits[LIMIT_SETS * LIMIT_WAYS];
	struct quarantine quarantine;
	struct name_cell names[METHODS_MAX];
	/* At the end what is large and mostly never touched. */
	_Alignas(4096) struct stat_cell stats[SLOTS_MAX][METHODS_MAX];
	_Alignas(4096) struct recent recent;
	_Alignas(4096) struct flight_place flights[FLIGHTS_MAX];
	_Alignas(4096) struct column_cache cache;
};

#define PLACE(member, want) \
	static_assert(offsetof(struct segment, member) == (want), "place of " #member)
PLACE(head, 0);
static_assert(offsetof(struct segment_head, layout) == 8, "place of layout");
static_assert(offsetof(struct segment_head, size) == 16, "place of size");
static_assert(offsetof(struct segment_head, seed) == 32, "place of seed");
static_assert(offsetof(struct segment_head, region) == 56, "place of region");
static_assert(offsetof(struct segment_head, key_epoch) == 512, "place of key_epoch");
static_assert(offsetof(struct segment_head, tail_events) == 544, "place of tail_events");
static_assert(sizeof(struct segment_head) == 768, "size of the head");
PLACE(turns, 768);
static_assert(sizeof(struct turns) == 1792, "size of the turns");
static_assert(sizeof(struct slot_cell) == 4096, "one page per slot");
static_assert(sizeof(struct counter_cell) == 512, "size of a slot's counters");
static_assert(sizeof(struct key_cell) == 256, "size of a key");
static_assert(sizeof(struct denied_cell) == LINE, "size of a denied key");
static_assert(sizeof(struct quarantine_cell) == 24, "size of a quarantine row");
static_assert(sizeof(struct name_cell) == 128, "size of a method's name");
static_assert(sizeof(struct stat_cell) == 384, "size of a method's statistics");
static_assert((int)COUNTERS <= (int)COUNTERS_ROOM, "make COUNTERS_ROOM larger");
static_assert(sizeof(struct key_entry) % 8 == 0, "keys are copied in whole words");
static_assert((int)WORD_ENTRY + (int)KEY_PAYLOAD_WORDS <= (int)KEY_WORDS, "a key fits its cell");
static_assert((int)WORD_ENTRY <= (int)DENIED_WORDS, "a denied key fits its cell");
PLACE(slots, 0x1000 + SEGMENT_PAD);
PLACE(counters, 0x81000 + SEGMENT_PAD);
PLACE(keys, 0x91000 + SEGMENT_PAD);
PLACE(denied, 0x191000 + SEGMENT_PAD);
PLACE(limits, 0x1a1000 + SEGMENT_PAD);
PLACE(quarantine, 0x221000 + SEGMENT_PAD);
PLACE(names, 0x223040 + SEGMENT_PAD);
PLACE(stats, 0x229000 + SEGMENT_PAD);
PLACE(recent, 0x9a9000 + SEGMENT_PAD);
static_assert(sizeof(struct recent) == 8 << 20, "size of the recent ids");
PLACE(flights, 0x11a9000 + SEGMENT_PAD);
static_assert(sizeof(struct flight_place) == LINE, "size of a flight");
PLACE(cache, 0x11ad000 + SEGMENT_PAD);
static_assert(offsetof(struct column_cache, entries) == 0x2000, "place of the cache's entries");
static_assert(offsetof(struct column_cache, bytes) == 0x802000, "place of the cache's bytes");
static_assert((int)CACHE_WORDS <= (int)CACHE_ENTRY_WORDS, "an entry fits its line");
#undef PLACE

#endif
