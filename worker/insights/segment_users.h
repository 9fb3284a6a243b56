/*
 * SegmentUsers (insights-dashboards.md 2.4, D25, D79): the persons with an event that
 * matches any of the plan's, a page at a time, by what they are called: the external id, or else
 * the id that events carry, or else (a profile without the one and with several of the other) the
 * profile id.
 */
#ifndef INSIGHTS_SEGMENT_USERS_H
#define INSIGHTS_SEGMENT_USERS_H

#include "shm/colcache.h"
#include "worker/insights/scan.h"

struct segment_users;

struct segment_page {
	const struct str *ids; /* ascending, in the plan's arena */
	uint32_t n;
	bool more; /* somebody follows */
};

/* The page of at most `want` ids that are strictly greater than `after`, which stays the
 * caller's; an empty one is smaller than any id. cache: where texts of ids may be, or NULL: then
 * the plan needs them. NULL at the arena's cap. */
struct segment_users *segment_users_new(
	const struct plan *plan, struct str after, uint32_t want, struct colcache *cache);
/* False at the arena's cap, or with segment_users_by_text(). */
bool segment_users_fold(struct segment_users *s, const struct frame *f);
/* After folding or naming: the texts of ids are not in memory, so the plan must need them. */
bool segment_users_by_text(const struct segment_users *s);
/* What people are called who are digests: after the last frame, inside the snapshot. False at
 * the arena's cap, or with r->error. */
bool segment_users_name(struct segment_users *s, struct scan *scan, struct reader *r);
void segment_users_finish(struct segment_users *s, struct segment_page *out);

#endif
