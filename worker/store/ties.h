/*
 * PART_TIES of a sealed segment: the ids of a few of its events, for whoever needs the order
 * of events of one time and person or session across segments (D29). Which of one segment comes
 * first its rows tell; so these are the events that have a time, and a distinct id or a session,
 * with an event of another segment that was made together with theirs. Segments without such
 * events, and those from before there were ties, have no such part.
 *
 * Body: varint n, then by row ascending: varint row, less the row before; the 16 bytes of the id.
 */
#ifndef STORE_TIES_H
#define STORE_TIES_H

#include "worker/store/evseg.h"

struct ties {
	const uint32_t *rows; /* ascending */
	const uint8_t *ids;   /* 16 bytes each */
	uint32_t n;
};

/* Those of a segment; none where it has no such part. False when malformed, or the arena is full.
 */
bool ties_read(const struct evseg *s, struct arena *a, struct ties *out);
/* Appends a body. */
void ties_encode(struct buf *out, const struct ties *t);

#endif
