/* What reader.c, reader_parts.c and reader_people.c share. */
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
/* Level 1 of a window with the columns that r->need names. Negative with r->error or the
 * stream's. */
int reader_parts(struct reader *r, int64_t from_ms, int64_t to_ms);

#endif
