/* See outbox.h. */
#include "worker/mail/outbox.h"

#include <stdio.h>

#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/segment.h"
#include "worker/db/blocking.h"
#include "worker/mail/point.h"
#include "worker/mail/provider.h"
#include "worker/mail/render.h"

enum {
	STEP_MEMORY = 4 << 20,
	DB_MS = 5000,        /* one statement */
	PATIENCE_MS = 30000, /* what a transaction may take beyond the sending */
	LATE_AFTER = 33      /* attempts: the delays before them add up to a day */
};

enum mail_state { STATE_SENT = 2, STATE_DEAD = 3, STATE_DROPPED = 4 };

/* 1, 5, 15, 30, 60 s, then doubling up to an hour. */
int64_t outbox_delay_ms(int attempts)
{
	static const int first[] = {1, 5, 15, 30, 60};
	int n = sizeof(first) / sizeof(first[0]);
	int64_t s = attempts <= n ? first[attempts > 0 ? attempts - 1 : 0] : 60;

	if (attempts >= LATE_AFTER)
		return 0;
	for (int i = n; i < attempts && s < 3600; i++)
		s *= 2;
	return (s < 3600 ? s : 3600) * 1000;
}

static void patient(struct db *db)
{
	db->deadline_ms = clock_mono_ms() + DB_MS;
}

/* ---- connection and transaction ---- */

static bool open_connection(struct outbox_sender *s, struct db *db, struct arena *a)
{
	char why[256];

	if (!db_kept())
		db_keep(db_connect_within(s->outbox->opt->database_url, DB_MS, why, sizeof(why)));
	if (!db_kept()) {
		log_debug("mail cannot connect why=\"%s\"", why);
		return false;
	}
	db_blocking(db, db_kept(), a);
	patient(db);
	return true;
}

/* The kept connection may have died meanwhile: once more with a new one. */
static bool begin(struct outbox_sender *s, struct db *db, struct arena *a)
{
	char ms[24];

	snprintf(ms, sizeof(ms), "%lld", (long long)s->outbox->opt->mail_timeout + PATIENCE_MS);
	for (int attempt = 0; attempt < 2; attempt++) {
		if (!open_connection(s, db, a))
			return false;
		if (db_blocking_begin(db, "", DB_MS, DB_MS) == 0 &&
			q_mail_patience(db, &(struct q_mail_patience_args){str_of(ms)}) >= 0)
			return true;
		db_kept_end();
	}
	return false;
}

/* ---- claiming ---- */

/* With the lock held. */
static int claim(struct outbox_sender *s, struct db *db, struct q_mail_claim_row *row)
{
	struct str busy[OUTBOX_SENDERS], accepted[OUTBOX_SENDERS];
	struct q_mail_claim_args args = {.busy_orgs = {busy, 0}, .accepted = {accepted, 0}};
	struct q_mail_claim_link_row link;
	int n;

	for (int i = 0; i < s->outbox->n; i++) {
		const struct outbox_sender *other = &s->outbox->senders[i];

		if (other->org[0])
			busy[args.busy_orgs.n++] = str_of(other->org);
		/* its row is unlocked again where the commit has failed */
		if (other->accepted[0])
			accepted[args.accepted.n++] = str_of(other->accepted);
	}
	patient(db);
	if (s->links_only) {
		n = q_mail_claim_link(db, &(struct q_mail_claim_link_args){args.accepted}, &link);
		if (n == 1)
			*row = (struct q_mail_claim_row){link.id, link.kind, link.org_id,
				link.token_hash, link.recipient, link.secret, link.attempts};
		return n;
	}
	n = q_mail_claim(db, &args, row);
	if (n == 1 && row->org_id.p)
		snprintf(s->org, sizeof(s->org), "%.*s", STR_ARG(row->org_id));
	return n;
}

/* The lock spans question and answer: else two senders, of which neither knows yet for whom the
 * other one will send, could claim mails of one org. */
static int claim_alone(struct outbox_sender *s, struct db *db, struct q_mail_claim_row *row)
{
	int n;

	pthread_mutex_lock(&s->outbox->lock);
	n = claim(s, db, row);
	pthread_mutex_unlock(&s->outbox->lock);
	return n;
}

static void set_locked(struct outbox_sender *s, char *which, const char *value)
{
	pthread_mutex_lock(&s->outbox->lock);
	snprintf(which, OUTBOX_ID, "%s", value);
	pthread_mutex_unlock(&s->outbox->lock);
}

/* ---- sending ---- */

static enum provider_end find_provider(const struct options *opt,
	const struct q_mail_claim_row *row, const struct q_mail_facts_row *facts, struct arena *a,
	struct provider *out)
{
	if (facts->provider_kind_null)
		return provider_operator(opt, a, out);
	return provider_org(opt,
		&(struct provider_row){row->org_id, facts->provider_kind, facts->from_address,
			facts->reply_to, facts->provider_secret},
		a, out);
}

/* The mail's words and its carrier; false after mail_failed(). */
static bool prepare(const struct options *opt, const struct q_mail_claim_row *row,
	const struct q_mail_facts_row *facts, struct arena *a, struct provider *p, struct mail *m,
	struct mail_result *result)
{
	enum provider_end end = find_provider(opt, row, facts, a, p);
	struct mail_facts said = {.lifetime_s = facts->lifetime_us / 1000000,
		.org = facts->org_name,
		.inviter = facts->inviter};

