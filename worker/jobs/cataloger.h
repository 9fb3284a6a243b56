/*
 * Brings the names that are kept in line with the events, on a thread with a connection of its
 * own: those of sealed segments (store/names.h), and from all names the catalogue of a project,
 * which is what its limits are counted by (D82; sql/schema/009_catalog.sql).
 */
#ifndef JOBS_CATALOGER_H
#define JOBS_CATALOGER_H

#include "worker/db/db.h"

enum cataloger_end {
	CATALOGER_DONE,
	CATALOGER_DB, /* err tells; again later */
	CATALOGER_MEMORY,
	CATALOGER_BROKEN /* a stored segment is damaged */
};

struct cataloger {
	PGconn *conn; /* idle */
	int32_t project;
	/* Names that came into the catalogue so short before, and that no event has yet, stay:
	 * their events may be on the way. Microseconds. */
	int64_t spare_us;
	enum cataloger_end end;
	struct db_error err;
};

/* Compares a project's catalogue with its events. */
void cataloger_fill(struct cataloger *c);
/* Makes the names of a sealed segment (its day since the epoch), if nobody has. */
void cataloger_name(struct cataloger *c, int32_t day, int64_t id);

#endif
