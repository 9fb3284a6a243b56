/* Step 8: the answer to bytes, compressed when that is worth it. */
#include "proto/connect.h"
#include "proto/json.h"
#include "proto/wire_read.h"
#include "worker/call/encode.h"

enum { FIRST_ROOM = 512 };

/* Where memory does not suffice the answer goes out as it is. */
static void compress(struct call *c)
{
	struct buf b;

	buf_init(&b, c->arena);
	c->gzip_out = connect_gzip(c->reply.body, &b);
	if (c->gzip_out)
		c->reply.body = (struct str){b.p, b.n};
}

int encode_message(struct call *c, const ProtobufCMessage *m, struct str *out)
{
	struct buf b;
	int rc = 0;

	buf_init(&b, c->arena);
	buf_room(&b, FIRST_ROOM);
	if (c->codec == CODEC_JSON)
		rc = json_write(c->method->out, m, &b);
	else
		pb_pack(m, &b);
	if (b.over)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "the answer is too large");
	/* Not for memory, which was looked at: it has no JSON form (json.h), a bug of the
	 * handler. */
	if (rc < 0)
		return call_fail(c, CODE_INTERNAL, NULL, "internal error");
	*out = (struct str){b.p, b.n};
	return 0;
}

int call_encode(struct call *c)
{
	if (c->streaming) /* the handler has sent its messages; the end is call_reply()'s */
		return 0;
	if (encode_message(c, c->out, &c->reply.body) < 0)
		return -1;
	if (c->reply.body.n >= ENCODE_GZIP_MIN &&
		connect_accepts_gzip(http_header_get(c->rq, STR("accept-encoding"))))
		compress(c);
	return 0;
}
