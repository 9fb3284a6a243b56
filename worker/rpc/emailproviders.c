/*
 * OrgEmailProvidersService: whose server carries an organisation's invitations (auth.md
 * 5.4). Secrets come in, are sealed, and never leave but redacted.
 */
#include <errno.h>

#include "proto/orgemailproviders/v1/orgemailproviders.pb-c.h"
#include "q.h"
#include "rpc.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/options.h"
#include "worker/call/call.h"
#include "worker/call/limit.h"
#include "worker/mail/provider.h"
#include "worker/mail/render.h"
#include "worker/offload.h"
#include "worker/worker.h"

enum {
	REPLY_MS = 250, /* of the deadline, for the answer */
	MEMORY = 1 << 20
};

/* Asked before the database is: without it no secret can be read or sealed. Delete does without
 * (auth.md 5.4). */
static bool has_key(struct call *c)
{
	uint8_t key[KEY_BYTES];
	bool ok = keys_derive(c->w->opt, KEY_PROVIDER_SECRET, false, key);

	explicit_bzero(key, sizeof(key));
	return ok;
}

static int no_key(struct call *c, const char *reason)
{
	return call_fail(c, CODE_FAILED_PRECONDITION, reason,
		"this server has no key for the secrets of mail providers");
}

/* NULL after call_fail(). */
static Google__Protobuf__Timestamp *timestamp(struct call *c, int64_t us)
{
	Google__Protobuf__Timestamp *t = call_alloc(c, sizeof(*t));

	if (!t)
		return NULL;
	google__protobuf__timestamp__init(t);
	t->seconds = us / 1000000;
	t->nanos = (int32_t)(us % 1000000) * 1000;
	return t;
}

/* 1, 0 without one, or -1 after call_fail(). The secret is sealed still. */
static int find_row(struct call *c, const char *org_id, struct provider_row *out, int64_t *time)
{
	struct q_provider_get_row row;
	int n = q_provider_get(&c->db, &(struct q_provider_get_args){str_of(org_id)}, &row);

	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return 0;
	*out = (struct provider_row){
		str_of(org_id), row.kind, row.from_address, row.reply_to, row.secret};
	*time = row.update_time;
	return 1;
}

int rpc_orgemailproviders_get(struct call *c, const Orgemailproviders__V1__GetRequest *in,
	Orgemailproviders__V1__GetResponse *out)
{
	struct provider_row row;
	struct provider p;
	enum provider_end end;
	int64_t time;
	int n;

	if (!has_key(c))
		return no_key(c, "EMAIL_PROVIDER_ENCRYPTION_KEY_MISSING");
	n = find_row(c, in->org_id, &row, &time);
	if (n < 0)
		return -1;
	if (n == 0)
		return call_fail_resource(c, "EMAIL_PROVIDER_NOT_FOUND", "email_provider",
			in->org_id, "org_id: the organisation has no mail provider of its own");
	end = provider_org(c->w->opt, &row, c->arena, &p);
	/* PROVIDER_MEMORY ends below, with everything else that found no memory. */
	if (end != PROVIDER_OK && end != PROVIDER_MEMORY)
		return call_fail(c, CODE_FAILED_PRECONDITION,
			"EMAIL_PROVIDER_SECRET_DECRYPT_FAILED", "%s", provider_end_text(end));
	out->has_kind = true;
	out->kind = (Orgemailproviders__V1__OrgEmailProviderKind)row.kind;
	out->from_address = call_str(c, row.from_address);
	out->reply_to = row.reply_to.p ? call_str(c, row.reply_to) : NULL;
	out->update_time = timestamp(c, time);
	out->redacted_secret =
		end == PROVIDER_OK ? call_str(c, provider_redacted(&p, c->arena)) : NULL;
	if (!out->redacted_secret || !out->from_address || !out->update_time)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "out of memory");
	return 0;
}

/* False without either (validation has seen to it). use_tls says that there is to be some; on port
 * 465 it becomes TLS from the first byte when the secret is read again (mail/provider.c). Without
 * it mail goes to loopback only. */
static bool read_config(const Orgemailproviders__V1__UpsertRequest *in, struct provider *p)
{
	const Orgemailproviders__V1__SMTPConfig *smtp = in->smtp;

	*p = (struct provider){0};
	if (in->config_case == ORGEMAILPROVIDERS__V1__UPSERT_REQUEST__CONFIG_RESEND) {
		p->kind = PROVIDER_RESEND;
		p->secret = in->resend->api_key;
		return true;
	}
	if (in->config_case != ORGEMAILPROVIDERS__V1__UPSERT_REQUEST__CONFIG_SMTP)
		return false;
	p->kind = PROVIDER_SMTP;
	p->host = smtp->host;
	p->port = (uint16_t)smtp->port;
	p->username = smtp->username ? smtp->username : "";
	p->secret = smtp->password ? smtp->password : "";
	p->tls = smtp->has_use_tls && smtp->use_tls ? PROVIDER_STARTTLS : PROVIDER_CLEAR;
	return true;
}

