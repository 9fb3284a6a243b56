/*
 * What each of many owners (persons, sessions) did, collected in any order and given to
 * the kernel in the order of time, and of each owner in that of (time, event id): a UTC day at a
 * time, as soon as nothing can come any more that is earlier. So memory goes with what is not in
 * order yet, some 20 bytes an event, and as many again if its id is known; sealed segments come
 * day by day.
 *
 * Few events have an owner and a time that another one has, too, and of one sealed segment
 * the rows tell which of these comes first. So ids may be unknown; where only they would
 * tell, and the kernel would see a difference, the answer must be worked out anew with ids.
 */
#ifndef INSIGHTS_TRAIL_H
#define INSIGHTS_TRAIL_H

#include "worker/store/batch.h"

/* A time, and a value of the kernel's own, in one word. Ten years of milliseconds, the longest
 * window (0.6), need 39 bits. */
enum { TRAIL_TIME_BITS = 39, TRAIL_VALUE_BITS = 25 };
#define TRAIL_VALUE_MAX ((1u << TRAIL_VALUE_BITS) - 1)

/* So many are given to a kernel at a time at most. */
enum { TRAIL_SOME = 64 };

/* What an owner did: time of the day << TRAIL_VALUE_BITS | value. */
struct trail_event {
	uint64_t key;
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
	uint32_t source;  /* of what is added now */
	bool undecided;   /* why it failed: only ids tell an order that matters */
	struct trail_day *days;
	uint32_t n_days, next; /* next: those before were given to the kernel */
	/* Given events of a day that begins so long after the window (before it: negative). Those
	 * of one instant and several owners are in any order, and those of one owner that have one
	 * value. False at the arena's cap. */
	bool (*visit)(void *kernel, int64_t day_ms, const struct trail_event *v, uint32_t n);
	void *kernel;
	struct trail_block *spare;
	/* of the day at hand */
	int64_t day_ms;
	struct trail_block **blocks;
	uint32_t n_blocks;
	uint64_t *order;  /* times << 32 | numbers */
	uint64_t *spares; /* to sort some of them */
	uint32_t cap, cap_spares;
};

/* Since the begin of its day. */
static inline int64_t trail_time(uint64_t key)
{
	return (int64_t)(key >> TRAIL_VALUE_BITS);
}

static inline uint32_t trail_value(uint64_t key)
{
	return (uint32_t)key & TRAIL_VALUE_MAX;
}

/* Events of one batch. */
struct trail_rows {
	const uint32_t *rows; /* NULL: the first n */
	uint32_t n;
	const uint32_t *owners; /* small dense numbers; by place in rows, as values are */
	const uint32_t *values; /* NULL: all are `value` */
	uint32_t value;
};

/* For events of [from_ms, to_ms), which is shorter than TRAIL_TIME_BITS allow; visit and
 * kernel are the caller's to set. False at the arena's cap. */
bool trails_init(struct trails *t, struct arena *a, int64_t from_ms, int64_t to_ms);
/* Rows of another segment than those before: where ids are unknown, they come in the order of
 * time and id. False at the arena's cap, or when a value is above TRAIL_VALUE_MAX. */
bool trails_add(struct trails *t, const struct batch *b, const struct trail_rows *e);
/* Visits the days before settled_ms: no event before it may be added any more. False when a
 * visit failed, at the arena's cap, when nobody waits (watch.h), or with t->undecided. */
bool trails_settle(struct trails *t, int64_t settled_ms);

#endif
