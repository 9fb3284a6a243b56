/*
 * What each of many owners (persons, sessions) did, collected in any order and given to
 * the kernel in the order of (time, event id): a UTC day at a time, as soon as nothing
 * can come any more that is earlier. So memory goes with what is not in order yet, some 50
 * bytes an event; sealed segments come day by day.
 */
#ifndef INSIGHTS_TRAIL_H
#define INSIGHTS_TRAIL_H

#include <endian.h>
#include "shm/base/arena.h"

/* A time relative to the window, and a value of the kernel's own, in one word. Ten
 * years of milliseconds, the longest window (0.6), need 39 bits. */
enum { TRAIL_TIME_BITS = 39, TRAIL_VALUE_BITS = 25 };
#define TRAIL_VALUE_MAX ((1u << TRAIL_VALUE_BITS) - 1)

struct trail_event {
	uint64_t id[2]; /* as two big-endian words, which compare like the 16 bytes */
	uint64_t key;   /* time << TRAIL_VALUE_BITS | value */
};

struct trail_item {
	struct trail_event e;
	uint32_t owner;
};

struct trail_block;

/* What happened on one day. */
struct trail_day {
	struct trail_block *first, *last;
	uint32_t n;
};

struct trails {
	struct arena *a;
	int64_t from_ms;  /* the window's begin */
	int64_t first_ms; /* where its first day begins */
	struct trail_day *days;
	uint32_t n_days, next; /* next: those before were given to the kernel */
	/* Given some events at a time, in order; of one instant only those of one owner are so
	 * for sure. False at the arena's cap. */
	bool (*visit)(void *kernel, const struct trail_item *const *v, uint32_t n);
	void *kernel;
	struct trail_block *spare;
	/* of the day at hand */
	struct trail_block **blocks;
	uint64_t *order, *scratch; /* time of the day << 32 | number of the event */
	uint32_t cap;
};

/* Since the window's begin. */
static inline int64_t trail_time(const struct trail_event *e)
{
	return (int64_t)(e->key >> TRAIL_VALUE_BITS);
}

static inline uint32_t trail_value(const struct trail_event *e)
{
	return (uint32_t)e->key & TRAIL_VALUE_MAX;
}

/* The 16 bytes of an event id as words; zeros when no ids were loaded. */
static inline void trail_id(uint64_t out[2], const uint8_t *ids, uint32_t row)
{
	out[0] = out[1] = 0;
	if (!ids)
		return;
	memcpy(out, ids + (size_t)row * 16, 16);
	out[0] = be64toh(out[0]);
	out[1] = be64toh(out[1]);
}
/* For events of [from_ms, to_ms), which is shorter than TRAIL_TIME_BITS allow; visit and
 * kernel are the caller's to set. False at the arena's cap. */
bool trails_init(struct trails *t, struct arena *a, int64_t from_ms, int64_t to_ms);
/* Owners are small dense numbers. False at the arena's cap, or when the value is above
 * TRAIL_VALUE_MAX. */
bool trail_add(
	struct trails *t, uint32_t owner, int64_t time_ms, const uint64_t id[2], uint32_t value);
/* Visits the days before settled_ms: no event before it may be added any more. False when a
 * visit failed, at the arena's cap, or when nobody waits (watch.h). */
bool trails_settle(struct trails *t, int64_t settled_ms);

#endif