/* Replaces all of it: the whole secret is required each time (auth.md 5.4). */
int rpc_orgemailproviders_upsert(struct call *c, const Orgemailproviders__V1__UpsertRequest *in,
	Orgemailproviders__V1__UpsertResponse *out)
{
	struct q_provider_set_row row;
	struct provider p;
	bool answers = in->reply_to && in->reply_to[0];

	if (!has_key(c))
		return no_key(c, "EMAIL_PROVIDER_ENCRYPTION_KEY_MISSING");
	if (!read_config(in, &p))
		return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_EMAIL_PROVIDER_CONFIG",
			"config: smtp or resend is required");
	struct q_provider_set_args args = {
		.org_id = str_of(in->org_id),
		.kind = (int32_t)p.kind,
		.from_address = str_of(in->from_address),
		.reply_to = answers ? str_of(in->reply_to) : (struct str){NULL, 0},
		.secret = provider_seal(c->w->opt, str_of(in->org_id), &p, c->arena),
	};
	if (!args.secret.p)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "out of memory");
	if (q_provider_set(&c->db, &args, &row) < 0)
		return call_fail_db(c, &c->db);
	out->update_time = timestamp(c, row.update_time);
	return out->update_time ? 0 : -1;
}

int rpc_orgemailproviders_delete(struct call *c, const Orgemailproviders__V1__DeleteRequest *in,
	Orgemailproviders__V1__DeleteResponse *out)
{
	(void)out;
	if (q_provider_remove(&c->db, &(struct q_provider_remove_args){str_of(in->org_id)}) < 0)
		return call_fail_db(c, &c->db);
	return 0;
}

/* ---- the test mail ---- */

/* On the stack of the call, which is parked until the thread has done with it. */
struct test_job {
	const struct options *opt;
	struct provider provider;
	struct str recipient;
	uint64_t deadline_ms;
	struct arena a; /* the thread's own: the call's belongs to the loop */
	struct mail_result result;
};

static void send_test(void *arg)
{
	struct test_job *j = arg;
	uint64_t now = clock_mono_ms(), left = j->deadline_ms > now ? j->deadline_ms - now : 1;
	uint64_t most = (uint64_t)j->opt->mail_timeout;
	struct mail m = {.to.address = j->recipient};
	char id[21];

	hash_xid(id); /* each attempt is a mail of its own */
	m.id = str_of(id);
	if (render_mail(j->opt, MAIL_TEST, &(struct mail_facts){0}, &j->a, &m))
		mail_send(j->opt, &j->provider, &m, left < most ? left : most, &j->a, &j->result);
	else
		mail_failed(&j->result, false, provider_end_text(PROVIDER_MEMORY));
}

/* At most half of the threads, as signing in by other providers needs them too. outbound_threads
 * is at least 2, so one test always goes. The count belongs to the loop, and needs no lock. */
static int send_on_thread(struct call *c, struct test_job *j)
{
	int refused;

	if (c->w->test_mails >= (unsigned)c->w->opt->outbound_threads / 2)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL,
			"too many test mails are being sent, try again shortly");
	c->w->test_mails++;
	arena_init(&j->a, MEMORY);
	refused = offload_run(c->w->offload, OFFLOAD_OUT, j->deadline_ms, send_test, j);
	arena_free(&j->a);
	c->w->test_mails--;
	if (refused == -ETIME)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
	if (refused)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL,
			"too many calls wait for other servers, try again shortly");
	return 0;
}

/* The operator's where the organisation has none, as its invitations would go (auth.md 5.4). */
static int find_provider(
	struct call *c, const char *org_id, struct provider *out, enum provider_end *end)
{
	struct provider_row row;
	int64_t time;
	int n = find_row(c, org_id, &row, &time);

	if (n < 0)
		return -1;
	*end = n ? provider_org(c->w->opt, &row, c->arena, out)
		 : provider_operator(c->w->opt, c->arena, out);
	if (*end == PROVIDER_MEMORY)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "out of memory");
	return 0;
}

/* A mail that fails is an answer and no failure of the call, and so is a provider that cannot be
 * used (auth.md 5.4). It goes to the account's own spelling, not to what was sent. */
int rpc_orgemailproviders_send_test(struct call *c,
	const Orgemailproviders__V1__SendTestRequest *in,
	Orgemailproviders__V1__SendTestResponse *out)
{
	struct test_job j = {.opt = c->w->opt, .recipient = str_of(c->who.email)};
	enum provider_end end;
	uint64_t left;

	if (!has_key(c))
		return no_key(c, "EMAIL_TEST_SEND_UNAVAILABLE");
	if (!str_case_eq(str_of(in->recipient), str_of(c->who.email)))
		return call_fail(c, CODE_PERMISSION_DENIED, "EMAIL_TEST_RECIPIENT_MISMATCH",
			"recipient: test mails go to your own address only");
	/* which nobody may have verified */
	if (limit_link(c, j.recipient) != 0)
		return -1;
	if (find_provider(c, in->org_id, &j.provider, &end) < 0)
		return -1;
	left = call_time_left(c);
	j.deadline_ms = clock_mono_ms() + (left > 2 * REPLY_MS ? left - REPLY_MS : left);
	if (end != PROVIDER_OK)
		mail_failed(&j.result, true, provider_end_text(end));
	else if (send_on_thread(c, &j) < 0)
		return -1;
	out->has_success = true;
	out->success = j.result.accepted;
	if (!out->success)
		out->error_message = call_str(c, str_of(j.result.error));
	return out->success || out->error_message ? 0 : -1;
}
