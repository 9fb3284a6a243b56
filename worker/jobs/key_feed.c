/*
 * Tells the key cache which epoch the database is at. Revocations move it in their
 * own transaction, so within one poll every host stops believing what it cached.
 */
#include "q.h"
#include "shm/base/clock.h"
#include "shm/keycache.h"
#include "worker/jobs/jobs.h"
#include "worker/worker.h"

/* The answer is as old as the question: counted from its arrival, caches would be
 * fresh for longer than a second after the epoch has moved. */
int job_key_feed(struct job_run *r)
{
	struct q_key_epoch_row row;
	uint64_t asked_us = clock_boot_us();

	if (q_key_epoch(&r->db, &row) != 1)
		return -1;
	keycache_feed_since(r->w->seg, (uint64_t)row.epoch, asked_us);
	return 0;
}
