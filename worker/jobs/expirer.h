/*
 * Erases what is older than a project's retention (D20), on a thread with a connection of
 * its own. A transaction takes some blobs or segments and, of their events, the claims: an
 * id that is forgotten with its event may be stored again, once the retention ends.
 *
 * The claim of an event that was erased with its person stays, because nothing here holds
 * that event any more, and so does that of an event which a tombstone hides: who was erased
 * stays erased, at the price of the claim's row.
 */
#ifndef JOBS_EXPIRER_H
#define JOBS_EXPIRER_H

#include "shm/options.h"
#include "worker/db/db.h"

struct expirer {
	const struct options *opt;
	int32_t project;
	uint64_t until_ms; /* CLOCK_MONOTONIC: begins nothing new afterwards */
	/* results */
	bool failed; /* err tells; what was committed before stays */
	struct db_error err;
	int64_t rows, claims; /* blobs and segments, and ids, that are gone */
};

/* For offload_run(); arg is a struct expirer. */
void expirer_run(void *arg);

#endif
