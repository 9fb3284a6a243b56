/*
 * A batch: one segment's events as plain arrays, only with the columns that a
 * plan wants. Kernels know nothing else, so that levels, compression and
 * dictionaries stay below. Codes are the segment's own: whoever needs a value's
 * view computes it once per dictionary entry, not once per event.
 */
#ifndef STORE_BATCH_H
#define STORE_BATCH_H

#include <endian.h>
#include "worker/store/evseg.h"
#include "worker/store/ties.h"

struct prop_ref {
	struct str key;
	enum prop_scope scope;
	enum key_class class;
};

enum { BATCH_UUID = 16 };

/* Which columns to load; times and kinds always are. */
struct batch_need {
	bool distinct, session, ids;
	/* The order of events of one time is asked for, which is that of their ids (D29): what is
	 * sealed has it in its rows (batch->ordered) and ids of few, of others ids are loaded. */
	bool order;
	/* distinct_ids as numbers will do (numbers.h): who, not what they are called, and of
	 * cookieless visitors not even that */
	bool numbers;
	bool texts; /* besides numbers what they are called, in a column of its own */
	/* Of a time it is enough to know between which edges it lies, ascending, and whether it
	 * is in the window: all events of a segment may then have one time (evseg.h). */
	bool flat;
	const int64_t *edges;
	uint32_t n_edges;
	const struct prop_ref *props;
	uint32_t n_props;
};

struct batch_column {
	const uint32_t *codes;       /* n of them; 0 = missing */
	const struct value *entries; /* code k is entries[k - 1] */
	const char *uuids;           /* of sessions, which have no entries: batch_uuid() */
	uint32_t n_entries;
};

struct batch {
	int64_t id; /* of the segment, level 1; else 0 */
	uint32_t n;
	const uint8_t *masked; /* or NULL; 1 = skip the event */
	const int64_t *times;
	bool flat;     /* all times are the first one's, the only one that is there */
	bool ordered;  /* rows are in the order of (time, id), as all that is sealed */
	bool one_kind; /* all codes of kind are 1 */
	bool numbered; /* codes of distinct are numbers of the project, 0: cookieless; there
			  are no entries, and n_entries is the greatest number */
	struct batch_column kind, distinct, session;
	struct batch_column texts;  /* numbered, and need->texts: distinct_ids as they are */
	const uint8_t *ids;         /* or NULL */
	struct ties ties;           /* where ids is NULL: of these rows there are ids */
	const uint8_t *tied;        /* a bit a row; NULL: of none */
	struct batch_column *props; /* need->n_props of them */
};

/* The 16 bytes of a session's code, which is not 0. */
static inline const char *batch_uuid(const struct batch_column *c, uint32_t code)
{
	return c->uuids + (size_t)(code - 1) * COLUMN_UUID;
}
/* False when the segment is malformed or the arena is full. */
bool batch_load(
	struct batch *b, const struct evseg *s, const struct batch_need *need, struct arena *a);

/* The 16 bytes of the id of a row that is tied. */
const uint8_t *batch_tie(const struct batch *b, uint32_t row);
/* The 16 bytes of an event's id as two numbers, which compare like them, in `out`; NULL when it
 * was not loaded. */
static inline const uint64_t *batch_id(const struct batch *b, uint32_t row, uint64_t out[2])
{
	if (!b->ids && (!b->tied || !(b->tied[row / 8] >> row % 8 & 1)))
		return NULL;
	memcpy(out, b->ids ? b->ids + (size_t)row * 16 : batch_tie(b, row), 16);
	out[0] = be64toh(out[0]);
	out[1] = be64toh(out[1]);
	return out;
}

#endif
