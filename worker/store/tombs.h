/*
 * Tombstones (D27): which events are hidden because their person is being erased. An id is
 * hidden in everything whose place in pugd.inbox_order lies below a deletion's `high`
 * (sql/schema/004_erasure.sql), so that the same id may come again as a new person.
 */
#ifndef STORE_TOMBS_H
#define STORE_TOMBS_H

#include "worker/store/evseg.h"
#include "worker/store/intern.h"

enum { TOMB_NONE = UINT32_MAX };

struct tomb {
	int64_t high;
	uint32_t owner, next; /* next: of the same id, number + 1; 0: the last */
};

struct tombs {
	struct intern ids;
	uint32_t *first, *last; /* by number of the id: number of the tomb */
	struct tomb *v;
	uint32_t n, cap, cap_ids;
	int64_t highest; /* nothing from here on is hidden */
};

void tombs_init(struct tombs *t, struct arena *a);
/* Those of one id in ascending order of `high`. False at the arena's cap. */
bool tombs_add(struct tombs *t, struct str id, int64_t high, uint32_t owner);
/* Who hides an id at that place: the owner of the earliest one, or TOMB_NONE. */
uint32_t tombs_find(const struct tombs *t, struct str id, int64_t place);
/* The owner for each of the segment's events, masked ones too; *owners is NULL when nobody
 * is hidden there. False when the segment is malformed or the arena is full. */
bool tombs_owners(const struct tombs *t, const struct evseg *s, int64_t place, struct arena *a,
	const uint32_t **owners);
/* Adds the hidden ones to the segment's mask. False as above. */
bool tombs_mask(const struct tombs *t, struct evseg *s, int64_t place, struct arena *a);

#endif
