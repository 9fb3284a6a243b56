/*
 * Seals what waits in the inbox (worker/store/sealer.h), on a thread of its own with a
 * connection of its own, so that neither the key feed nor mail waits for it. A run lasts
 * about a second; while there is more to do the next one follows at once. When nothing is to
 * be sealed, segments from before there were numbers get theirs (worker/store/backfill.h), and
 * small ones are merged that a keeper which has ended, or was busy, has left.
 */
#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/db/blocking.h"
#include "worker/jobs/jobs.h"
#include "worker/offload.h"
#include "worker/store/backfill.h"
#include "worker/worker.h"

enum {
	RUN_MS = 1000,
	CONNECT_MS = 5000,
	REST_FACTOR = 20, /* asking what is due, and vacuuming, may take a twentieth of the time */
	UPKEEP_MS = 500,  /* of a run, each kind: what is due meanwhile waits so long */
	SHRINK_MS = 60000,
	TIDY_AGAIN_MS = 600000 /* after it failed */
};

/* So many dead rows in the inbox are worth a vacuum. */
#ifdef PUGD_TEST_HOOKS
enum { TIDY_ROWS = 16 };
#else
enum { TIDY_ROWS = 1024 };
#endif

/* After its end: segments that could not have numbers are tried again, and what a keeper of an
 * older version has sealed beside this one; and what was left unmerged. */
#ifdef PUGD_TEST_HOOKS
enum { UPKEEP_AGAIN_MS = 1000 };
#else
enum { UPKEEP_AGAIN_MS = 3600000 };
#endif

struct run {
	const struct options *opt;
	struct sealer sealer;
	bool more;
	int32_t last; /* project that was sealed */
	uint64_t asking_ms;
	enum sealer_end end;
	struct backfill backfill;
	uint64_t backfill_at_ms;
	int32_t swept; /* projects up to this one */
	uint64_t sweep_at_ms;
	uint64_t tidied; /* of sealer.n_rows */
	uint64_t tidy_at_ms, shrink_at_ms;
};

/* What a vacuum warns of (not the owner, another one is at it) comes again with the next. */
static void hush(void *arg, const char *text)
{
	(void)arg;
	(void)text;
}

/* A connection that is usable; the kept one may have died. */
static bool connected(struct run *r)
{
	const struct options *o = r->opt;
	PGconn *conn = db_kept_idle(
		o->ingest_url[0] ? o->ingest_url : o->database_url, CONNECT_MS, "sealing");

	if (!conn) {
		r->sealer.db.err = (struct db_error){.kind = DB_DOWN};
		return false;
	}
	PQsetNoticeProcessor(conn, hush, NULL);
	sealer_connection(&r->sealer, conn);
	return true;
}

/* What is left after a merge comes with the next turn, but what must stay as it is keeps nothing
 * that is behind it waiting. */
static enum sealer_end merge_days(struct run *r, int32_t project, uint64_t start)
{
	uint64_t before = r->sealer.n_merged;
	enum sealer_end end;

	do
		end = sealer_merge(&r->sealer, project, false);
	while (end == SEALER_BUSY && r->sealer.n_merged == before &&
		clock_mono_ms() - start <= RUN_MS);
	return end;
}

/* Goes on behind the project where the last run came to its end, or failed: one that never comes to
 * an end of its own would keep all others waiting. */
static void seal_due(struct run *r)
{
	struct sealer_due when = {r->opt->seal_events, r->opt->seal_commits, r->opt->seal_age};
	uint64_t start = clock_mono_ms();
	int32_t *due, projects[256];
	int n = sealer_due(&r->sealer, &when, &due);
	int most = (int)(sizeof(projects) / sizeof(projects[0])), first = 0;

	r->asking_ms = clock_mono_ms() - start;
	r->end = n < 0 ? SEALER_DB : SEALER_IDLE;
	if (n > most) {
		r->more = true;
		n = most;
	}
	/* the list lives in memory that the sealer gives away */
	for (int i = 0; i < n; i++) {
		projects[i] = due[i];
		if (due[i] == r->last)
			first = i + 1;
	}
	for (int i = 0; i < n && r->end != SEALER_DB; i++) {
		int32_t project = projects[(first + i) % n];

		if (clock_mono_ms() - start > RUN_MS) {
			r->more = true;
			return;
		}
		r->last = project;
		r->end = sealer_seal(&r->sealer, project);
		r->more |= r->end == SEALER_BUSY;
		if (r->end == SEALER_BUSY)
			r->end = merge_days(r, project, start);
		r->sealer.n_days = 0;
	}
}

