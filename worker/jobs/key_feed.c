/*
 * Tells the key cache which epoch the database is at. Revocations move it in their
 * own transaction, so within one poll every host stops believing what it cached.
 */
#include "q.h"
#include "shm/base/clock.h"
#include "shm/keycache.h"
#include "worker/jobs/jobs.h"
#include "worker/worker.h"

/* An answer that took longer says what was, not what is: caches would count as fresh
 * for a second from now on although the epoch may have moved meanwhile. */
enum { FEED_LATE_MS = 400 };

int job_key_feed(struct job_run *r)
{
	struct q_key_epoch_row row;
	uint64_t start = clock_mono_ms();

	if (q_key_epoch(&r->db, &row) != 1)
		return -1;
	if (clock_mono_ms() - start > FEED_LATE_MS)
		return 0;
	keycache_feed(r->w->seg, (uint64_t)row.epoch);
	return 0;
}
