/* mail_send(), and what may be told of a failure. */
#include "worker/mail/send.h"

#include <stdio.h>

#include "proto/validate.h"
#include "shm/base/clock.h"
#include "worker/mail/mime.h"

/* A word this long in a server's answer is a token, a link or something encoded. */
enum { WORD_MAX = 32, SAID_MAX = 160 };

bool send_bytes(struct send_job *j, struct buf *out)
{
	const struct provider *p = j->provider;

	buf_init(out, j->a);
	if (mime_write(j->mail, &p->from, p->reply_to, clock_real_ms() / 1000, out))
		return true;
	mail_failed(j->result, false, "there was not enough memory");
	return false;
}

/* One sentence for whatever else went wrong on the way: a tenant must not scan ports by SendTest
 * (auth.md 9, hazard 10). */
void send_unreachable(struct send_job *j, const struct outbound *o)
{
	if (o->refused)
		mail_failed(j->result, true, "the address is not allowed");
	else if (o->exposed)
		mail_failed(
			j->result, true, "without TLS mail is only handed to this machine itself");
	else
		mail_failed(j->result, false, "could not connect");
}

void mail_failed(struct mail_result *out, bool permanent, const char *text)
{
	out->accepted = false;
	out->permanent = permanent;
	snprintf(out->error, sizeof(out->error), "%s", text);
}

static const char refused[] = "was refused by the server";

/* Every occurrence of `secret` becomes stars. Goes on behind it: a secret may be stars itself. */
static void cover(char *text, size_t n, struct str secret)
{
	char *at = text, *end = text + n;

	while (secret.n >= 3 && (at = memmem(at, (size_t)(end - at), secret.p, secret.n))) {
		memset(at, '*', secret.n);
		at += secret.n;
	}
}

static void add_word(struct buf *out, struct str word)
{
	if (word.n == 0 || out->n > SAID_MAX)
		return;
	buf_z(out, out->n == sizeof(refused) - 1 ? ": " : " ");
	if (memchr(word.p, '@', word.n))
		buf_z(out, "[address]");
	else if (word.n >= WORD_MAX)
		buf_z(out, "[...]");
	else
		buf_str(out, word);
}

void mail_refused(
	struct mail_result *out, bool permanent, const struct provider *p, struct str said)
{
	char text[1024];
	size_t n = said.n < sizeof(text) ? said.n : sizeof(text), start = 0;
	struct buf clean;

	memcpy(text, said.p, n);
	/* before words are told apart: a password may hold blanks */
	cover(text, n, str_of(p->secret));
	cover(text, n, str_of(p->username));
	buf_init(&clean, NULL);
	buf_z(&clean, refused);
	for (size_t i = 0; i <= n; i++) {
		if (i < n && text[i] > ' ' && text[i] <= '~') {
			if (text[i] == '"') /* it is quoted in log lines */
				text[i] = '\'';
			continue;
		}
		add_word(&clean, (struct str){text + start, i - start});
		start = i + 1;
	}
	buf_c(&clean, '\0');
	mail_failed(out, permanent, clean.over ? refused : clean.p);
	buf_free(&clean);
}

void mail_send(const struct options *opt, const struct provider *p, const struct mail *m,
	uint64_t timeout_ms, struct arena *a, struct mail_result *out)
{
	struct send_job j = {opt, p, m, timeout_ms, a, out};

	*out = (struct mail_result){0};
	/* addresses become protocol lines: only what is one may */
	if (!valid_email(m->to.address)) {
		mail_failed(out, true, "the recipient is no mail address");
		return;
	}
	if (p->kind == PROVIDER_FOLDER)
		send_folder(&j);
	else if (p->kind == PROVIDER_RESEND)
		send_resend(&j);
	else
		send_smtp(&j);
}
