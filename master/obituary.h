/* The last words of a process, and the cleaning up after it. */
#ifndef MASTER_OBITUARY_H
#define MASTER_OBITUARY_H

#include <signal.h>

#include "master/child.h"

/* Logs one line (none for END_LEFT), reports fingerprints, repairs shared memory and
 * frees the slot. Called right after the reaping, before the slot may be used again. */
void obituary_write(struct master *m, struct child *c, const siginfo_t *si, enum child_end end);
const char *obituary_step_name(uint32_t step);

#endif
