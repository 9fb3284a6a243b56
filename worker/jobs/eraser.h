/*
 * Physical erasure of one project's deleted persons (D27), on a thread with a connection of
 * its own. Small transactions in a fixed order; what is done is noted in pugd.erasures, so
 * that a death costs the step that was under way. Several keepers may work at one project.
 *
 *   admit    what is due becomes PROCESSING, all of it for one pass over the events
 *   levels   inbox, then sealed segments: find what holds one of them, write it anew without
 *   names    what only they had brought leaves the catalogue
 *   numbers  those of their ids are nobody's any more (worker/store/numbers.h)
 *   finish   aliases in batches, then profile, tombstones and names, alone in the project
 */
#ifndef JOBS_ERASER_H
#define JOBS_ERASER_H

#include "shm/options.h"
#include "shm/segment.h"
#include "worker/db/db.h"

enum eraser_end {
	ERASER_DONE,   /* nothing is left to do, or what there was has failed for good */
	ERASER_MORE,   /* its time is over */
	ERASER_TROUBLE /* err: the database did not play along; tried again later */
};

struct eraser {
	const struct options *opt;
	struct segment *seg; /* for counters */
	int slot_no;
	int32_t project;
	uint64_t until_ms; /* CLOCK_MONOTONIC: begins nothing new afterwards */
	enum eraser_end end;
	struct db_error err;
};

/* For offload_run(); arg is a struct eraser. */
void eraser_run(void *arg);

#endif
