/* One line on a terminal that says how far a long job is; silent elsewhere. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what; /* "events" */
	uint64_t total, done;
	uint64_t start_ms, shown_ms;
	bool on;
};

void progress_start(struct progress *p, const char *what, uint64_t total);
/* Redraws at most ten times a second. */
void progress_add(struct progress *p, uint64_t n);
/* Ends the line, with the total and the rate. */
void progress_end(struct progress *p);

#endif
