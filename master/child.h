/* One seat of a generation and the process on it. */
#ifndef MASTER_CHILD_H
#define MASTER_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "master/master.h"

/* How a process ended, as far as the seat's future depends on it. */
enum child_end {
	END_LEFT,     /* exit 0 */
	END_HOPELESS, /* exit 78 */
	END_KILLED,   /* SIGKILL from outside while READY: says nothing about the program */
	END_CRASHED,
};

const char *child_state_name(enum child_state s);
const char *child_role(const struct child *c);
bool child_has_process(const struct child *c);
/* The only place that changes a state; traces it. */
void child_enter(struct child *c, enum child_state state, const char *why);
/* Takes a slot and starts the process; on failure the seat waits and tries again. */
void child_start(struct master *m, struct child *c);
/* Puts the watches of a process that runs already (handover). False: it cannot be watched. */
bool child_adopt(struct master *m, struct child *c, int control_fd);
void child_drain(struct child *c, uint64_t within_ms);
/* STOP and SIGTERM now, SIGKILL a second later. */
void child_stop(struct child *c, const char *why);
/* Deadlines and heartbeat. Returns when to look again. */
uint64_t child_tick(struct master *m, struct child *c, uint64_t now_ms);

#endif
