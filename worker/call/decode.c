/*
 * Step 4: body or query string to message. Everything an attacker can size is
 * bounded here: bytes on the wire, bytes after inflating, and (by the codecs
 * and the arena) the message itself.
 */
#include "proto/connect.h"
#include "proto/json.h"
#include "proto/wire_read.h"
#include "shm/base/hash.h"
#include "shm/options.h"
#include "worker/call/crumb.h"
#include "worker/call/route.h"
#include "worker/call/stream.h"
#include "worker/worker.h"

enum {
	COST_FACTOR = 13, /* measured: batches as SDKs send them, in Protobuf */
	COST_LEAST = 4096,
	RESERVE_MS = 10000
};

static int too_large(struct call *c)
{
	return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "the message is larger than %lld bytes",
		(long long)c->w->opt->max_body);
}

static int no_memory(struct call *c)
{
	return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "the message needs too much memory");
}

/* `around`: bytes that the framing may take beside the message. Where the body did not end as it
 * should, the next request cannot be found behind it: the connection is closed. */
static int read_body(struct call *c, size_t around, struct str *body)
{
	switch (http_read_body(c->rq, (size_t)c->w->opt->max_body + around, body)) {
	case HTTP_BODY_OK:
		c->bytes_in = body->n;
		return 0;
	case HTTP_BODY_TOO_LARGE:
		return too_large(c);
	case HTTP_BODY_TIMEOUT:
		c->reply.close = true;
		return call_fail(
			c, CODE_DEADLINE_EXCEEDED, NULL, "the body did not arrive in time");
	case HTTP_BODY_MALFORMED:
		c->reply.close = true;
		return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "the body's chunks are malformed");
	case HTTP_BODY_BROKEN:
		c->reply.close = true;
		return call_fail(c, CODE_CANCELED, NULL, "the body did not arrive whole");
	case HTTP_BODY_MEMORY:
		c->retry_ms = 1000;
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL,
			"the server is short of memory, retry later");
	}
	return no_memory(c);
}

/* As a gzip stream says at its end; where it lies, inflating it fails. The caller has seen that
 * there are four bytes. */
static size_t inflated_size(struct str gzip)
{
	const uint8_t *p = (const uint8_t *)gzip.p + gzip.n - 4;

	return p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

/* About what a message takes; its arena bounds what it does. */
static size_t cost(const struct call *c, enum connect_coding coding, struct str bytes)
{
	size_t n = bytes.n;

	if (coding == CONNECT_GZIP && n >= 4)
		n = inflated_size(bytes);
	if (n > (size_t)c->w->opt->max_body)
		n = (size_t)c->w->opt->max_body;
	return COST_LEAST + n * (coding == CONNECT_GZIP ? COST_FACTOR + 1 : COST_FACTOR);
}

/* So that many large messages at once are read one after the other (D81). */
static int reserve(struct call *c, enum connect_coding coding, struct str bytes)
{
	uint64_t left = call_time_left(c);

	if (http_reserve(c->rq, cost(c, coding, bytes), left < RESERVE_MS ? left : RESERVE_MS))
		return 0;
	if (http_gone(c->rq))
		return call_fail(c, CODE_CANCELED, NULL, "the client went away");
	c->retry_ms = 1000;
	/* not asked anew: timers of milliseconds may be early by a part of one */
	if (left <= RESERVE_MS)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL,
			"the deadline passed before there was memory for the message");
	return call_fail(
		c, CODE_RESOURCE_EXHAUSTED, NULL, "the server is short of memory, retry later");
}

static int unknown_coding(struct call *c)
{
	return call_fail(c, CODE_UNIMPLEMENTED, NULL,
		"this content coding is not supported; supported are " CONNECT_CODINGS);
}

static int inflate_message(struct call *c, enum connect_coding coding, struct str bytes)
{
	size_t max = (size_t)c->w->opt->max_body;

	c->message = bytes;
	if (coding != CONNECT_GZIP && bytes.n > max)
		return too_large(c);
	if (reserve(c, coding, bytes) < 0)
		return -1;
	if (coding != CONNECT_GZIP)
		return 0;
	switch (connect_gunzip(bytes, max, c->arena, &c->message)) {
	case CONNECT_INFLATED:
		return 0;
	case CONNECT_INFLATE_LARGE:
		return too_large(c);
	case CONNECT_INFLATE_MEMORY:
		return no_memory(c);
	case CONNECT_INFLATE_BAD:
		break;
	}
	return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "the message is not valid gzip");
}

