/* What the metrics and the status page have in common. */
#ifndef MASTER_METRICS_H
#define MASTER_METRICS_H

#include <stdint.h>

struct master;
struct segment;

/* Name of a Connect code as the protocol spells it; "ok" for 0. */
const char *metrics_code(unsigned code);
/* The segment whose numbers are shown; NULL when this image can read none. */
const struct segment *metrics_segment(const struct master *m);

/* In the order of enum counter (shm/segment.h): both are made from counters.def. */
struct metric_counter {
	const char *name, *help;
};
extern const struct metric_counter metrics_counters[];

#endif
