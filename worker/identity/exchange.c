/* See exchange.h. */
#include "worker/identity/exchange.h"

#include <stdio.h>

#include "proto/base64.h"
#include "worker/identity/doc.h"
#include "worker/identity/idtoken.h"

enum { ANSWER_MAX = 256 * 1024 };

/* application/x-www-form-urlencoded, the cautious way: everything but RFC 3986's
 * unreserved characters as %XX. */
static void add_encoded(struct buf *b, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";

	for (; *text; text++)
		if (strchr(plain, *text))
			buf_c(b, *text);
		else
			buf_printf(b, "%%%02X", (unsigned)(uint8_t)*text);
}

static void add_field(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "&%s=", name);
	add_encoded(b, value);
}

/* Where it is used, id and secret are not in the form: one way to authenticate in a request (RFC
 * 6749 2.3). */
static bool use_basic(const struct exchange *x)
{
	return x->provider->client_secret && x->basic;
}

/* Ends with a NUL that does not count: outbound_http() measures the body by it. */
struct str exchange_form(const struct exchange *x)
{
	struct buf b;

	buf_init(&b, x->a);
	buf_z(&b, "grant_type=authorization_code");
	add_field(&b, "code", x->code);
	add_field(&b, "redirect_uri", x->redirect_uri);
	add_field(&b, "code_verifier", x->code_verifier);
	if (!use_basic(x))
		add_field(&b, "client_id", x->provider->client_id);
	if (x->provider->client_secret && !use_basic(x))
		add_field(&b, "client_secret", x->provider->client_secret);
	buf_c(&b, '\0');
	return b.over ? (struct str){NULL, 0} : (struct str){b.p, b.n - 1};
}

/* RFC 6749 2.3.1: both halves are form-encoded before they are joined. */
const char *exchange_authorization(const struct exchange *x)
{
	static const char head[] = "Authorization: Basic ";
	struct buf b;
	char *line;

	if (!use_basic(x))
		return NULL;
	buf_init(&b, x->a);
	add_encoded(&b, x->provider->client_id);
	buf_c(&b, ':');
	add_encoded(&b, x->provider->client_secret);
	line = b.over ? NULL : arena_alloc(x->a, sizeof(head) + base64_encoded_len(b.n, true));
	if (!line)
		return NULL;
	memcpy(line, head, sizeof(head) - 1);
	base64_encode(b.p, b.n, true, line + sizeof(head) - 1);
	return line;
}

/* The error code of RFC 6749 5.2, where it is one of a kind that may be logged. */
static const char *error_code(const json_t *doc)
{
	const char *code = doc_text(doc, "error");

	if (code && strlen(code) <= 40 &&
		strspn(code, "abcdefghijklmnopqrstuvwxyz_") == strlen(code))
		return code;
	return "none";
}

static void failed(struct exchange *x, enum exchange_outcome outcome, const char *why)
{
	x->outcome = outcome;
	snprintf(x->error, sizeof(x->error), "%.200s", why);
}

/* A 4xx is about the code or about us (RFC 6749 5.2). Everything else but 200, redirects included,
 * says that the provider does not do its part. */
static void read_document(struct exchange *x, long status, const json_t *doc)
{
	const char *token = doc_text(doc, "id_token");

	/* 429 and 408 say nothing about the code. */
	if (status >= 400 && status < 500 && status != 429 && status != 408) {
		failed(x, EXCHANGE_REFUSED, error_code(doc));
	} else if (status != 200) {
		x->outcome = EXCHANGE_FAILED;
		snprintf(x->error, sizeof(x->error), "token endpoint: HTTP status %ld", status);
	} else if (!token || strlen(token) > IDTOKEN_MAX) {
		failed(x, EXCHANGE_FAILED, "token endpoint: no id token");
	} else {
		x->id_token = str_of(arena_str(x->a, str_of(token)));
		/* the text counts only where it failed */
		failed(x, x->id_token.p ? EXCHANGE_DONE : EXCHANGE_FAILED, "out of memory");
	}
}

void exchange_read(struct exchange *x, long status, struct str body)
{
	json_t *doc = doc_parse(body, NULL);

	read_document(x, status, doc);
	json_decref(doc);
}

void exchange_run(struct exchange *x)
{
	struct outbound o = {
		.opt = x->opt, .target = OUTBOUND_OPERATOR, .timeout_ms = x->timeout_ms};
	struct outbound_answer answer;
	struct str form = exchange_form(x);
	const char *authorization = exchange_authorization(x);
	struct outbound_request rq = {.url = x->endpoint,
		.body = form.p,
		.headers = {"Accept: application/json", authorization},
		.answer_max = ANSWER_MAX};

	if (!form.p || (use_basic(x) && !authorization)) {
		failed(x, EXCHANGE_FAILED, "out of memory");
	} else if (outbound_http(&o, &rq, x->a, &answer) != 0) {
		x->outcome = EXCHANGE_FAILED;
		snprintf(x->error, sizeof(x->error), "token endpoint: %.200s", o.error);
	} else {
		exchange_read(x, answer.status, answer.body);
	}
}
