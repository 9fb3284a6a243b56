/*
 * Erases what deleted projects owned, in small batches, each its own transaction: it may
 * stop anywhere and goes on where it was, here or on another host. The project's row stays,
 * for its number must never become another project's, and so do its usage_days.
 */
#include <string.h>

#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/jobs/jobs.h"
#include "worker/worker.h"

enum {
	BATCH_BLOBS = 50, /* of up to a few MB each */
	BATCH_ROWS = 1000,
	RUN_MS = 1000, /* then the database gets a rest, as long as the job's period */
	GRACE_MS = 60000
};

struct purge {
	struct job_run *r;
	int32_t project;
	uint64_t end_ms;
	int64_t events, others; /* rows */
};

/* More to do in this run? */
static bool goes_on(const struct purge *p)
{
	return clock_mono_ms() < p->end_ms && !p->r->w->draining;
}

static int inbox(struct purge *p)
{
	struct q_purge_inbox_args args = {.project = p->project, .batch = BATCH_BLOBS};
	struct q_purge_inbox_row row = {.rows = BATCH_BLOBS};

	while (row.rows == BATCH_BLOBS && goes_on(p)) {
		if (q_purge_inbox(&p->r->db, &args, &row) < 0)
			return -1;
		p->others += row.rows;
	}
	return 0;
}

static int segments(struct purge *p)
{
	struct q_purge_segments_args args = {.project = p->project, .batch = BATCH_BLOBS};
	struct q_purge_segments_row row = {.rows = BATCH_BLOBS};

	while (row.rows == BATCH_BLOBS && goes_on(p)) {
		if (q_purge_segments(&p->r->db, &args, &row) < 0)
			return -1;
		p->others += row.rows;
	}
	return 0;
}

static int seen_day(struct purge *p, int32_t day)
{
	uint8_t from[16] = {0};
	struct q_purge_seen_args args = {
		.project = p->project, .day = day, .from_id = from, .batch = BATCH_ROWS};
	struct q_purge_seen_row row = {.rows = 0};

	while (!row.last_null && goes_on(p)) {
		if (q_purge_seen(&p->r->db, &args, &row) < 0)
			return -1;
		p->events += row.rows;
		memcpy(from, row.last, sizeof(from));
	}
	return 0;
}

static int seen(struct purge *p)
{
	struct q_purge_seen_day_args args = {.project = p->project, .from_day = 0 /* 1970 */};
	struct q_purge_seen_day_row row;

	while (goes_on(p)) {
		int n = q_purge_seen_day(&p->r->db, &args, &row);

		if (n <= 0)
			return n;
		if (seen_day(p, row.day) < 0)
			return -1;
		args.from_day = row.day + 1;
	}
	return 0;
}

/* The generated functions differ in the type of their arguments only. */
static int aliases(struct purge *p)
{
	return q_purge_aliases(&p->r->db,
		&(struct q_purge_aliases_args){.project = p->project, .batch = BATCH_ROWS});
}

static int profiles(struct purge *p)
{
	return q_purge_profiles(&p->r->db,
		&(struct q_purge_profiles_args){.project = p->project, .batch = BATCH_ROWS});
}

static int imports(struct purge *p)
{
	return q_purge_imports(&p->r->db, &(struct q_purge_imports_args){.project = p->project});
}

static int dashboards(struct purge *p)
{
	return q_purge_dashboards(&p->r->db,
		&(struct q_purge_dashboards_args){.project = p->project, .batch = BATCH_ROWS});
}

static int tombstones(struct purge *p)
{
	return q_purge_tombstones(&p->r->db,
		&(struct q_purge_tombstones_args){.project = p->project, .batch = BATCH_ROWS});
}

static int erasures(struct purge *p)
{
	return q_purge_erasures(&p->r->db,
		&(struct q_purge_erasures_args){.project = p->project, .batch = BATCH_ROWS});
}

static int catalog(struct purge *p)
{
	return q_purge_catalog(&p->r->db,
		&(struct q_purge_catalog_args){.project = p->project, .batch = BATCH_ROWS});
}

static int catalog_state(struct purge *p)
{
	return q_purge_catalog_state(
		&p->r->db, &(struct q_purge_catalog_state_args){.project = p->project});
}

static int numbers(struct purge *p)
{
	return q_purge_numbers(&p->r->db,
		&(struct q_purge_numbers_args){.project = p->project, .batch = BATCH_ROWS});
}

static int people_state(struct purge *p)
{
	return q_purge_people_state(
		&p->r->db, &(struct q_purge_people_state_args){.project = p->project});
}

static int people_pack(struct purge *p)
{
	return q_purge_people_pack(&p->r->db,
		&(struct q_purge_people_pack_args){.project = p->project, .batch = BATCH_ROWS});
}

static int people_gone(struct purge *p)
{
	return q_purge_people_gone(&p->r->db,
		&(struct q_purge_people_gone_args){.project = p->project, .batch = BATCH_ROWS});
}

static int keys(struct purge *p)
{
	return q_purge_keys(&p->r->db, &(struct q_purge_keys_args){.project = p->project});
}

/* Fewer than asked for: there are no more, or another keeper has locked them; purge_done looks. */
static int drain(struct purge *p, int (*step)(struct purge *p))
{
	for (int n = BATCH_ROWS; n == BATCH_ROWS && goes_on(p); p->others += n) {
		n = step(p);
		if (n < 0)
			return -1;
	}
	return 0;
}

/* Negative on failure; an unfinished one is met again. people_state goes before profiles: then
 * nobody makes a copy any more, and profiles that go leave nothing in people_gone. */
static int project(struct purge *p)
{
	if (inbox(p) < 0 || segments(p) < 0 || seen(p) < 0 || people_state(p) < 0 ||
		drain(p, people_pack) < 0 || drain(p, people_gone) < 0 || drain(p, aliases) < 0 ||
		drain(p, profiles) < 0 || drain(p, dashboards) < 0 || drain(p, tombstones) < 0 ||
		drain(p, erasures) < 0 || drain(p, catalog) < 0 || drain(p, numbers) < 0 ||
		catalog_state(p) < 0 || imports(p) < 0 || keys(p) < 0)
		return -1;
	if (!goes_on(p))
		return 0;
	int done = q_purge_done(&p->r->db, &(struct q_purge_done_args){.project = p->project});
	if (done > 0)
		log_info("deleted project purged project=%d events=%lld others=%lld", p->project,
			(long long)p->events, (long long)p->others);
	return done;
}

int job_purge(struct job_run *r)
{
	/* Deletion and claim may each last for db_timeout, here or on a host that waits longer. */
	int64_t grace_us = (GRACE_MS + 2 * (int64_t)r->w->opt->db_timeout) * 1000;
	struct purge p = {.r = r, .end_ms = clock_mono_ms() + RUN_MS};
	struct q_purge_next_row row = {.project = 0};

	/* One that stays unfinished, as another keeper has rows of it, does not hold up others. */
	while (goes_on(&p)) {
		int n = q_purge_next(&r->db,
			&(struct q_purge_next_args){.grace_us = grace_us, .after = row.project},
			&row);

		if (n <= 0)
			return n;
		p.project = row.project;
		p.events = p.others = 0;
		if (project(&p) < 0)
			return -1;
	}
	return 0;
}
