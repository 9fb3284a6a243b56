/*
 * A segment's events whole, one by one, for whoever shows, exports or rewrites
 * them; questions use batches (batch.h). Columns are unpacked once, on opening.
 */
#ifndef STORE_ROWS_H
#define STORE_ROWS_H

#include "worker/store/evseg.h"
#include "worker/store/event.h"

enum { ROWS_PROPS_MAX = 1024 }; /* of one event; ingestion admits 255, enrichment adds some */

struct rows {
	const struct evseg *seg;
	const int64_t *times;
	const uint8_t *ids;
	struct column kind, distinct, session, cookieless, *props;
	struct str overflow;
	const struct evseg_spilled *spilled; /* by row; NULL: no overflow */
	struct prop *found;                  /* of the event being read */
};

/* False when the segment is malformed or the arena is full. */
bool rows_open(struct rows *o, const struct evseg *seg, struct arena *a);
/* The event at a position (masked ones too); it points into the segment
 * and into `o`, until the next one is read. False when the segment is malformed. */
bool rows_read(struct rows *o, uint32_t row, struct event *ev);

#endif
