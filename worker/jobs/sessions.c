/*
 * Deletes what can no longer sign anybody in: refresh tokens past their end,
 * sessions without tokens, mailed links a week after their end; and mails of the outbox,
 * a month after theirs. Small batches, each its own transaction, so that no lock is held
 * for long.
 */
#include "q.h"
#include "shm/base/log.h"
#include "worker/jobs/jobs.h"

enum { BATCH = 500, BATCHES_MAX = 200 };

/* Runs one of them until little is left. The generated functions differ in the type
 * of their arguments only, hence the wrappers. */
static int drain(struct job_run *r, int (*step)(struct db *db))
{
	int total = 0;

	for (int i = 0, n = BATCH; i < BATCHES_MAX && n == BATCH; i++, total += n) {
		n = step(&r->db);
		if (n < 0)
			return -1;
	}
	return total;
}

static int tokens_step(struct db *db)
{
	return q_sessions_expire(db, &(struct q_sessions_expire_args){.batch = BATCH});
}

static int sessions_step(struct db *db)
{
	return q_sessions_empty(db, &(struct q_sessions_empty_args){.batch = BATCH});
}

static int links_step(struct db *db)
{
	return q_action_tokens_expire(db, &(struct q_action_tokens_expire_args){.batch = BATCH});
}

static int wipe_step(struct db *db)
{
	return q_mail_wipe(db, &(struct q_mail_wipe_args){.batch = BATCH});
}

static int mails_step(struct db *db)
{
	return q_mail_expire(db, &(struct q_mail_expire_args){.batch = BATCH});
}

int job_sessions(struct job_run *r)
{
	int tokens = drain(r, tokens_step);
	int sessions = tokens < 0 ? -1 : drain(r, sessions_step);
	int links = sessions < 0 ? -1 : drain(r, links_step);

	if (links < 0 || drain(r, wipe_step) < 0 || drain(r, mails_step) < 0)
		return -1;
	if (tokens + sessions + links > 0)
		log_info("expired credentials removed tokens=%d sessions=%d links=%d", tokens,
			sessions, links);
	return 0;
}
