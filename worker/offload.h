/*
 * Threads for what must block: password hashing, outbound HTTPS, insight scans.
 * Two pools: OFFLOAD_FAST, and OFFLOAD_SCAN, which is niced and whose threads
 * own a database connection each (worker/db/blocking.h).
 */
#ifndef WORKER_OFFLOAD_H
#define WORKER_OFFLOAD_H

struct loop;
struct offload;

enum offload_pool { OFFLOAD_FAST, OFFLOAD_SCAN, OFFLOAD_POOLS };

/* Threads start when first needed. NULL without memory. */
struct offload *offload_new(struct loop *l, int fast_threads, int scan_threads, int queue_max);
/* Runs fn(arg) on a thread and parks the calling coroutine until it is done.
 * 0, or -EBUSY when the queue is full (fn did not run). */
int offload_run(struct offload *o, enum offload_pool pool, void (*fn)(void *arg), void *arg);
/* Waits for the threads. */
void offload_free(struct offload *o);

#endif
