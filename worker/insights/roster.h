/*
 * Which persons a page of profiles holds (events-profiles.md 5.4, 5.5): those whom the
 * plan's conditions meet, newest first, strictly after a cursor.
 */
#ifndef INSIGHTS_ROSTER_H
#define INSIGHTS_ROSTER_H

#include "worker/insights/persons.h"

struct roster_entry {
	int64_t us; /* made; of anonymous persons the first event */
	uint32_t person;
	struct str key; /* profile id or distinct_id */
	bool profile;
};

struct roster {
	struct people *people;
	struct persons persons;
	bool has_cursor;
	int64_t cursor_us;
	struct str cursor_key;
	uint32_t want;
	/* the answer: n <= want of them, and whether somebody follows */
	struct roster_entry *v;
	uint32_t n;
	bool more;
};

/* After everything was folded into r->persons. False at the arena's cap, or when watch_over(). */
bool roster_finish(struct roster *r);

#endif
