/* One line on a terminal that says how far a long job is; silent elsewhere. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what; /* "events" */
	uint64_t total, done;
	uint64_t items; /* progress_to(): how many of them, where `total` is bytes */
	uint64_t first; /* and where it began */
	bool bytes;
	uint64_t start_ms, shown_ms;
	bool on;
};

void progress_start(struct progress *p, const char *what, uint64_t total);
/* Redraws at most ten times a second. */
void progress_add(struct progress *p, uint64_t n);
/* For jobs whose size is known in bytes, or (total 0) not at all: how far in bytes,
 * and how many of `what` that were. */
void progress_to(struct progress *p, uint64_t bytes, uint64_t items);
/* Ends the line, with the total and the rate. */
void progress_end(struct progress *p);

#endif
