/*
 * Erases what is older than the retention of its project (D20). Readers hide it from the
 * first moment on, so nobody waits for this: small batches, and whatever shares a blob with
 * younger events stays on disk until the last of them is too old.
 */
#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/jobs/jobs.h"
#include "worker/worker.h"

enum { BLOBS = 50, CLAIMS = 1000, RUN_MS = 1000 };

static bool goes_on(const struct job_run *r, uint64_t end_ms)
{
	return clock_mono_ms() < end_ms && !r->w->draining;
}

/* Rows deleted, or -1. */
static long long erase(struct job_run *r, int32_t project, uint64_t end_ms)
{
	struct q_retention_inbox_args blobs = {.project = project, .batch = BLOBS};
	struct q_retention_seen_args claims = {.project = project, .batch = CLAIMS};
	struct q_retention_segments_args sealed = {.project = project, .batch = BLOBS};
	struct q_retention_inbox_row row = {.rows = BLOBS};
	struct q_retention_segments_row segments = {.rows = BLOBS};
	struct q_retention_seen_row seen = {.rows = CLAIMS};
	long long rows = 0;

	while (row.rows == BLOBS && goes_on(r, end_ms)) {
		if (q_retention_inbox(&r->db, &blobs, &row) < 0)
			return -1;
		rows += row.rows;
	}
	while (segments.rows == BLOBS && goes_on(r, end_ms)) {
		if (q_retention_segments(&r->db, &sealed, &segments) < 0)
			return -1;
		rows += segments.rows;
	}
	while (seen.rows == CLAIMS && goes_on(r, end_ms)) {
		if (q_retention_seen(&r->db, &claims, &seen) < 0)
			return -1;
		rows += seen.rows;
	}
	return rows;
}

int job_retention(struct job_run *r)
{
	uint64_t end_ms = clock_mono_ms() + RUN_MS;
	struct q_retention_next_row row = {.project = 0};

	while (goes_on(r, end_ms)) {
		long long rows;
		int n = q_retention_next(
			&r->db, &(struct q_retention_next_args){row.project}, &row);

		if (n <= 0)
			return n;
		rows = erase(r, row.project, end_ms);
		if (rows < 0)
			return -1;
		if (rows > 0 &&
			q_catalog_doubt(&r->db, &(struct q_catalog_doubt_args){row.project, 0}) < 0)
			return -1;
		if (rows)
			log_info("erased what is too old project=%d rows=%lld", row.project, rows);
	}
	return 0;
}
