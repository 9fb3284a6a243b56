/* Gives up what a worker never needs again. See sandbox.c and sandbox.def. */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H

#include <stdbool.h>

struct options;

/* After warm-up, before the first client. Whatever the kernel lacks is logged
 * and skipped. False when nothing was restricted (sanitizer builds). */
bool sandbox_enter(const struct options *opt);

#endif
