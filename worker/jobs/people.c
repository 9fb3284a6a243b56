/*
 * Keeps the packed copies of who is who (worker/store/packer.h) near to the tables, on a
 * thread: a copy is made anew when enough has changed since, or when it may have digests of
 * somebody who was erased. As long as nothing changes anywhere a run asks for one number and
 * looks at a small index; else at the projects that have changed, and once a minute at all,
 * for what was committed late or could not be done.
 */
#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/db/blocking.h"
#include "worker/jobs/jobs.h"
#include "worker/offload.h"
#include "worker/store/packer.h"
#include "worker/worker.h"

enum {
	CONNECT_MS = 5000,
	ALL_MS = 60000,
	AGAIN_MS = 10000, /* what could not be done */
	REST_FACTOR = 20, /* asking what is due may take a twentieth of the time */
	/* LIMIT of people_due: where so many are due there may be more */
	DUE_MAX = 256
};

struct run {
	const struct options *opt;
	struct packer packer;
	int32_t project;
	enum packer_end end;
};

/* One keeper per process, and one run of a job. */
static struct {
	int64_t last;                      /* changes up to there were looked at */
	uint64_t all_at_ms, rest_until_ms; /* when all are, and nothing before */
	uint64_t erased_at_ms;             /* the same for erasures, after trouble */
} cursor;

/* On the thread. */
static void run(void *arg)
{
	struct run *r = arg;
	const struct options *o = r->opt;

	r->end = PACKER_DB;
	r->packer.err = (struct db_error){.kind = DB_DOWN};
	r->packer.conn = db_kept_idle(o->ingest_url[0] ? o->ingest_url : o->database_url,
		CONNECT_MS, "packing who is who");
	if (!r->packer.conn)
		return;
	r->end = packer_pack(&r->packer, r->project);
	if (r->end == PACKER_DB)
		db_kept_end();
}

/* What has fallen behind; nothing when nothing has changed. */
static int ask(struct job_run *j, struct q_people_due_row **due)
{
	struct q_people_last_row now;
	uint64_t start = clock_mono_ms();
	bool all = start >= cursor.all_at_ms;
	int n;

	if (start < cursor.rest_until_ms)
		return 0;
	if (q_people_last(&j->db, &now) < 0)
		return -1;
	if (!all && now.last == cursor.last)
		return 0;
	n = q_people_due(&j->db, &(struct q_people_due_args){all ? -1 : cursor.last}, due);
	if (n < 0)
		return -1;
	cursor.last = now.last;
	cursor.rest_until_ms = clock_mono_ms() + (clock_mono_ms() - start) * REST_FACTOR;
	if (all)
		cursor.all_at_ms = clock_mono_ms() + ALL_MS;
	if (n == DUE_MAX)
		cursor.all_at_ms = 0;
	return n;
}

/* False when others need not be tried. */
static bool pack(struct job_run *j, int32_t project, int *failed)
{
	struct run r = {.opt = j->w->opt, .project = project};

	if (j->w->draining || offload_run(j->w->offload, OFFLOAD_SCAN, 0, run, &r) != 0)
		return false;
	if (r.end == PACKER_DONE)
		log_debug("who is who packed project=%d profiles=%llu aliases=%llu", project,
			(unsigned long long)r.packer.profiles,
			(unsigned long long)r.packer.aliases);
	if (r.end != PACKER_DONE)
		cursor.erased_at_ms = clock_mono_ms() + AGAIN_MS;
	if (r.end == PACKER_DB) {
		j->db.err = r.packer.err;
		*failed = -1;
	}
	return r.packer.conn != NULL;
}

int job_people(struct job_run *j)
{
	struct q_people_erased_row *erased;
	struct q_people_due_row *due;
	int failed = 0, n = ask(j, &due), n_erased = 0;

	if (n >= 0 && clock_mono_ms() >= cursor.erased_at_ms)
		n_erased = q_people_erased(&j->db, &erased);
	if (n < 0 || n_erased < 0)
		return -1;
	for (int i = 0; i < n; i++)
		if (!pack(j, due[i].project, &failed))
			return failed;
	for (int i = 0; i < n_erased; i++)
		if (!pack(j, erased[i].project, &failed))
			return failed;
	return failed;
}
