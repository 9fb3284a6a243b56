/*
 * The table of jobs and what runs them: a timer each, a coroutine per run. A failure
 * is logged when it begins and when it is over, not each time in between.
 */
#include "worker/jobs/jobs.h"

#include <stdlib.h>

#include "shm/base/list.h"
#include "shm/base/log.h"
#include "worker/coro.h"
#include "worker/loop.h"
#include "worker/worker.h"

enum { JOB_ARENA = 8 << 20, JOB_BACKOFF_MIN_MS = 100 };

static const struct {
	const char *name;
	uint64_t period_ms, most_ms; /* the longest wait after failures */
	uint64_t deadline_ms;        /* of its statements */
	int (*fn)(struct job_run *r);
} table[] = {
	/* A feed older than a second switches the key cache off (D85), hence the haste. */
	{"key_feed", 250, 500, 2000, job_key_feed},
	/* A link's mail should be there before its reader has changed windows. */
	{"mail", 250, 2000, 2000, job_mail},
	{"partitions", 600000, 10000, 60000, job_partitions},
	{"secrets", 3600000, 60000, 60000, job_secrets},
	{"sessions", 3600000, 60000, 60000, job_sessions},
	{"purge", 1000, 60000, 60000, job_purge},
	{"retention", 10000, 60000, 60000, job_retention},
	{"erase", 500, 60000, 60000, job_erase},
	/* It decides itself when it has rested enough; its statements are a thread's. */
	{"seal", 1000, 60000, 60000, job_seal},
	{"tail", 5000, 60000, 60000, job_tail},
	{"catalog", 1000, 60000, 60000, job_catalog},
	{"people", 1000, 60000, 60000, job_people},
};
enum { JOBS = sizeof(table) / sizeof(table[0]) };

struct job_state {
	struct loop_timer timer;
	struct worker *w;
	int no, fails;
};

static uint64_t next_delay(const struct job_state *s)
{
	uint64_t delay = JOB_BACKOFF_MIN_MS;

	if (s->fails == 0)
		return table[s->no].period_ms;
	for (int i = 1; i < s->fails && delay < table[s->no].most_ms; i++)
		delay *= 2;
	return delay < table[s->no].most_ms ? delay : table[s->no].most_ms;
}

static void note(struct job_state *s, bool ok, enum db_kind kind)
{
	if (!ok && s->fails++ == 0)
		log_warn("job failed job=%s db_kind=%d", table[s->no].name, (int)kind);
	if (ok && s->fails > 0) {
		log_info("job works again job=%s failures=%d", table[s->no].name, s->fails);
		s->fails = 0;
	}
}

static void run_coro(void *arg)
{
	struct job_state *s = arg;
	struct job_run r = {.w = s->w};
	uint64_t now = loop_now_ms(s->w->loop);
	int failed;

	arena_init(&r.arena, JOB_ARENA);
	db_pooled(&r.db, s->w->db, &r.arena, now + table[s->no].deadline_ms);
	failed = table[s->no].fn(&r);
	note(s, failed == 0, r.db.err.kind);
	arena_free(&r.arena);
	loop_timer_set(s->w->loop, &s->timer, next_delay(s));
}

static void run(struct loop_timer *t)
{
	struct job_state *s = list_item(t, struct job_state, timer);

	/* not armed again: what runs now runs for the last time */
	if (s->w->draining)
		return;
	if (!coro_start(run_coro, s))
		loop_timer_set(s->w->loop, t, table[s->no].most_ms);
}

bool jobs_start(struct worker *w)
{
	struct job_state *all = w->jobs = calloc(JOBS, sizeof(*all));

	if (!all)
		return false;
	for (int i = 0; i < (int)JOBS; i++) {
		all[i] = (struct job_state){.timer.fire = run, .w = w, .no = i};
		loop_timer_set(w->loop, &all[i].timer, 0);
	}
	return true;
}

void jobs_free(struct worker *w)
{
	for (int i = 0; w->jobs && i < (int)JOBS; i++)
		loop_timer_stop(w->loop, &w->jobs[i].timer);
	free(w->jobs);
	w->jobs = NULL;
}
