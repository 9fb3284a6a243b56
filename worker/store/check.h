/* Whether stored bytes are what they should be: for pugd verify. */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "worker/store/digests.h"
#include "worker/store/evseg.h"

/* What a row of `segment` says of its events. */
struct check_row {
	int32_t day;
	struct str kind;
	int64_t tmin, tmax, bytes;
	bool numbered;
	const struct str *kinds; /* NULL: not known */
	int n_kinds;
};

/* All of these return what is wrong, or NULL; memory is taken from the arena, and its cap
 * is one of the answers. */

/* Every part can be read, and every event has a time, an id, a kind and a distinct_id. */
const char *check_parts(const struct evseg *s, struct arena *a);
/* Times of an inbox row; masked events are within them, too. */
const char *check_window(const struct evseg *s, int64_t tmin, int64_t tmax, struct arena *a);
/* What is kept of its names is what it has; names.p == NULL: nothing is kept. */
const char *check_names(const struct evseg *s, struct str names, struct arena *a);
/* Level 1: order, day, bounds, kind, kinds, bytes, whether it has numbers. */
const char *check_sealed(const struct evseg *s, const struct check_row *row, struct arena *a);
/* Level 1: each event has the number that its distinct_id has in the project, whose digests
 * these are in the order of their numbers, under that key. */
const char *check_numbers(const struct evseg *s, const uint8_t *key, const uint64_t *digests,
	uint32_t n, struct arena *a);

#endif