	said.token = seal_open(opt, KEY_MAIL, row->id, row->secret, a, NULL);
	if (a->over)
		mail_failed(result, false, provider_end_text(PROVIDER_MEMORY));
	else if (!said.token.p)
		mail_failed(result, true, "no key of this server opens its link");
	else if (end != PROVIDER_OK)
		/* the operator may be about to set mail up; a tenant's mistake stays one */
		mail_failed(result, p->target == OUTBOUND_TENANT, provider_end_text(end));
	else if (!render_mail(opt, (enum mail_kind)row->kind, &said, a, m))
		mail_failed(result, false, provider_end_text(PROVIDER_MEMORY));
	else
		return true;
	return false;
}

static void deliver(struct outbox_sender *s, const struct q_mail_claim_row *row,
	const struct q_mail_facts_row *facts, struct arena *a, struct mail_result *result)
{
	const struct options *opt = s->outbox->opt;
	struct mail m = {.id = row->id, .to.address = row->recipient};
	struct provider p;

	*result = (struct mail_result){0};
	if (!prepare(opt, row, facts, a, &p, &m, result))
		return;
	mail_point(opt, "rendered");
	mail_send(opt, &p, &m, (uint64_t)opt->mail_timeout, a, result);
	if (result->accepted)
		mail_point(opt, "accepted");
}

/* ---- recording ---- */

static void count(const struct outbox *o, enum counter c)
{
	if (o->seg)
		counter_add(o->seg, o->slot_no, c, 1);
}

static int end_mail(struct db *db, struct str id, enum mail_state state, const char *why)
{
	patient(db);
	return q_mail_ended(db, &(struct q_mail_ended_args){id, (int32_t)state, str_of(why)});
}

static int record_failure(struct outbox_sender *s, struct db *db,
	const struct q_mail_claim_row *row, const struct mail_result *result)
{
	int attempts = row->attempts + 1;
	int64_t delay = result->permanent ? 0 : outbox_delay_ms(attempts);

	count(s->outbox, CTR_mails_failed);
	if (delay == 0) {
		count(s->outbox, CTR_mails_dead);
		log_warn("mail is dead id=%.*s attempts=%d why=\"%s\"", STR_ARG(row->id), attempts,
			result->error);
		return end_mail(db, row->id, STATE_DEAD, result->error);
	}
	log_info("mail failed id=%.*s attempts=%d again_s=%lld why=\"%s\"", STR_ARG(row->id),
		attempts, (long long)delay / 1000, result->error);
	patient(db);
	return q_mail_later(db, &(struct q_mail_later_args){row->id, delay, str_of(result->error)});
}

/* What was accepted must not be sent again: from here on it is remembered until it is
 * recorded. */
static bool record_sent(struct outbox_sender *s, struct db *db, const struct q_mail_claim_row *row)
{
	char id[OUTBOX_ID];

	snprintf(id, sizeof(id), "%.*s", STR_ARG(row->id));
	set_locked(s, s->accepted, id);
	count(s->outbox, CTR_mails_sent);
	if (end_mail(db, row->id, STATE_SENT, "") < 0)
		return false;
	mail_point(s->outbox->opt, "recorded");
	patient(db);
	if (db_commit(db) < 0)
		return false;
	mail_point(s->outbox->opt, "committed");
	set_locked(s, s->accepted, "");
	log_info("mail sent id=%s kind=%d attempts=%d", id, row->kind, row->attempts + 1);
	return true;
}

static bool process(struct outbox_sender *s, struct db *db, const struct q_mail_claim_row *row)
{
	struct q_mail_facts_row facts;
	struct mail_result result;

	mail_point(s->outbox->opt, "claimed");
	patient(db);
	if (q_mail_facts(db, &(struct q_mail_facts_args){row->token_hash, row->org_id}, &facts) !=
		1)
		return false;
	/* Asked under the claim, as late as can be: what was used, replaced or revoked meanwhile
	 * is not mailed. */
	if (!facts.good)
		return end_mail(db, row->id, STATE_DROPPED, "its link is over") >= 0 &&
		       db_commit(db) == 0;
	deliver(s, row, &facts, db->arena, &result);
	if (result.accepted)
		return record_sent(s, db, row);
	return record_failure(s, db, row, &result) >= 0 && db_commit(db) == 0;
}

static enum outbox_end send_one(struct outbox_sender *s, struct db *db, struct arena *a)
{
	struct q_mail_claim_row row;
	bool ok;
	int n;

	if (!begin(s, db, a))
		return OUTBOX_TROUBLE;
	n = claim_alone(s, db, &row);
	if (n <= 0) {
		db_rollback(db);
		return n == 0 ? OUTBOX_EMPTY : OUTBOX_TROUBLE;
	}
	ok = process(s, db, &row);
	set_locked(s, s->org, "");
	/* A transaction that is left open ends with its connection, in outbox_step(), and so
	 * does the row's lock. */
	if (!ok)
		log_warn("mail could not be recorded id=%.*s accepted=%d", STR_ARG(row.id),
			s->accepted[0] != '\0');
	return ok ? OUTBOX_DONE : OUTBOX_TROUBLE;
}

/* A commit that failed may have happened all the same: then there is nothing to change. */
static enum outbox_end record_late(struct outbox_sender *s, struct db *db, struct arena *a)
{
	if (!begin(s, db, a) || end_mail(db, str_of(s->accepted), STATE_SENT, "") < 0 ||
		db_commit(db) < 0)
		return OUTBOX_TROUBLE;
	log_info("mail recorded late id=%s", s->accepted);
	set_locked(s, s->accepted, "");
	return OUTBOX_DONE;
}

void outbox_step(void *arg)
{
	struct outbox_sender *s = arg;
	struct arena a;
	struct db db;

	arena_init(&a, STEP_MEMORY);
	s->end = s->accepted[0] ? record_late(s, &db, &a) : send_one(s, &db, &a);
	if (db_kept() && PQtransactionStatus(db_kept()) != PQTRANS_IDLE)
		db_kept_end();
	arena_free(&a);
}
