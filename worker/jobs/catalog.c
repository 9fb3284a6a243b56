/*
 * Keeps names in line with events, on a thread (cataloger.h): sealed segments without names
 * get them, which are those from before there were any; then the catalogues that are due are
 * compared with what the projects' events are called. Looks every second, which takes two
 * small indexes as long as there is nothing to do.
 */
#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/db/blocking.h"
#include "worker/jobs/cataloger.h"
#include "worker/jobs/jobs.h"
#include "worker/offload.h"
#include "worker/worker.h"

enum {
	RUN_MS = 1000, /* then other jobs get the thread */
	CONNECT_MS = 5000,
	AGAIN_MS = 600000, /* what cannot be read is tried again after that */
	SPARE_MS = 60000   /* longer than any call lasts from its names to its events */
};

struct run {
	const struct options *opt;
	struct cataloger c;
	const struct q_segments_nameless_row *nameless;
	int n, done; /* of them; none: the project's catalogue is to be filled */
	bool failed; /* one of them cannot be read */
};

/* Where the last run came to, so that it passes what cannot be read; that is tried again
 * after AGAIN_MS. One keeper per process. */
static struct {
	struct q_segments_nameless_args after;
	uint64_t since_ms;
	bool failed;
} cursor;

static bool connected(struct run *r)
{
	const struct options *o = r->opt;

	r->c.conn = db_kept_idle(
		o->ingest_url[0] ? o->ingest_url : o->database_url, CONNECT_MS, "cataloguing");
	if (r->c.conn)
		return true;
	r->c.end = CATALOGER_DB;
	r->c.err = (struct db_error){.kind = DB_DOWN};
	return false;
}

/* On the thread. */
static void run(void *arg)
{
	struct run *r = arg;
	uint64_t end_ms = clock_mono_ms() + RUN_MS;

	if (!connected(r))
		return;
	if (r->n == 0)
		cataloger_fill(&r->c);
	for (r->done = 0; r->done < r->n && clock_mono_ms() < end_ms; r->done++) {
		const struct q_segments_nameless_row *s = &r->nameless[r->done];

		r->c.project = s->project;
		cataloger_name(&r->c, s->day, s->id);
		if (r->c.end == CATALOGER_DB)
			break;
		r->failed |= r->c.end != CATALOGER_DONE;
		if (r->c.end != CATALOGER_DONE)
			log_warn("names of a segment cannot be read project=%d segment=%lld",
				s->project, (long long)s->id);
	}
	if (r->c.end == CATALOGER_DB)
		db_kept_end();
}

/* 1: there is more, 0: not, -1: with the job's error. */
static int name_segments(struct job_run *j, struct run *r)
{
	struct q_segments_nameless_row *rows;
	int n;

	if (!cursor.failed || clock_mono_ms() - cursor.since_ms >= AGAIN_MS) {
		cursor.after = (struct q_segments_nameless_args){0};
		cursor.since_ms = clock_mono_ms();
		cursor.failed = false;
	}
	n = q_segments_nameless(&j->db, &cursor.after, &rows);
	if (n <= 0)
		return n;
	r->nameless = rows;
	r->n = n;
	if (offload_run(j->w->offload, OFFLOAD_SCAN, 0, run, r) != 0)
		return 0;
	cursor.failed |= r->failed;
	if (r->done > 0) {
		const struct q_segments_nameless_row *last = &rows[r->done - 1];

		cursor.after =
			(struct q_segments_nameless_args){last->project, last->day, last->id};
	}
	return 1;
}

static int fill_due(struct job_run *j, struct run *r)
{
	struct q_catalog_due_row row;
	int n = q_catalog_due(&j->db, &row);

	if (n <= 0)
		return n;
	r->n = 0;
	r->c.project = row.project;
	if (offload_run(j->w->offload, OFFLOAD_SCAN, 0, run, r) != 0)
		return 0;
	if (r->c.end == CATALOGER_DONE || r->c.end == CATALOGER_DB)
		return 1;
	log_warn("catalogue cannot be made project=%d", row.project);
	return q_catalog_later(&j->db,
		       &(struct q_catalog_later_args){row.project, (int64_t)AGAIN_MS * 1000}) < 0
		       ? -1
		       : 1;
}

int job_catalog(struct job_run *j)
{
	struct run r = {.opt = j->w->opt, .c = {.spare_us = (int64_t)SPARE_MS * 1000}};
	uint64_t end_ms = clock_mono_ms() + RUN_MS;
	int more = 1;

	while (more > 0 && !j->w->draining && clock_mono_ms() < end_ms) {
		more = name_segments(j, &r);
		if (more == 0)
			more = fill_due(j, &r);
		if (more > 0 && r.c.end == CATALOGER_DB) {
			j->db.err = r.c.err;
			return -1;
		}
	}
	return more < 0 ? -1 : 0;
}
