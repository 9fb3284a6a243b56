/* Resend's HTTPS API. A repeat with the same Idempotency-Key and words is one mail. */
#include <jansson.h>
#include <stdlib.h>

#include "worker/mail/point.h"
#include "worker/mail/send.h"

enum { ANSWER_MAX = 65536 };

static json_t *text(struct str s)
{
	return json_stringn(s.p ? s.p : "", s.n);
}

/* The sender as Resend reads it: a name is quoted, without quotes and backslashes of its own. */
static json_t *sender(const struct provider *p, struct arena *a)
{
	struct buf b;

	buf_init(&b, a);
	if (p->from.name.n > 0) {
		buf_c(&b, '"');
		for (size_t i = 0; i < p->from.name.n; i++) {
			char c = p->from.name.p[i];

			if ((unsigned char)c >= ' ' && c != '"' && c != '\\')
				buf_c(&b, c);
		}
		buf_z(&b, "\" <");
	}
	buf_str(&b, p->from.address);
	if (p->from.name.n > 0)
		buf_c(&b, '>');
	return b.over ? NULL : text((struct str){b.p, b.n});
}

/* To be freed; NULL without memory or when a text is not UTF-8. */
static char *request(const struct send_job *j)
{
	const struct mail *m = j->mail;
	json_t *o = json_pack("{s:o, s:[o], s:o, s:o, s:o, s:{s:s}}", "from",
		sender(j->provider, j->a), "to", text(m->to.address), "subject", text(m->subject),
		"text", text(m->text), "html", text(m->html), "headers", "Auto-Submitted",
		"auto-generated");
	char *body;

	if (o && j->provider->reply_to.n > 0)
		json_object_set_new(o, "reply_to", text(j->provider->reply_to));
	body = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return body;
}

static struct str member(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	return str_of(v && json_is_string(v) ? json_string_value(v) : "");
}

/* auth.md 5.4: 4xx and an answer that names no message are for good; 429, a repeat that is still
 * under way and all else may pass. What is no JSON (o is NULL) has no members. */
static void judge(struct send_job *j, const struct outbound_answer *answer)
{
	json_t *o = json_loadb(answer->body.p, answer->body.n, 0, NULL);
	long status = answer->status;
	bool concurrent =
		status == 409 && str_eq(member(o, "name"), STR("concurrent_idempotent_requests"));

	if (status >= 200 && status < 300) {
		j->result->accepted = member(o, "id").n > 0;
		if (!j->result->accepted)
			mail_failed(j->result, true, "the provider's answer names no message");
	} else {
		mail_refused(j->result,
			status >= 400 && status < 500 && status != 429 && !concurrent, j->provider,
			member(o, "message"));
	}
	json_decref(o);
}

void send_resend(struct send_job *j)
{
	/* named by the operator whoever the key belongs to */
	struct outbound out = {
		.opt = j->opt, .target = OUTBOUND_OPERATOR, .timeout_ms = j->timeout_ms};
	struct str key = arena_printf(j->a, "Authorization: Bearer %s", j->provider->secret);
	struct str id = arena_printf(j->a, "Idempotency-Key: %.*s", STR_ARG(j->mail->id));
	char *body = request(j);
	struct outbound_request rq = {.url = j->opt->resend_url,
		.body = body,
		.headers = {key.p, id.p, "Content-Type: application/json"},
		.answer_max = ANSWER_MAX};
	struct outbound_answer answer;

	mail_point(j->opt, "connected");
	if (!body || !key.p || !id.p)
		mail_failed(j->result, false, "there was not enough memory");
	else if (outbound_http(&out, &rq, j->a, &answer) < 0)
		send_unreachable(j, &out);
	else
		judge(j, &answer);
	free(body);
}
