/*
 * Streaming methods over HTTP/1.1: messages in envelopes, a request of exactly one, an
 * answer of any number and the end. The head of the answer goes out with the first
 * message; whatever fails before or after that is told in the last envelope.
 */
#include "worker/call/stream.h"

#include "proto/connect.h"
#include "worker/call/encode.h"
#include "worker/call/error.h"
#include "worker/call/reply.h"

/* With the codes that the conformance suite asks for: unimplemented for no or several messages,
 * internal for a flag without a coding (connect-protocol.md 3.4). */
int stream_open(struct call *c, struct str body, bool coded, struct str *message, bool *packed)
{
	uint8_t flags;

	if (body.n == 0)
		return call_fail(c, CODE_UNIMPLEMENTED, NULL, "the stream must hold one message");
	if (!connect_envelope_take(&body, &flags, message))
		return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "the envelope is not complete");
	if (flags & ~CONNECT_FLAG_COMPRESSED)
		return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "the envelope has unknown flags");
	*packed = flags & CONNECT_FLAG_COMPRESSED;
	if (*packed && !coded)
		return call_fail(c, CODE_INTERNAL, NULL,
			"a message is compressed, but Connect-Content-Encoding does not say how");
	if (body.n > 0)
		return call_fail(c, CODE_UNIMPLEMENTED, NULL, "the stream must hold one message");
	return 0;
}

static int lost(struct call *c, enum http_stream s)
{
	if (s == HTTP_STREAM_LATE)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
	return call_fail(c, CODE_CANCELED, NULL, "the client went away");
}

/* Its headers are allocated after a mark that the handler may have set, and go with it: once the
 * head is sent nobody looks at c->reply.headers. */
static void begin(struct call *c)
{
	c->stream_begun = true;
	c->reply.status = 200;
	reply_headers(c);
	http_stream_begin(c->rq, &c->reply);
}

/* What it allocates stays in the arena. A handler that sends many goes back to a mark after each
 * (rpc/profiles.c). */
int call_send(struct call *c, const ProtobufCMessage *message)
{
	struct str bytes;
	struct buf packed, piece;
	uint8_t flags = 0;
	enum http_stream s;

	if (call_time_left(c) == 0)
		return lost(c, HTTP_STREAM_LATE);
	if (encode_message(c, message, &bytes) < 0)
		return -1;
	if (!c->stream_begun)
		begin(c);
	buf_init(&packed, c->arena);
	if (c->gzip_stream && bytes.n >= ENCODE_GZIP_MIN && connect_gzip(bytes, &packed)) {
		flags = CONNECT_FLAG_COMPRESSED;
		bytes = (struct str){packed.p, packed.n};
	}
	buf_init(&piece, c->arena);
	connect_envelope(&piece, flags, bytes);
	if (piece.over)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "the answer is too large");
	s = http_stream_write(c->rq, (struct str){piece.p, piece.n}, c->deadline_ms);
	c->streamed += piece.n;
	return s == HTTP_STREAM_OK ? 0 : lost(c, s);
}

struct str stream_end(struct call *c)
{
	struct str json = STR("{}");
	struct buf b;

	if (c->code != CODE_OK) {
		struct str error = error_json(c);

		json = arena_printf(c->arena, "{\"error\":%.*s}", STR_ARG(error));
		if (!error.p || !json.p)
			return (struct str){NULL, 0};
	}
	buf_init(&b, c->arena);
	connect_envelope(&b, CONNECT_FLAG_END, json);
	return b.over ? (struct str){NULL, 0} : (struct str){b.p, b.n};
}
