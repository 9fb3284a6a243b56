/*
 * What each of many owners (persons, sessions) did, collected in any order and read
 * in the order of (time, event id) when all segments were seen. 24 bytes an event in
 * blocks per owner, so that sorting is done owner by owner, never over all.
 */
#ifndef INSIGHTS_TRAIL_H
#define INSIGHTS_TRAIL_H

#include "shm/base/arena.h"

/* A time relative to the window, and a value of the kernel's own, in one word. Ten
 * years of milliseconds, the longest window (0.6), need 39 bits. */
enum { TRAIL_TIME_BITS = 39, TRAIL_VALUE_BITS = 25 };
#define TRAIL_VALUE_MAX ((1u << TRAIL_VALUE_BITS) - 1)

struct trail_event {
	uint64_t id[2]; /* as two big-endian words, which compare like the 16 bytes */
	uint64_t key;   /* time << TRAIL_VALUE_BITS | value */
};

struct trail_block {
	struct trail_block *older;
	uint32_t n, cap;
	struct trail_event v[];
};

struct trail {
	struct trail_block *newest;
	uint32_t n;
};

struct trails {
	struct arena *a;
	struct trail *v;  /* by owner */
	uint32_t n, most; /* owners; events of the one with most */
	struct trail_event *scratch;
};

static inline int64_t trail_time(const struct trail_event *e)
{
	return (int64_t)(e->key >> TRAIL_VALUE_BITS);
}

static inline uint32_t trail_value(const struct trail_event *e)
{
	return (uint32_t)e->key & TRAIL_VALUE_MAX;
}

/* The 16 bytes of an event id as words; zeros when no ids were loaded. */
void trail_id(uint64_t out[2], const uint8_t *ids, uint32_t row);
/* Owners are small dense numbers; since_ms is from the window's begin. False at the
 * arena's cap, or when the value is above TRAIL_VALUE_MAX. */
bool trail_add(
	struct trails *t, uint32_t owner, int64_t since_ms, const uint64_t id[2], uint32_t value);
/* The owner's events in order, until the next call; NULL at the arena's cap, or when
 * nobody waits (watch.h). Nothing may be added any more. */
const struct trail_event *trail_sorted(struct trails *t, uint32_t owner, uint32_t *n);

#endif
