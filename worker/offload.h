/*
 * Threads for what must block, in pools, so that none waits for another:
 * OFFLOAD_FAST hashes passwords; OFFLOAD_SCAN computes insights, and its threads own a
 * database connection each (worker/db/blocking.h); both are niced. OFFLOAD_OUT talks to
 * other servers (worker/outbound.h), in the keeper those of mail, and looks up the names of
 * databases (worker/db/dbconn.c). OFFLOAD_TWIN does half of
 * a scan's work where nobody else has any; OFFLOAD_FREE gives large memory back, for which nobody
 * waits.
 */
#ifndef WORKER_OFFLOAD_H
#define WORKER_OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>

struct crumb;
struct loop;
struct offload;

enum offload_pool {
	OFFLOAD_FAST,
	OFFLOAD_SCAN,
	OFFLOAD_OUT,
	OFFLOAD_TWIN,
	OFFLOAD_FREE,
	OFFLOAD_POOLS
};

/* Threads start when first needed. NULL without memory. */
struct offload *offload_new(
	struct loop *l, const int threads[OFFLOAD_POOLS], const int queue_max[OFFLOAD_POOLS]);
/* Where threads leave breadcrumbs (slot->crumbs); without it they leave none. */
void offload_set_crumbs(struct offload *o, struct crumb *crumbs);
/* Runs fn(arg) on a thread and parks the calling coroutine until it is done. 0, or, when
 * fn did not run, -EBUSY (the queue is full) or -ETIME: no thread was free before
 * deadline_ms (CLOCK_MONOTONIC; 0 = none), and nobody waits for the result any more. */
int offload_run(struct offload *o, enum offload_pool pool, uint64_t deadline_ms,
	void (*fn)(void *arg), void *arg);
/* The same without waiting: fn(arg) runs later. False (the queue is full, or there is no
 * memory) when it will not. Of what was taken, nothing is left out, not even at the end. */
bool offload_give(struct offload *o, enum offload_pool pool, void (*fn)(void *arg), void *arg);
/* Which of slot->crumbs the running thread writes: 1..16 on an offload thread,
 * 0 on the loop's. The crumb of the call that asked is copied there around fn. */
int offload_crumb_index(void);
/* Threads that have started end with the job they are at, and others take their place: what a
 * process lays upon itself then (worker/sandbox.h) counts for each of these. False without
 * memory. */
bool offload_renew(struct offload *o);
/* Waits for the threads. */
void offload_free(struct offload *o);

#endif
