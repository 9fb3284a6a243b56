/*
 * Time buckets of one window in one zone (D71), computed once per query: a list
 * of stretches, each belonging to one bucket. Around zone changes a bucket may own
 * several stretches, and its start may lie before the stretch it is found in.
 */
#ifndef INSIGHTS_BUCKET_H
#define INSIGHTS_BUCKET_H

#include "worker/insights/tz.h"

/* Numbers of insights.v1.Granularity. */
enum bucket_unit { BUCKET_MINUTE = 1, BUCKET_HOUR, BUCKET_DAY, BUCKET_WEEK, BUCKET_MONTH };

/* Stretches. Windows of insights have some hundred (0.6); a heatmap's have no cap, but days since
 * 2000 (D23) are some ten thousand. */
enum { BUCKET_MAX = 65536 };

struct buckets {
	uint32_t n;            /* buckets, in order of time */
	const int64_t *starts; /* ms, as answered */
	uint32_t n_stretches;
	const int64_t *from;    /* ms, where a stretch begins; ascending */
	const uint32_t *bucket; /* whose it is */
};

/* All buckets that [from_ms, to_ms) touches. False when there are more than
 * BUCKET_MAX stretches or the arena is full. */
bool buckets_make(struct buckets *b, const struct tz *z, enum bucket_unit unit, int64_t from_ms,
	int64_t to_ms, struct arena *a);
/* The bucket of a time inside the window. */
uint32_t buckets_find(const struct buckets *b, int64_t ms);

/* The stretch that the last time lay in: events come in order. All zero: none. */
struct buckets_near {
	int64_t from, to;
	uint32_t bucket;
};

void buckets_move(const struct buckets *b, struct buckets_near *near, int64_t ms);
static inline uint32_t buckets_find_near(
	const struct buckets *b, struct buckets_near *near, int64_t ms)
{
	if (ms < near->from || ms >= near->to)
		buckets_move(b, near, ms);
	return near->bucket;
}

#endif
