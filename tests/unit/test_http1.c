/* Request heads and chunked bodies as pure functions; the fixtures of
 * tests/wire cover refusals one by one, over sockets. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "worker/net/chunked.h"
#include "worker/net/http1.h"

static struct http_request rq;
static struct http1_framing fr;

static int parse(const char *head)
{
	memset(&rq, 0, sizeof(rq));
	return http1_parse(head, strlen(head), &rq, &fr);
}

static enum http1_progress scan(const char *in, size_t n, size_t step, uint32_t *at)
{
	struct http1_scan s = {0};
	enum http1_progress p = HTTP1_MORE;
	size_t have;

	for (have = 0; have < n && p == HTTP1_MORE;) {
		have = have + step < n ? have + step : n;
		p = http1_scan(&s, in, have);
	}
	*at = s.at;
	return p;
}

Test(http1, scanner_finds_the_end_however_split)
{
	static const char in[] = "POST /a HTTP/1.1\r\nHost: a\r\nX:\r\n\r\nGET /next HTTP/1.1\r\n";
	size_t step;
	uint32_t at;

	for (step = 1; step < sizeof(in); step++) {
		cr_assert_eq(scan(in, sizeof(in) - 1, step, &at), HTTP1_DONE);
		cr_assert_eq(at, strstr(in, "GET") - in);
	}
}

Test(http1, scanner_refuses_at_the_first_bad_byte)
{
	static const struct {
		const char *in;
		uint32_t at;
	} bad[] = {
		{"\n", 1},
		{" GET", 1},
		{"GET /\x7f", 6},
		{"GET / HTTP/1.1\n", 15},
		{"GET / HTTP/1.1\r\r", 16},
		{"GET / HTTP/1.1\r\n X: y", 17},
		{"GET / HTTP/1.1\r\nX : y", 18},
		{"GET / HTTP/1.1\r\nX: \x01", 20},
		{"GET / HTTP/1.1\r\nX: y\r\n\tz", 23},
		{"\r\n\r\nGET", 3},
		{"\x16\x03\x01", 1},
	};
	size_t i, step;
	uint32_t at;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		for (step = 1; step < 30; step++) {
			cr_assert_eq(
				scan(bad[i].in, strlen(bad[i].in), step, &at), HTTP1_BAD, "%zu", i);
			cr_assert_eq(at, bad[i].at, "%zu: %u", i, at);
		}
}

Test(http1, scanner_counts_headers)
{
	char in[4096] = "GET / HTTP/1.1\r\n";
	uint32_t at;
	int i;

	for (i = 0; i < 100; i++)
		strncat(in, "X: y\r\n", sizeof(in) - strlen(in) - 1);
	cr_assert_eq(scan(in, strlen(in), 7, &at), HTTP1_MORE);
	strncat(in, "X: y\r\n", sizeof(in) - strlen(in) - 1);
	cr_assert_eq(scan(in, strlen(in), 7, &at), HTTP1_MANY);
	cr_assert_eq(scan(in, strlen(in), 5000, &at), HTTP1_MANY);
}

Test(http1, request_is_taken_apart)
{
	cr_assert_eq(
		parse("POST /a/b?c=d?e HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nX-Y:  z \r\n\r\n"),
		0);
	cr_assert(str_eq(rq.method, STR("POST")));
	cr_assert(str_eq(rq.target, STR("/a/b?c=d?e")));
	cr_assert(str_eq(rq.path, STR("/a/b")));
	cr_assert(str_eq(rq.query, STR("c=d?e")));
	cr_assert_eq(rq.n_headers, 3);
	cr_assert(str_eq(http_header_get(&rq, STR("x-y")), STR("z")));
	cr_assert_null(http_header_get(&rq, STR("x-z")).p);
	cr_assert(rq.has_length && rq.length == 12 && rq.has_body && rq.keep_alive);
	cr_assert_not(fr.chunked || fr.expect || fr.http10);
}

Test(http1, framing)
{
	cr_assert_eq(
		parse("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: CHUNKED\r\nExpect: 100-continue\r\n\r\n"),
		0);
	cr_assert(fr.chunked && fr.expect && rq.has_body && !rq.has_length);
	cr_assert_eq(parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: a, CLOSE\r\n\r\n"), 0);
	cr_assert_not(rq.keep_alive);
	cr_assert_eq(parse("GET / HTTP/1.0\r\n\r\n"), 0);
	cr_assert(fr.http10 && !rq.keep_alive);
	cr_assert_eq(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 0);
	cr_assert(rq.keep_alive);
	cr_assert_eq(
		parse("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n"),
		0);
	cr_assert_eq(rq.length, UINT64_MAX);
}

Test(http1, refusals)
{
	static const struct {
		const char *head;
		int status;
	} bad[] = {
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
		{"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
		{"PRI * HTTP/2.0\r\n\r\n", 505},
		{"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
		{"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
			400},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n", 417},
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(parse(bad[i].head), bad[i].status, "%zu: %s", i, fr.why);
}

/* Decodes in pieces of `step`; the body in out. */
static enum chunked_progress decode(const char *in, size_t step, char *out, size_t *left)
{
	enum chunked_progress p = CHUNKED_MORE;
	struct chunked ch = {0};
	struct str rest = {in, 0}, data;
	size_t n = strlen(in);

	while (p == CHUNKED_MORE && rest.p + rest.n < in + n) {
		size_t more = (size_t)(in + n - rest.p) < step ? (size_t)(in + n - rest.p) : step;

		rest.n = more;
		while ((p = chunked_next(&ch, &rest, &data)) == CHUNKED_DATA)
			out += snprintf(out, data.n + 1, "%.*s", STR_ARG(data));
	}
	*left = (size_t)(in + n - rest.p);
	return p;
}

Test(http1, chunked_however_split)
{
	static const char in[] = "5\r\nhello\r\n1;x=y\r\n \r\n005\r\nworld\r\n0\r\nA: b\r\n\r\nGET";
	char out[64];
	size_t step, left;

	for (step = 1; step < sizeof(in); step++) {
		memset(out, 0, sizeof(out));
		cr_assert_eq(decode(in, step, out, &left), CHUNKED_DONE, "step %zu", step);
		cr_assert_str_eq(out, "hello world");
		cr_assert_eq(left, 3);
	}
}

Test(http1, chunked_refusals)
{
	static const char *const bad[] = {"\r\n", "g\r\n", "1 \r\na\r\n", "1\na\r\n", "1\r\nab\r\n",
		"1\r\na\n", "0\r\n\n", "0\r\n a\r\n", "0\r\nab\r\n", "1234567890123456\r\n",
		"-1\r\n", "1;a\nb\r\na\r\n", "0\r\nX: a\rb\r\n"};
	char out[64];
	size_t i, step, left;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		for (step = 1; step < 20; step++)
			cr_assert_eq(decode(bad[i], step, out, &left), CHUNKED_BAD, "%zu", i);
}