static int unpack_json(struct call *c)
{
	struct json_error err = {.memory = false};

	if (json_read(c->method->in, c->message, c->arena, &c->in, &err) == 0)
		return 0;
	if (err.memory)
		return no_memory(c);
	if (err.path[0])
		return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "invalid JSON: %s: %s", err.path,
			err.reason);
	return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "invalid JSON at byte %zu: %s", err.offset,
		err.reason);
}

static int unpack_proto(struct call *c)
{
	struct wire_error err = {.memory = false};

	if (pb_unpack(c->method->in, c->message, c->arena, &c->in, &err) == 0)
		return 0;
	if (err.memory)
		return no_memory(c);
	if (err.path[0])
		return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "invalid message: %s: %s",
			err.path, err.reason);
	return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "invalid message at byte %zu: %s",
		err.offset, err.reason);
}

/* From here on the crumb names the message, so that one deadly body is refused
 * and not the method or its other callers (D92). */
static int take_print(struct call *c, struct str bytes)
{
	c->body_hash = hash_64(bytes.n ? bytes.p : "", bytes.n) | 1;
	crumb_fill(c);
	return crumb_quarantine(c);
}

/* Streams say in headers of their own what their messages are packed with. A coding of the whole
 * body is not theirs. */
static int from_stream(struct call *c)
{
	struct str header = http_header_get(c->rq, STR("connect-content-encoding"));
	enum connect_coding coding = connect_coding_parse(header);
	struct str body = {NULL, 0}, message;
	bool packed;

	c->gzip_stream =
		connect_accepts_gzip(http_header_get(c->rq, STR("connect-accept-encoding")));
	if (coding == CONNECT_UNKNOWN_CODING ||
		connect_coding_parse(http_header_get(c->rq, STR("content-encoding"))) !=
			CONNECT_IDENTITY)
		return unknown_coding(c);
	if (read_body(c, CONNECT_ENVELOPE_HEAD, &body) < 0 || take_print(c, body) < 0 ||
		stream_open(c, body, coding == CONNECT_GZIP, &message, &packed) < 0)
		return -1;
	return inflate_message(c, packed ? coding : CONNECT_IDENTITY, message);
}

static int from_body(struct call *c)
{
	struct str header = http_header_get(c->rq, STR("content-encoding"));
	enum connect_coding coding = connect_coding_parse(header);
	struct str body = {NULL, 0};

	if (coding == CONNECT_UNKNOWN_CODING)
		return unknown_coding(c);
	if (read_body(c, 0, &body) < 0 || take_print(c, body) < 0)
		return -1;
	return inflate_message(c, coding, body);
}

static int from_query(struct call *c)
{
	struct connect_get q;
	const char *why = "";

	if (take_print(c, c->rq->query) < 0)
		return -1;
	switch (connect_get_parse(c->rq->query, c->arena, &q, &why)) {
	case CONNECT_GET_OK:
		c->codec = call_codec(q.codec);
		return inflate_message(c, q.coding, q.message);
	case CONNECT_GET_BAD:
		return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "%s", why);
	case CONNECT_GET_CODING:
		return unknown_coding(c);
	case CONNECT_GET_MEMORY:
		return no_memory(c);
	case CONNECT_GET_ENCODING:
		break;
	}
	c->plain_answer = true;
	c->reply.status = 415;
	return -1;
}

int call_unpack(struct call *c)
{
	if (c->message.n == 0)
		c->message = STR(""); /* the codecs do arithmetic on the pointer */
	return c->codec == CODEC_JSON ? unpack_json(c) : unpack_proto(c);
}

int call_decode(struct call *c)
{
	int rc;

	/* before a body is read in vain */
	if (!c->method->handler)
		return call_fail(c, CODE_UNIMPLEMENTED, NULL,
			"this method is not implemented by this server");
	rc = c->get ? from_query(c) : c->streaming ? from_stream(c) : from_body(c);
	if (rc == 0)
		rc = call_unpack(c);
	/* The rest is for others: most messages are far smaller than they might have been, and
	 * handlers may take long. */
	http_reserved(c->rq);
	return rc;
}
