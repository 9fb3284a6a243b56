/*
 * Step 9: the one place where an answer is put together, for every way in which
 * a call can end. Afterwards the call is gone: it lives in the request's arena.
 */
#include "proto/connect.h"
#include "worker/call/access.h"
#include "worker/call/cors.h"
#include "worker/call/error.h"
#include "worker/call/limit.h"
#include "worker/call/reply.h"
#include "worker/call/stream.h"
#include "worker/worker.h"

static const char *content_type(const struct call *c)
{
	struct connect_media m = {CONNECT_JSON, c->streaming};

	/* A unary error is JSON, whatever the request was. */
	if (c->codec == CODEC_PROTO && (c->code == CODE_OK || c->streaming))
		m.codec = CONNECT_PROTO;
	return connect_media_name(m);
}

static void fill_body(struct call *c)
{
	if (c->streaming) {
		/* on a stream an error is no status but the last envelope of a 200 */
		c->reply.status = 200;
		c->reply.body = stream_end(c);
	} else if (c->code == CODE_OK) {
		c->reply.status = 200;
	} else {
		c->reply.status = error_code(c->code)->status;
		c->reply.body = error_json(c);
	}
}

static void connect_headers(struct call *c, struct buf *h)
{
	uint64_t wait = error_retry_after(c);

	buf_z(h, "Content-Type: ");
	buf_z(h, content_type(c));
	buf_z(h, "\r\n");
	if (c->code == CODE_OK && c->gzip_out)
		buf_z(h, "Content-Encoding: gzip\r\n");
	if (c->gzip_stream)
		buf_z(h, "Connect-Content-Encoding: gzip\r\n");
	/* An answer to GET must not outlive the rights of who asked (D85). */
	if (c->get)
		buf_z(h, "Cache-Control: no-store\r\n");
	if (c->code == CODE_UNAUTHENTICATED && !c->streaming)
		buf_z(h, "WWW-Authenticate: Bearer realm=\"pug\"\r\n");
	if (wait > 0)
		buf_printf(h, "Retry-After: %llu\r\n", (unsigned long long)wait);
	limit_headers(c, h);
	if (c->headers.n > 0 && !c->headers.over)
		buf_str(h, (struct str){c->headers.p, c->headers.n});
}

/* Nothing fits any more: a status that says so, without a body. */
static void give_up(struct call *c)
{
	buf_init(&c->reply.headers, c->arena);
	c->reply.status = 503;
	c->reply.body = (struct str){NULL, 0};
	c->reply.close = true;
}

void reply_headers(struct call *c)
{
	struct buf *h = &c->reply.headers;

	buf_z(h, "X-Request-Id: ");
	buf_z(h, c->id);
	buf_z(h, "\r\n");
	cors_headers(c, h);
	if (!c->plain_answer)
		connect_headers(c, h);
}

/* The head is gone long since. Without memory for the end there is none, and a stream
 * without its end is an error to every client. */
static void end_stream(struct call *c)
{
	struct str end = stream_end(c);

	c->reply.body.n = c->streamed + end.n;
	access_log(c);
	http_stream_end(c->rq, end);
}

void call_reply(struct call *c)
{
	error_release(c);
	if (c->stream_begun) {
		end_stream(c);
		return;
	}
	if (!c->plain_answer)
		fill_body(c);
	reply_headers(c);
	if (c->reply.headers.over || (c->code != CODE_OK && c->reply.body.p == NULL))
		give_up(c);
	access_log(c);
	http_send(c->rq, &c->reply);
}