static void backfill(struct run *r)
{
	uint64_t start = clock_mono_ms();

	if (start < r->backfill_at_ms)
		return;
	do
		r->end = backfill_step(&r->sealer, &r->backfill);
	while (r->end == SEALER_BUSY && clock_mono_ms() - start < UPKEEP_MS);
	if (r->end != SEALER_IDLE)
		return;
	if (r->backfill.n)
		log_info("old segments have got numbers segments=%llu",
			(unsigned long long)r->backfill.n);
	r->backfill = (struct backfill){0};
	r->backfill_at_ms = clock_mono_ms() + UPKEEP_AGAIN_MS;
}

static void sweep(struct run *r)
{
	uint64_t start = clock_mono_ms();

	if (start < r->sweep_at_ms)
		return;
	do
		r->end = sealer_sweep(&r->sealer, &r->swept);
	while (r->end == SEALER_BUSY && clock_mono_ms() - start < UPKEEP_MS);
	if (r->end == SEALER_IDLE)
		r->sweep_at_ms = clock_mono_ms() + UPKEEP_AGAIN_MS;
}

/* What was sealed leaves dead rows behind; nothing depends on their going. */
static void tidy(struct run *r)
{
	uint64_t start = clock_mono_ms(), end;

	if (r->sealer.n_rows - r->tidied < TIDY_ROWS || start < r->tidy_at_ms)
		return;
	if (!r->shrink_at_ms)
		r->shrink_at_ms = start + SHRINK_MS;
	r->tidied = r->sealer.n_rows;
	if (sealer_tidy(&r->sealer, start >= r->shrink_at_ms) < 0) {
		log_warn("the inbox could not be vacuumed");
		r->tidy_at_ms = clock_mono_ms() + TIDY_AGAIN_MS;
		db_kept_end();
		return;
	}
	end = clock_mono_ms();
	if (start >= r->shrink_at_ms)
		r->shrink_at_ms = end + SHRINK_MS;
	r->tidy_at_ms = end + (end - start) * REST_FACTOR;
}

/* On the thread. */
static void run(void *arg)
{
	struct run *r = arg;

	r->more = false;
	r->end = SEALER_DB;
	if (!connected(r))
		return;
	seal_due(r);
	if (r->end == SEALER_IDLE && !r->more)
		backfill(r);
	if (r->end == SEALER_IDLE && !r->more)
		sweep(r);
	if (r->end == SEALER_DB)
		db_kept_end();
	else
		tidy(r);
}

/* Nothing is logged when there was nothing to do. */
static void tell(const struct sealer *s, const struct sealer *before)
{
	if (s->n_segments > before->n_segments)
		log_debug("sealed events=%llu merged=%llu segments=%llu",
			(unsigned long long)(s->n_events - before->n_events),
			(unsigned long long)(s->n_merged - before->n_merged),
			(unsigned long long)(s->n_segments - before->n_segments));
}

int job_seal(struct job_run *j)
{
	/* One keeper per process, and one run of a job: what cannot be sealed is remembered,
	 * or it would be tried, and complained of, every second. */
	static struct run r;
	static uint64_t rest_until;
	struct worker *w = j->w;
	struct sealer before;

	if (clock_mono_ms() < rest_until)
		return 0;
	if (!r.opt)
		sealer_init(&r.sealer, (uint64_t)w->opt->seal_memory);
	r.opt = w->opt;
	r.end = SEALER_IDLE;
	before = r.sealer;
	do
		if (offload_run(w->offload, OFFLOAD_SCAN, 0, run, &r) != 0)
			break;
	while (r.more && r.end != SEALER_DB && !w->draining);
	sealer_empty(&r.sealer);
	rest_until = clock_mono_ms() + r.asking_ms * REST_FACTOR;
	tell(&r.sealer, &before);
	if (r.end != SEALER_DB)
		return 0;
	j->db.err = r.sealer.db.err;
	return -1;
}
