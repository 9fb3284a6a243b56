/*
 * What each of many owners (persons, sessions) did, collected in any order and given to
 * the kernel in the order of (time, event id): a UTC day at a time, as soon as nothing
 * can come any more that is earlier. So memory goes with what is not in order yet, some 32
 * bytes an event; sealed segments come day by day.
 *
 * Few events have an owner and a time that another one has, too, and of one sealed segment
 * the rows tell which of these comes first. So ids may be unknown; where only they would
 * tell, and the kernel would see a difference, the answer must be worked out anew with ids.
 */
#ifndef INSIGHTS_TRAIL_H
#define INSIGHTS_TRAIL_H

#include "shm/base/arena.h"

/* A time relative to the window, and a value of the kernel's own, in one word. Ten
 * years of milliseconds, the longest window (0.6), need 39 bits. */
enum { TRAIL_TIME_BITS = 39, TRAIL_VALUE_BITS = 25 };
#define TRAIL_VALUE_MAX ((1u << TRAIL_VALUE_BITS) - 1)

struct trail_item {
	uint64_t key; /* time << TRAIL_VALUE_BITS | value */
	uint32_t owner;
	uint32_t source : 31, known : 1; /* known: its id, which is beside its block */
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
	uint32_t source;  /* of what is added now */
	bool undecided;   /* why it failed: only ids tell an order that matters */
	struct trail_day *days;
	uint32_t n_days, next; /* next: those before were given to the kernel */
	/* Given some events at a time, in order; of one instant only those of one owner are so
	 * for sure; of these, those of one value in any. False at the arena's cap. */
	bool (*visit)(void *kernel, const struct trail_item *const *v, uint32_t n);
	void *kernel;
	struct trail_block *spare;
	/* of the day at hand */
	struct trail_block **blocks;
	uint64_t *order, *scratch; /* time of the day << 32 | number of the event */
	uint32_t cap;
};

/* Since the window's begin. */
static inline int64_t trail_time(const struct trail_item *e)
{
	return (int64_t)(e->key >> TRAIL_VALUE_BITS);
}

static inline uint32_t trail_value(const struct trail_item *e)
{
	return (uint32_t)e->key & TRAIL_VALUE_MAX;
}

/* For events of [from_ms, to_ms), which is shorter than TRAIL_TIME_BITS allow; visit and
 * kernel are the caller's to set. False at the arena's cap. */
bool trails_init(struct trails *t, struct arena *a, int64_t from_ms, int64_t to_ms);
/* What is added from now on is of another segment than what was. */
static inline void trails_source(struct trails *t)
{
	t->source++;
}

/* Owners are small dense numbers; id is as of batch_id(). Without one, events of a source come in
 * the order of time and id. False at the arena's cap, or when the value is above
 * TRAIL_VALUE_MAX. */
bool trail_add(
	struct trails *t, uint32_t owner, int64_t time_ms, const uint64_t id[2], uint32_t value);
/* Visits the days before settled_ms: no event before it may be added any more. False when a
 * visit failed, at the arena's cap, when nobody waits (watch.h), or with t->undecided. */
bool trails_settle(struct trails *t, int64_t settled_ms);

#endif
