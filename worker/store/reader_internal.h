/* What reader.c and reader_*.c share. */
#ifndef STORE_READER_INTERNAL_H
#define STORE_READER_INTERNAL_H

#include "worker/store/reader.h"

struct reader *reader_of(struct db_stream *st);
/* STREAM_FAIL, with r->error set. */
enum stream_next reader_fail(struct reader *r, enum reader_error error);
/* The same for stored bytes that are malformed, or for which r->scratch has no room. */
enum stream_next reader_broken(struct reader *r, const char *what);
/* What a statement's end means: 0, or -1 with r->error. */
int reader_done(struct reader *r, int n);

/* A list of columns. */
struct reader_wanted {
	struct db_int4s part, scope;
	struct db_texts key;
};

/* Those that batch_load() asks a segment for, and those that say who is hidden; none without
 * r->need. False at the arena's cap. */
bool reader_wanted(const struct reader *r, struct reader_wanted *out, struct arena *a);
/* Every event has these: a lost column must not look like values that are missing. */
bool reader_has_needed(const struct reader *r, const struct evseg *s);

/* Who is hidden from a segment. */
struct hidden {
	int64_t place;           /* of its events in pugd.inbox_order */
	const int64_t *floor_ms; /* or NULL */
};

/* False when malformed or r->scratch is full. */
bool reader_hide(struct reader *r, struct evseg *s, const struct hidden *h);
/* To r->segment. */
enum stream_next reader_give(struct reader *r, const struct evseg *s);

/* What a sealed segment's row says of it. */
struct reader_head {
	int64_t id, place, tmin;
	int64_t floor_ms; /* if has_floor: a retention that hides some of its events */
	int32_t n, columns;
	struct str kind;
	bool has_floor, flat;
};

/* Gives a sealed segment with those columns of it that were read; what they refer to is in
 * r->scratch. crc as for evseg_of_parts(). */
enum stream_next reader_sealed(struct reader *r, const struct reader_head *h,
	const struct evseg_part *parts, uint32_t n, const int32_t *crc);
/* Numbers instead of distinct_ids: who is hidden is known by text. */
bool reader_numbers(const struct reader *r);
/* Level 1 of a window with the columns that r->need names. Negative with r->error or the
 * stream's. */
int reader_parts(struct reader *r, int64_t from_ms, int64_t to_ms);
/* The same, with r->cache. */
int reader_cached(struct reader *r, int64_t from_ms, int64_t to_ms);

#endif
