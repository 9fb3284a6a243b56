/*
 * The newest events that match a plan, whole: at most `cap`, by (time, id)
 * descending, strictly before a cursor.
 */
#ifndef INSIGHTS_FEED_H
#define INSIGHTS_FEED_H

#include "worker/insights/frame.h"

struct feed_event {
	int64_t time_ms;
	uint8_t id[16];
	uint8_t session[16]; /* zero: none */
	struct str kind, distinct_id;
	const struct prop *props;
	uint32_t n_props;
	/* where the rest is, while only time and id are known; 0: all is known */
	int64_t segment;
	uint32_t row;
};

struct feed {
	struct arena *a;
	uint32_t n, cap;
	struct feed_event **events;
	bool has_cursor;
	int64_t cursor_ms;
	uint8_t cursor_id[16];
};

/* False at the arena's cap. */
bool feed_init(struct feed *feed, uint32_t cap, struct arena *a);
/* False at the arena's cap, when the segment is malformed, or when watch_over(). Of a partial
 * segment only time and id are taken: ask feed_missing() at the end. */
bool feed_fold(struct feed *feed, const struct frame *f, const struct evseg *seg);
/* The segments that events are missing from, each once, and their days. False at the cap. */
bool feed_missing(struct feed *feed, const int32_t **days, const int64_t **ids, uint32_t *n);
/* Completes the events of a whole segment. False as for feed_fold(). */
bool feed_fill(struct feed *feed, const struct evseg *seg, struct arena *a);
/* True when events up to that time cannot enter any more. */
bool feed_full(const struct feed *feed, int64_t tmax);

#endif
