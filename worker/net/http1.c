/*
 * Request heads, strictly. Every smuggling trick lives on two parsers that
 * disagree, so two of them must agree here: our scanner (CRLF only, no folded
 * lines, no control characters, tokens as names) and llhttp without any
 * lenient flag, followed by the framing rules of RFC 9112 section 6 (D53).
 */
#include "worker/net/http1.h"

#include <llhttp.h>

/* The order of a head. One empty line before it is let pass, as RFC 9112, 2.2 wants it, and no
 * second one. */
enum scan_state {
	SCAN_START, /* before the request line; one empty line may precede it */
	SCAN_START_LF,
	SCAN_START2, /* after that empty line */
	SCAN_LINE,
	SCAN_LINE_LF,
	SCAN_FIRST, /* first byte of a header line */
	SCAN_NAME,
	SCAN_VALUE,
	SCAN_VALUE_LF,
	SCAN_END_LF,
	SCAN_DONE,
	SCAN_BAD
};

static bool is_token(unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c && strchr("!#$%&'*+-.^_`|~", c);
}

/* What may stand in a header value: RFC 9110 5.5 without other controls. */
static bool is_value(unsigned char c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static enum scan_state scan_first(unsigned char c)
{
	if (c == '\r')
		return SCAN_END_LF;
	/* A space or tab here would fold the line before; never accepted. */
	return is_token(c) ? SCAN_NAME : SCAN_BAD;
}

static enum scan_state scan_byte(enum scan_state s, unsigned char c)
{
	switch (s) {
	case SCAN_START:
		if (c == '\r')
			return SCAN_START_LF;
		return is_token(c) ? SCAN_LINE : SCAN_BAD;
	case SCAN_START_LF:
		return c == '\n' ? SCAN_START2 : SCAN_BAD;
	case SCAN_START2:
		return is_token(c) ? SCAN_LINE : SCAN_BAD;
	case SCAN_LINE:
		if (c == '\r')
			return SCAN_LINE_LF;
		return c >= 0x20 && c < 0x7f ? SCAN_LINE : SCAN_BAD;
	case SCAN_LINE_LF:
		return c == '\n' ? SCAN_FIRST : SCAN_BAD;
	case SCAN_FIRST:
		return scan_first(c);
	case SCAN_NAME:
		if (c == ':')
			return SCAN_VALUE;
		return is_token(c) ? SCAN_NAME : SCAN_BAD;
	case SCAN_VALUE:
		if (c == '\r')
			return SCAN_VALUE_LF;
		return is_value(c) ? SCAN_VALUE : SCAN_BAD;
	case SCAN_VALUE_LF:
		return c == '\n' ? SCAN_FIRST : SCAN_BAD;
	case SCAN_END_LF:
		return c == '\n' ? SCAN_DONE : SCAN_BAD;
	case SCAN_DONE:
	case SCAN_BAD:
		break;
	}
	return SCAN_BAD;
}

enum http1_progress http1_scan(struct http1_scan *scan, const char *in, size_t n)
{
	enum scan_state s = scan->state, next;

	while (scan->at < n && s != SCAN_DONE && s != SCAN_BAD) {
		next = scan_byte(s, (unsigned char)in[scan->at++]);
		if (s == SCAN_LINE_LF)
			scan->line_end = scan->at;
		/* At once, not after the rest: else the answer would depend on how
		 * the bytes were split. */
		if (s == SCAN_FIRST && next == SCAN_NAME && scan->headers++ == HTTP_MAX_HEADERS)
			return HTTP1_MANY;
		s = next;
	}
	scan->state = (uint8_t)s;
	if (s == SCAN_BAD)
		return HTTP1_BAD;
	return s == SCAN_DONE ? HTTP1_DONE : HTTP1_MORE;
}

/* ---- headers ---- */

struct str http_header_get(const struct http_request *rq, struct str name)
{
	unsigned i;

	for (i = 0; i < rq->n_headers; i++)
		if (str_case_eq(rq->headers[i].name, name))
			return rq->headers[i].value;
	return (struct str){NULL, 0};
}

unsigned http_header_count(const struct http_request *rq, struct str name)
{
	unsigned i, n = 0;

	for (i = 0; i < rq->n_headers; i++)
		n += str_case_eq(rq->headers[i].name, name);
	return n;
}

/* True when a comma-separated list header, over all its lines, has the token. */
static bool header_has_token(const struct http_request *rq, struct str name, struct str token)
{
	unsigned i;

	for (i = 0; i < rq->n_headers; i++) {
		struct str rest = rq->headers[i].value;

		if (!str_case_eq(rq->headers[i].name, name))
			continue;
		while (rest.n > 0) {
			long comma = str_find(rest, ',');
			size_t n = comma < 0 ? rest.n : (size_t)comma;

			if (str_case_eq(str_trim((struct str){rest.p, n}), token))
				return true;
			n += comma >= 0;
			rest = (struct str){rest.p + n, rest.n - n};
		}
	}
	return false;
}

/* ---- the request line, on our own ---- */

static const char no_coding[] = "Only the transfer coding \"chunked\" is served.";

static int refuse(struct http1_framing *fr, int status, const char *why)
{
	fr->why = why;
	return status;
}

static struct str str_cut(struct str *rest, char c)
{
	long at = str_find(*rest, c);
	size_t n = at < 0 ? rest->n : (size_t)at;
	struct str head = {rest->p, n};

	n += at >= 0;
	*rest = (struct str){rest->p + n, rest->n - n};
	return head;
}

static int parse_version(struct str v, struct http1_framing *fr)
{
	if (str_eq(v, STR("HTTP/1.1")))
		return 0;
	fr->http10 = str_eq(v, STR("HTTP/1.0"));
	if (fr->http10)
		return 0;
	if (v.n == 8 && str_starts(v, STR("HTTP/")) && v.p[6] == '.')
		return refuse(fr, 505, "This server speaks HTTP/1.1.");
	return refuse(fr, 400, "Malformed request line.");
}

/* "http://host/path" becomes "/path"; "http://host?q" has no path to start at. The host in it is
 * not looked at: nothing here is chosen by a host. */
static int reduce_absolute(struct http_request *rq, struct http1_framing *fr)
{
	struct str t = rq->target;
	size_t skip = t.n > 8 && str_case_eq((struct str){t.p, 8}, STR("https://")) ? 8 : 7;
	size_t at;

	if (t.n <= 7 || (skip == 7 && !str_case_eq((struct str){t.p, 7}, STR("http://"))))
		return refuse(fr, 400, "Malformed request target.");
	for (at = skip; at < t.n && t.p[at] != '/' && t.p[at] != '?'; at++)
		if (t.p[at] == '@')
			return refuse(fr, 400, "Malformed request target.");
	if (at == skip)
		return refuse(fr, 400, "Malformed request target.");
	rq->target = (struct str){t.p + at, t.n - at};
	if (rq->target.n == 0)
		rq->target = STR("/");
	return 0;
}

static int parse_target(struct http_request *rq, struct http1_framing *fr)
{
	struct str rest;
	int rc = 0;

	if (str_eq(rq->method, STR("CONNECT")))
		return refuse(fr, 501, "CONNECT is not served.");
	if (rq->target.n == 0 || str_find(rq->target, '#') >= 0)
		return refuse(fr, 400, "Malformed request target.");
	if (str_eq(rq->target, STR("*"))) {
		if (!str_eq(rq->method, STR("OPTIONS")))
			return refuse(fr, 400, "Malformed request target.");
	} else if (rq->target.p[0] != '/') {
		rc = reduce_absolute(rq, fr);
	}
	rest = rq->target;
	rq->path = str_cut(&rest, '?');
	rq->query = rest;
	return rc;
}

static int parse_line(struct str line, struct http_request *rq, struct http1_framing *fr)
{
	rq->method = str_cut(&line, ' ');
	rq->target = str_cut(&line, ' ');
	/* A third space stays in the version and makes it malformed. */
	return parse_version(line, fr);
}

/* ---- llhttp ---- */

struct gather {
	struct http_request *rq;
	struct str url;
	struct str name, value; /* of the header at hand */
	bool over, whole;
};

/* All bytes come in one llhttp_execute, so pieces of a span are adjacent. */
static void span_grow(struct str *s, const char *at, size_t n)
{
	if (!s->p)
		s->p = at;
	s->n = (size_t)(at + n - s->p);
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
	span_grow(&((struct gather *)p->data)->url, at, n);
	return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
	span_grow(&((struct gather *)p->data)->name, at, n);
	return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
	span_grow(&((struct gather *)p->data)->value, at, n);
	return 0;
}

static int on_value_complete(llhttp_t *p)
{
	struct gather *g = p->data;
	struct http_request *rq = g->rq;

	/* The scanner has counted them; should the two disagree, nothing overruns. */
	if (rq->n_headers == HTTP_MAX_HEADERS) {
		g->over = true;
		return -1;
	}
	rq->headers[rq->n_headers++] = (struct http_header){g->name, str_trim(g->value)};
	g->name = g->value = (struct str){NULL, 0};
	return 0;
}

static int on_headers_complete(llhttp_t *p)
{
	((struct gather *)p->data)->whole = true;
	return HPE_PAUSED;
}

/* Upgrade offers are ignored: what follows the head is still HTTP/1.1. Bodies
 * are framed by us (chunked.c), llhttp never sees them. */
static int run_llhttp(const char *head, size_t n, struct http_request *rq, struct http1_framing *fr)
{
	struct gather g = {.rq = rq};
	llhttp_settings_t settings;
	llhttp_t parser;
	enum llhttp_errno rc;

	llhttp_settings_init(&settings);
	settings.on_url = on_url;
	settings.on_header_field = on_field;
	settings.on_header_value = on_value;
	settings.on_header_value_complete = on_value_complete;
	settings.on_headers_complete = on_headers_complete;
	llhttp_init(&parser, HTTP_REQUEST, &settings);
	parser.data = &g;
	rc = llhttp_execute(&parser, head, n);
	if (g.over)
		return refuse(fr, 431, "Too many header fields.");
	if (rc == HPE_INVALID_METHOD)
		return refuse(fr, 501, "Unknown method.");
	/* llhttp 9 says so of "chunked" after a Content-Length, too: that is ambiguous. */
	if (rc == HPE_INVALID_TRANSFER_ENCODING)
		return http_header_count(rq, STR("content-length")) > 0
			       ? refuse(fr, 400, "Ambiguous message length.")
			       : refuse(fr, 501, no_coding);
	/* Both parsers must see the same target: where they disagree somebody is smuggling. */
	if (rc != HPE_PAUSED || !g.whole || !str_eq(g.url, rq->target))
		return refuse(fr, 400, "Malformed request head.");
	return 0;
}

/* ---- framing rules ---- */

/* strchr() would find 0, too: at the end of the set. */
static bool host_ok(struct str host)
{
	size_t i;

	for (i = 0; i < host.n; i++) {
		unsigned char c = (unsigned char)host.p[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
			(!c || !strchr(".-_~:[]%!$&'()*+;=", c)))
			return false;
	}
	return true;
}

static int check_host(const struct http_request *rq, struct http1_framing *fr)
{
	unsigned n = http_header_count(rq, STR("host"));

	if (n > 1 || (n == 0 && !fr->http10))
		return refuse(fr, 400, "Exactly one Host header is needed.");
	if (!host_ok(http_header_get(rq, STR("host"))))
		return refuse(fr, 400, "Malformed Host header.");
	return 0;
}

static int check_length(struct http_request *rq, struct http1_framing *fr)
{
	unsigned lengths = http_header_count(rq, STR("content-length"));
	unsigned codings = http_header_count(rq, STR("transfer-encoding"));

	if (lengths > 1 || (lengths > 0 && codings > 0))
		return refuse(fr, 400, "Ambiguous message length.");
	if (codings > 0) {
		/* RFC 9112, 6.1: of HTTP/1.0 it is faulty framing, whatever it says. */
		if (fr->http10)
			return refuse(fr, 400, "Transfer-Encoding needs HTTP/1.1.");
		if (codings > 1 ||
			!str_case_eq(http_header_get(rq, STR("transfer-encoding")), STR("chunked")))
			return refuse(fr, 501, no_coding);
		fr->chunked = true;
	}
	if (lengths > 0) {
		/* Digits only: "+5", "5, 5", "0x5" and an empty value all fail. */
		if (!str_u64(http_header_get(rq, STR("content-length")), &rq->length))
			return refuse(fr, 400, "Malformed Content-Length.");
		rq->has_length = true;
	}
	rq->has_body = fr->chunked || rq->length > 0;
	return 0;
}

/* Of HTTP/1.0 it must be ignored (RFC 9110, 10.1.1). */
static int check_expect(const struct http_request *rq, struct http1_framing *fr)
{
	unsigned n = http_header_count(rq, STR("expect"));

	if (n == 0 || fr->http10)
		return 0;
	if (n > 1 || !str_case_eq(http_header_get(rq, STR("expect")), STR("100-continue")))
		return refuse(fr, 417, "Only the expectation \"100-continue\" is served.");
	fr->expect = rq->has_body;
	return 0;
}

static void find_keep_alive(struct http_request *rq, const struct http1_framing *fr)
{
	if (header_has_token(rq, STR("connection"), STR("close")))
		rq->keep_alive = false;
	else
		rq->keep_alive =
			!fr->http10 || header_has_token(rq, STR("connection"), STR("keep-alive"));
}

int http1_parse(const char *head, size_t n, struct http_request *rq, struct http1_framing *fr)
{
	struct str rest = {head, n}, line;
	int rc;

	*fr = (struct http1_framing){.why = ""};
	if (n > 2 && head[0] == '\r')
		rest = (struct str){head + 2, n - 2};
	line = str_cut(&rest, '\r');
	if (str_starts(line, STR("PRI * HTTP/2")))
		return refuse(fr, 505, "HTTP/2 is not served here.");
	if ((rc = parse_line(line, rq, fr)) || (rc = run_llhttp(head, n, rq, fr)) ||
		(rc = parse_target(rq, fr)) || (rc = check_host(rq, fr)) ||
		(rc = check_length(rq, fr)) || (rc = check_expect(rq, fr)))
		return rc;
	find_keep_alive(rq, fr);
	return 0;
}
