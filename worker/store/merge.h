/*
 * Level 1 segments out of the rows of others: sealing, merging small ones, and leaving
 * rows out, are all this one function. Rows go by (UTC day, kind, time, event id).
 *
 * Kinds with few events on a day share a segment of several kinds, or a project with a
 * hundred kinds would make a hundred segments of ten events at each sealing.
 *
 * Works column by column: dictionaries are united once an entry, events are moved by two
 * table look-ups a value, and what a column needs is forgotten before the next one.
 */
#ifndef STORE_MERGE_H
#define STORE_MERGE_H

#include "worker/store/evseg.h"

/* Events of a kind and day that make no segment of their own; few in tests, whose projects
 * are small. */
#ifdef PUGD_TEST_HOOKS
enum { MERGE_SHARED_BELOW = 12 };
#else
enum { MERGE_SHARED_BELOW = 2048 };
#endif

enum {
	MERGE_RAW_MAX = 4 << 20,     /* bytes of one column, unpacked */
	MERGE_DECODED_MAX = 24 << 20 /* memory that reading a whole segment may take */
};

enum merge_end {
	MERGE_OK,
	MERGE_MEMORY, /* an arena's cap: try with fewer sources */
	MERGE_BROKEN  /* a source is malformed */
};

struct merge_segment {
	int32_t day;     /* of all its events, since the epoch */
	struct str kind; /* of all its events, or empty: several */
	uint32_t n;
	int64_t tmin, tmax; /* ms */
	uint64_t bytes;     /* of the parts, as stored */
	struct evseg_part *parts;
	uint32_t n_parts;
};

/*
 * Masked rows of a source are left out: that is how refused positions go, and whom an
 * erasure removes. The result, which may be empty, is in `a` and refers to the keys of
 * the sources; `scratch` is emptied again and again. No key that has a column in a
 * source loses it: of all sources together at most EVSEG_KEYS_MAX are allowed
 * (merge_fits()), and what was in an overflow part stays in one. What has a time and a distinct
 * id or session with an event of another one of these segments is in PART_TIES (ties.h).
 */
enum merge_end merge_segments(const struct evseg *src, uint32_t n_src, struct arena *a,
	struct arena *scratch, struct merge_segment **out, uint32_t *n_out);

/* How many of the first sources may be merged together: 1 at least; 0 at the arena's cap. */
uint32_t merge_fits(const struct evseg *src, uint32_t n_src, struct arena *a);

#endif
