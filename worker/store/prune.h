/*
 * A segment without some of its events: what an erasure leaves of it (D27). It is decoded
 * and encoded anew, so that dictionaries and the overflow part hold nothing of what went.
 */
#ifndef STORE_PRUNE_H
#define STORE_PRUNE_H

#include "worker/store/evseg.h"

struct pruned {
	uint32_t n;      /* events left; 0: there is no blob */
	struct str blob; /* level 0, in the arena */
	int64_t tmin, tmax;
};

/* drop: a byte per event, 1 = leave it out; those that s masks are left out, too. The order
 * of the others stays. False when the segment is malformed or the arena is full (a->over
 * tells which). */
bool prune_events(const struct evseg *s, const uint8_t *drop, struct arena *a, struct pruned *out);

#endif
