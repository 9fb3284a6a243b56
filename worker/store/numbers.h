/*
 * Distinct ids as dense numbers of their project (pugd.number_block): PART_NUMBER of a
 * sealed segment has one an event, so that a query that asks who, not what they are called,
 * reads no texts. 0: the id has no number, because it is a cookieless visitor's. A segment
 * with any other id that has none has no such part at all.
 *
 * Body: u8 width (1 to 4), then a number an event, little-endian.
 */
#ifndef STORE_NUMBERS_H
#define STORE_NUMBERS_H

#include "worker/store/evseg.h"

enum { NUMBERS_MAX = 4 << 20 }; /* that a project may have: 24 bytes each while they are used */

/* The numbers of s->n events, and the greatest. False when there are none, malformed, or the
 * arena is full. */
bool numbers_read(
	const struct evseg *s, struct arena *a, const uint32_t **numbers, uint32_t *greatest);
/* Appends a body. */
void numbers_encode(struct buf *out, const uint32_t *numbers, uint32_t n);

#endif
