/*
 * SMTP through libcurl, which speaks the protocol, stuffs dots and checks certificates.
 * What it does not tell is what the server said: its lines come as headers, and the
 * latest refusal is kept for the error text.
 */
#include <stdio.h>

#include "worker/mail/point.h"
#include "worker/mail/send.h"

enum { REPLY_MAX = 800 };

struct transfer {
	struct send_job *job;
	struct outbound out;
	struct buf message;
	size_t sent; /* of the message */
	/* the server's latest reply of 4xx or 5xx, its lines joined by blanks */
	char reply[REPLY_MAX];
	size_t reply_n;
	bool reply_done;
};

static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t left = t->message.n - t->sent, most = size * n;

	n = left < most ? left : most;
	memcpy(p, t->message.p + t->sent, n);
	t->sent += n;
	return n;
}

/* "550-FIRST", "550 LAST": a blank after the code ends a reply. After a refusal libcurl
 * says QUIT, whose answer does not count. */
static size_t on_line(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t all = size * n, len = all, room;

	if (len < 4 || (*p != '4' && *p != '5'))
		return all;
	if (t->reply_done)
		t->reply_n = 0;
	t->reply_done = p[3] != '-';
	while (len > 0 && (p[len - 1] == '\r' || p[len - 1] == '\n'))
		len--;
	room = sizeof(t->reply) - t->reply_n;
	if (len + 1 > room)
		len = room > 0 ? room - 1 : 0;
	if (room > 0) {
		memcpy(t->reply + t->reply_n, p, len);
		t->reply[t->reply_n + len] = ' ';
		t->reply_n += len + 1;
	}
	return all;
}

#ifdef PUGD_TEST_HOOKS
static int on_ready(void *arg, char *ip, char *local, int port, int local_port)
{
	struct transfer *t = arg;

	(void)ip, (void)local, (void)port, (void)local_port;
	mail_point(t->job->opt, "connected");
	return CURL_PREREQFUNC_OK;
}
#endif

static struct str domain_of(struct str address)
{
	long at = str_find(address, '@');

	return (struct str){address.p + at + 1, address.n - (size_t)(at + 1)};
}

/* smtp[s]://HOST:PORT/NAME, where NAME is said in EHLO: the sender's domain rather than
 * this machine's name, which is nobody's business. */
static struct str url_of(struct send_job *j)
{
	const struct provider *p = j->provider;
	bool v6 = strchr(p->host, ':') != NULL;
	struct str domain = domain_of(p->from.address);

	return arena_printf(j->a, "%s://%s%s%s:%u/%.*s", p->tls == PROVIDER_TLS ? "smtps" : "smtp",
		v6 ? "[" : "", p->host, v6 ? "]" : "", p->port, STR_ARG(domain));
}

/* NULL after mail_failed(). */
static CURL *prepare(struct transfer *t, struct curl_slist **to)
{
	struct send_job *j = t->job;
	const struct provider *p = j->provider;
	struct str url = url_of(j), from = arena_printf(j->a, "<%.*s>", STR_ARG(p->from.address));
	struct str rcpt = arena_printf(j->a, "<%.*s>", STR_ARG(j->mail->to.address));
	CURL *curl = url.p && from.p && rcpt.p ? outbound_curl(&t->out) : NULL;

	*to = curl ? curl_slist_append(NULL, rcpt.p) : NULL;
	if (!*to) {
		mail_failed(j->result, false, "there was not enough memory");
		curl_easy_cleanup(curl);
		return NULL;
	}
	curl_easy_setopt(curl, CURLOPT_URL, url.p);
	/* ALL: without STARTTLS libcurl says no more, least of all the password */
	curl_easy_setopt(curl, CURLOPT_USE_SSL,
		(long)(p->tls == PROVIDER_CLEAR ? CURLUSESSL_NONE : CURLUSESSL_ALL));
	if (p->username[0]) {
		/* a server without AUTH is fine (D59) */
		curl_easy_setopt(curl, CURLOPT_USERNAME, p->username);
		curl_easy_setopt(curl, CURLOPT_PASSWORD, p->secret);
		curl_easy_setopt(curl, CURLOPT_LOGIN_OPTIONS, "AUTH=PLAIN;AUTH=LOGIN");
	}
	curl_easy_setopt(curl, CURLOPT_MAIL_FROM, from.p);
	curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, *to);
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(curl, CURLOPT_READDATA, t);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_line);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
#ifdef PUGD_TEST_HOOKS
	curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, on_ready);
	curl_easy_setopt(curl, CURLOPT_PREREQDATA, t);
#endif
	return curl;
}

/* Errors of libcurl that follow from what the server said rather than from the way. */
static bool is_refusal(CURLcode rc)
{
	return rc == CURLE_SEND_ERROR || rc == CURLE_WEIRD_SERVER_REPLY ||
	       rc == CURLE_LOGIN_DENIED || rc == CURLE_USE_SSL_FAILED ||
	       rc == CURLE_REMOTE_ACCESS_DENIED || rc == CURLE_AUTH_ERROR;
}

static void explain(struct transfer *t, CURLcode rc, long code)
{
	struct send_job *j = t->job;

	if (is_refusal(rc) && code >= 400)
		mail_refused(
			j->result, code >= 500, j->provider, (struct str){t->reply, t->reply_n});
	else if (rc == CURLE_USE_SSL_FAILED)
		mail_failed(j->result, true, "the server does not offer STARTTLS");
	else if (rc == CURLE_LOGIN_DENIED)
		mail_failed(j->result, true, "the server takes neither AUTH PLAIN nor AUTH LOGIN");
	else if (rc == CURLE_PEER_FAILED_VERIFICATION)
		mail_failed(j->result, false, "the server's certificate is not trusted");
	else
		send_unreachable(j, &t->out);
}

void send_smtp(struct send_job *j)
{
	struct transfer t = {.job = j,
		.out = {.opt = j->opt,
			.target = j->provider->target,
			.timeout_ms = j->timeout_ms,
			.loopback_only = j->provider->tls == PROVIDER_CLEAR}};
	struct curl_slist *to;
	CURLcode rc;
	CURL *curl;
	long code = 0;

	if (!send_bytes(j, &t.message) || !(curl = prepare(&t, &to)))
		return;
	rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
	if (rc == CURLE_OK)
		j->result->accepted = true;
	else
		explain(&t, rc, code);
	curl_slist_free_all(to);
	curl_easy_cleanup(curl); /* says QUIT; its answer does not matter */
}
