/*
 * Erases what is older than the retention of its project (D20), a project at a time, on a
 * thread (expirer.h). Readers hide it from the first moment on, so nobody waits for this:
 * whatever shares a blob with younger events stays until it is sealed by days.
 */
#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/jobs/expirer.h"
#include "worker/jobs/jobs.h"
#include "worker/offload.h"
#include "worker/worker.h"

enum { RUN_MS = 3000 };

int job_retention(struct job_run *r)
{
	struct expirer e = {.opt = r->w->opt, .until_ms = clock_mono_ms() + RUN_MS};

	while (!r->w->draining && clock_mono_ms() < e.until_ms) {
		struct q_retention_next_row row;
		int n = q_retention_next(
			&r->db, &(struct q_retention_next_args){r->w->expired}, &row);

		r->w->expired = n > 0 ? row.project : 0; /* the next run goes on, or begins anew */
		if (n <= 0)
			return n;
		e.project = row.project;
		e.rows = e.claims = 0;
		if (offload_run(r->w->offload, OFFLOAD_SCAN, 0, expirer_run, &e) != 0)
			return 0; /* no thread is free: a later run finds it again */
		if (e.rows > 0 &&
			q_catalog_doubt(&r->db, &(struct q_catalog_doubt_args){e.project, 0}) < 0)
			return -1;
		if (e.rows)
			log_info("erased what is too old project=%d rows=%lld ids=%lld", e.project,
				(long long)e.rows, (long long)e.claims);
		if (e.failed) {
			r->db.err = e.err;
			return -1;
		}
	}
	return 0;
}
