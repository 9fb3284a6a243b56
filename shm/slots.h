/*
 * One slot per process: who it is, is it alive, what is it doing. Written by
 * its owner, read by the master (supervision, obituary) and by `pugd status`.
 */
#ifndef SHM_SLOTS_H
#define SHM_SLOTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SLOTS_MAX = 128, CRUMBS_PER_SLOT = 1 + 16, SLOT_PANIC_BYTES = 1024 };

enum slot_state { SLOT_FREE, SLOT_STARTING, SLOT_READY, SLOT_DRAINING, SLOT_DEAD };

/* What one thread works on: stored on entering code on behalf of a call,
 * cleared on return to the loop (D92). Index 0 is the loop's thread. */
struct crumb {
	_Atomic uint32_t busy; /* 1 while the rest is meaningful */
	uint32_t step;         /* enum step of worker/call */
	uint32_t method;       /* index into the method table + 1, 0 = unknown */
	uint32_t pad;
	uint64_t principal; /* hash; before authn hash of the address /24 or /64 */
	uint64_t body;      /* hash of the message; before decode hash of the head */
	uint64_t start_ms;  /* CLOCK_MONOTONIC */
	char call_id[40];
	char method_name[64]; /* so that an obituary needs no method table */
};

struct slot {
	_Atomic uint32_t state; /* enum slot_state */
	_Atomic int32_t pid;
	_Atomic uint32_t generation;
	_Atomic uint32_t keeper;
	_Atomic uint64_t heartbeat_ms; /* CLOCK_MONOTONIC, by the loop's tick */
	_Atomic uint64_t started_ms;
	_Atomic uint32_t connections, calls_in_flight;
	_Atomic uint32_t db_up, degraded; /* 1: PostgreSQL answers; 1: it does not */
	_Atomic uint64_t arena_bytes;
	struct crumb crumbs[CRUMBS_PER_SLOT];
	_Atomic uint32_t panic_set; /* panic text and signal are complete */
	int32_t signal;
	uint64_t address;
	uint64_t backtrace[16];
	char panic[SLOT_PANIC_BYTES];
};

#endif
