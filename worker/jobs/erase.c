/*
 * Looks twice a second whether a deleted person is to be erased, and lets a thread do it
 * (eraser.h), a project at a time and for about a second: then the database gets a rest, as
 * long as the job's period, and the next project its turn.
 */
#include "q.h"
#include "shm/base/clock.h"
#include "worker/jobs/eraser.h"
#include "worker/jobs/jobs.h"
#include "worker/offload.h"
#include "worker/worker.h"

enum { RUN_MS = 1000 };

/* The project after the last one, round and round. */
static int next_project(struct job_run *r, struct q_erase_due_row *row)
{
	struct q_erase_due_args args = {r->w->erased};
	int n = q_erase_due(&r->db, &args, row);

	if (n != 0 || args.after == 0)
		return n;
	args.after = 0;
	return q_erase_due(&r->db, &args, row);
}

int job_erase(struct job_run *r)
{
	struct eraser e = {.opt = r->w->opt,
		.seg = r->w->seg,
		.slot_no = r->w->slot_no,
		.until_ms = clock_mono_ms() + RUN_MS};
	struct q_erase_due_row row;

	while (!r->w->draining && clock_mono_ms() < e.until_ms) {
		int n = next_project(r, &row);

		if (n <= 0)
			return n;
		r->w->erased = e.project = row.project;
		if (offload_run(r->w->offload, OFFLOAD_SCAN, 0, eraser_run, &e) != 0)
			return 0; /* no thread is free: the next run finds it again */
		if (e.end == ERASER_TROUBLE) {
			r->db.err = e.err;
			return -1;
		}
	}
	return 0;
}
