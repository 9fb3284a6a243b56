/*
 * Walks a window zone span by zone span; see bucket.h. Inside a span the offset is
 * constant, so the next border is plain arithmetic on local time.
 */
#include "proto/wkt.h"
#include "worker/insights/bucket.h"

static const int64_t DAY = 86400;

struct walk {
	struct arena *a;
	int64_t *starts, *from;
	uint32_t *bucket;
	uint32_t n, n_stretches, cap;
};

static int64_t floor_mod(int64_t a, int64_t b)
{
	int64_t m = a % b;

	return m < 0 ? m + b : m;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return (a - floor_mod(a, b)) / b;
}

/* First day (number) of the month that holds the day, and of the next one. */
static void month_of(int64_t day, int64_t *first, int64_t *next)
{
	unsigned month, mday;
	int64_t year;

	wkt_date(day, &year, &month, &mday);
	*first = wkt_days(year, month, 1);
	*next = month == 12 ? wkt_days(year + 1, 1, 1) : wkt_days(year, month + 1, 1);
}

/* The local days [first, next) of the bucket that holds a day. */
static void days_of(enum bucket_unit unit, int64_t day, int64_t *first, int64_t *next)
{
	*first = day;
	*next = day + 1;
	if (unit == BUCKET_WEEK) { /* day 0 was a Thursday; weeks start on Sunday */
		*first = day - floor_mod(day + 4, 7);
		*next = *first + 7;
	} else if (unit == BUCKET_MONTH) {
		month_of(day, first, next);
	}
}

/* For one more stretch, and a bucket: there are no more of these than of stretches, so one cap
 * will do. */
static bool room(struct walk *w)
{
	uint32_t cap = w->cap ? w->cap * 2 : 512;

	if (w->n_stretches < w->cap)
		return true;
	if (w->n_stretches >= BUCKET_MAX)
		return false;
	w->starts = arena_grow(w->a, w->starts, w->cap * sizeof(int64_t), cap * sizeof(int64_t));
	w->from = arena_grow(w->a, w->from, w->cap * sizeof(int64_t), cap * sizeof(int64_t));
	w->bucket = arena_grow(w->a, w->bucket, w->cap * sizeof(uint32_t), cap * sizeof(uint32_t));
	w->cap = cap;
	return w->starts && w->from && w->bucket;
}

/* Number of the bucket that starts there, added in order of time. A bucket may
 * come back, or come late, when clocks went back over midnight. */
static uint32_t number(struct walk *w, int64_t start_ms)
{
	uint32_t no = w->n;

	while (no > 0 && w->starts[no - 1] > start_ms)
		no--;
	if (no > 0 && w->starts[no - 1] == start_ms)
		return no - 1;
	memmove(w->starts + no + 1, w->starts + no, (w->n - no) * sizeof(*w->starts));
	for (uint32_t i = 0; no < w->n && i < w->n_stretches; i++)
		w->bucket[i] += w->bucket[i] >= no;
	w->starts[no] = start_ms;
	w->n++;
	return no;
}

/* A stretch from `from` on (seconds) of the bucket starting at `start`. */
static bool stretch(struct walk *w, int64_t from, int64_t start)
{
	if (!room(w))
		return false;
	w->from[w->n_stretches] = from * 1000;
	w->bucket[w->n_stretches] = number(w, start * 1000);
	w->n_stretches++;
	return true;
}

/* In whole seconds: offsets have no fraction (tz.h), so neither has a border. */
bool buckets_make(struct buckets *b, const struct tz *z, enum bucket_unit unit, int64_t from_ms,
	int64_t to_ms, struct arena *a)
{
	struct walk w = {.a = a};
	int64_t at = floor_div(from_ms, 1000), end = floor_div(to_ms - 1, 1000) + 1;

	while (at < end) {
		struct tz_span span = tz_at(z, at);
		int64_t local = at + span.offset, next, first;

		if (unit <= BUCKET_HOUR) {
			int64_t size = unit == BUCKET_MINUTE ? 60 : 3600;

			first = at - floor_mod(local, size);
			next = first + size;
		} else {
			days_of(unit, floor_div(local, DAY), &first, &next);
			next = next * DAY - span.offset;
			first = tz_day_start(z, first);
		}
		if (!stretch(&w, at, first))
			return false;
		/* behind the span `next` would be off by the difference of the offsets */
		at = next < span.end ? next : span.end;
	}
	*b = (struct buckets){w.n, w.starts, w.n_stretches, w.from, w.bucket};
	return true;
}

static uint32_t stretch_of(const struct buckets *b, int64_t ms)
{
	uint32_t lo = 0, hi = b->n_stretches;

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (b->from[mid] <= ms)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

uint32_t buckets_find(const struct buckets *b, int64_t ms)
{
	return b->bucket[stretch_of(b, ms)];
}

/* The last stretch is open here: times come from inside the window. */
void buckets_move(const struct buckets *b, struct buckets_near *near, int64_t ms)
{
	uint32_t at = stretch_of(b, ms);

	*near = (struct buckets_near){
		b->from[at], at + 1 < b->n_stretches ? b->from[at + 1] : INT64_MAX, b->bucket[at]};
}
