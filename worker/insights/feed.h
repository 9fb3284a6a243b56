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
/* False at the arena's cap, or when the segment is malformed. */
bool feed_fold(struct feed *feed, const struct frame *f, const struct evseg *seg);
/* True when events up to that time cannot enter any more. */
bool feed_full(const struct feed *feed, int64_t tmax);

#endif
