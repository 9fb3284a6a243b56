/*
 * See feed.h. First the keys of a frame's candidates are ranked, then only those
 * that stay are read whole: a segment's columns are unpacked at most once, and not
 * at all when it has nothing new. Of sealed segments the other columns are not even
 * asked for before all keys are ranked.
 */
#include <stdlib.h>
#include "worker/insights/feed.h"
#include "worker/insights/watch.h"
#include "worker/store/rows.h"

/* LOOK: so many events are read whole before watch_over() is asked; one has up to as many columns
 * as its segment. */
enum { DAY_MS = 86400000, LOOK = 64 };

struct key {
	int64_t time_ms;
	const uint8_t *id;
	uint32_t row;
};

/* Newest first. */
static int order(int64_t a_ms, const uint8_t *a_id, int64_t b_ms, const uint8_t *b_id)
{
	if (a_ms != b_ms)
		return a_ms > b_ms ? -1 : 1;
	return memcmp(b_id, a_id, 16);
}

static int by_key(const void *x, const void *y)
{
	const struct key *a = x, *b = y;

	return order(a->time_ms, a->id, b->time_ms, b->id);
}

bool feed_init(struct feed *feed, uint32_t cap, struct arena *a)
{
	*feed = (struct feed){.a = a, .cap = cap};
	feed->events = arena_array(a, cap + 1, sizeof(struct feed_event *));
	return feed->events != NULL;
}

/* Of the last one's own millisecond more may enter, by their ids. */
bool feed_full(const struct feed *feed, int64_t tmax)
{
	return feed->n == feed->cap && feed->n > 0 && tmax < feed->events[feed->n - 1]->time_ms;
}

/* Consent is not asked: lists show cookieless visitors, too (0.8). */
static bool wanted(const struct feed *feed, const struct frame *f, uint32_t row)
{
	int64_t ms = f->batch->times[row];
	const uint8_t *id = f->batch->ids + (size_t)row * 16;
	bool match = false;

	for (uint32_t e = 0; e < f->plan->n_events && !match; e++)
		match = f->match[e][row];
	if (!match)
		return false;
	if (feed->has_cursor && order(ms, id, feed->cursor_ms, feed->cursor_id) <= 0)
		return false;
	if (feed->n < feed->cap)
		return true;
	return order(ms, id, feed->events[feed->n - 1]->time_ms, feed->events[feed->n - 1]->id) < 0;
}

/* ---- what stays outlives its segment ---- */

static bool copy_text(struct arena *a, struct str *s)
{
	char *p = arena_str(a, *s);

	s->p = p;
	return p != NULL;
}

static bool copy_props(
	struct feed *feed, struct feed_event *ev, const struct prop *props, uint32_t n)
{
	struct prop *out = arena_array(feed->a, n + 1, sizeof(*out));

	if (!out)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		out[i] = props[i];
		if (!copy_text(feed->a, &out[i].key))
			return false;
		if (out[i].value.type == VALUE_STR && !copy_text(feed->a, &out[i].value.s))
			return false;
	}
	ev->props = out;
	ev->n_props = n;
	return true;
}

/* All but time and id. */
static bool read_event(struct feed *feed, struct rows *o, uint32_t row, struct feed_event *ev)
{
	struct event e;

	if (!rows_read(o, row, &e))
		return false;
	ev->segment = 0;
	memcpy(ev->session, e.session, 16);
	ev->kind = e.kind;
	ev->distinct_id = e.distinct_id;
	return copy_text(feed->a, &ev->kind) && copy_text(feed->a, &ev->distinct_id) &&
	       copy_props(feed, ev, e.props, e.n_props);
}

/* What is known of an event by its key. */
static struct feed_event *note_event(
	struct feed *feed, const struct evseg *seg, const struct key *key)
{
	struct feed_event *ev = arena_zalloc(feed->a, sizeof(*ev));

	if (!ev)
		return NULL;
	ev->time_ms = key->time_ms;
	memcpy(ev->id, key->id, 16);
	ev->segment = seg->id;
	ev->row = key->row;
	return ev;
}

/* Makes a place for a key in the order; false when it does not enter. */
static bool make_place(struct feed *feed, const struct key *key, uint32_t *at)
{
	uint32_t lo = 0, hi = feed->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct feed_event *ev = feed->events[mid];

		if (order(ev->time_ms, ev->id, key->time_ms, key->id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo >= feed->cap)
		return false;
	feed->n += feed->n < feed->cap;
	memmove(feed->events + lo + 1, feed->events + lo,
		(feed->n - 1 - lo) * sizeof(struct feed_event *));
	*at = lo;
	return true;
}

bool feed_fold(struct feed *feed, const struct frame *f, const struct evseg *seg)
{
	struct key *keys = arena_array(f->a, f->batch->n + 1, sizeof(*keys));
	struct rows o;
	uint32_t n = 0, at;

	for (uint32_t i = 0; keys && i < f->batch->n; i++) {
		if (watch_due(i))
			return false;
		if (wanted(feed, f, i))
			keys[n++] =
				(struct key){f->batch->times[i], f->batch->ids + (size_t)i * 16, i};
	}
	if (!keys || n == 0)
		return keys != NULL;
	qsort(keys, n, sizeof(*keys), by_key);
	if (!seg->partial && !rows_open(&o, seg, f->a))
		return false;
	for (uint32_t i = 0; i < n && i < feed->cap; i++) {
		struct feed_event *ev;

		if (i % LOOK == LOOK - 1 && watch_over())
			return false;
		/* newest first: behind one that does not enter none does */
		if (!make_place(feed, &keys[i], &at))
			break;
		ev = note_event(feed, seg, &keys[i]);
		if (!ev || (!seg->partial && !read_event(feed, &o, keys[i].row, ev)))
			return false;
		feed->events[at] = ev;
	}
	return true;
}

/* Each with each: a page has 1001 events at most (rpc/activity.c). A sealed segment is of one UTC
 * day, so any of its events tells which. */
bool feed_missing(struct feed *feed, const int32_t **days, const int64_t **ids, uint32_t *n)
{
	int32_t *day = arena_array(feed->a, feed->n + 1, sizeof(*day));
	int64_t *id = arena_array(feed->a, feed->n + 1, sizeof(*id));
	uint32_t found = 0;

	if (!day || !id)
		return false;
	for (uint32_t i = 0; i < feed->n; i++) {
		const struct feed_event *ev = feed->events[i];
		uint32_t k = 0;

		while (k < found && id[k] != ev->segment)
			k++;
		if (!ev->segment || k < found)
			continue;
		day[found] = (int32_t)(ev->time_ms / DAY_MS - (ev->time_ms % DAY_MS < 0));
		id[found++] = ev->segment;
	}
	*days = day;
	*ids = id;
	*n = found;
	return true;
}

/* Rows are those that feed_fold() saw, for it is the same snapshot. Nothing is masked here: what is
 * hidden has not entered. */
bool feed_fill(struct feed *feed, const struct evseg *seg, struct arena *a)
{
	struct rows o;

	if (!rows_open(&o, seg, a))
		return false;
	for (uint32_t i = 0; i < feed->n; i++) {
		struct feed_event *ev = feed->events[i];

		if (i % LOOK == LOOK - 1 && watch_over())
			return false;
		if (ev->segment == seg->id &&
			(ev->row >= seg->n || !read_event(feed, &o, ev->row, ev)))
			return false;
	}
	return true;
}
