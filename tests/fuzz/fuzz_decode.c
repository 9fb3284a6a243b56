/*
 * Binary messages in. The first byte chooses a type. What is read must pack to bytes that
 * mean the same, to us and to protobuf-c, and survive validation and JSON.
 */
#include <stdlib.h>

#include "proto/json.h"
#include "proto/validate.h"
#include "proto/wire_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const types[] = {"events.v1.BatchCreateRequest", "google.protobuf.Value",
	"insights.v1.QueryRequest", "google.protobuf.Any", "profiles.v1.IdentifyRequest",
	"common.v1.GetFilterSchemaRequest", "insights.v1.QueryResponse",
	"orgemailproviders.v1.UpsertRequest", "events.v1.BatchCreateResponse", "sample.v1.Scalars"};

static struct str pack(const ProtobufCMessage *msg, struct arena *a)
{
	struct buf b;

	buf_init(&b, a);
	pb_pack(msg, &b);
	if (b.over)
		abort();
	return (struct str){b.p, b.n};
}

static void check_json(const struct pb_msg *m, const ProtobufCMessage *msg, struct arena *a)
{
	struct json_error err;
	ProtobufCMessage *again;
	struct buf first, second;

	buf_init(&first, a);
	buf_init(&second, a);
	if (json_write(m, msg, &first) < 0)
		return; /* a time out of range, for example */
	if (json_read(m, (struct str){first.p, first.n}, a, &again, &err) < 0) {
		if (!err.memory)
			abort();
		return;
	}
	if (json_write(m, again, &second) < 0 || first.n != second.n ||
		memcmp(first.p, second.p, first.n) != 0)
		abort();
}

/* protobuf-c reads what was packed just as we do. */
static void compare(const struct pb_msg *m, struct str bytes, struct arena *a)
{
	ProtobufCMessage *theirs =
		protobuf_c_message_unpack(m->pc, NULL, bytes.n, (const uint8_t *)bytes.p);

	if (!theirs || !str_eq(bytes, pack(theirs, a)))
		abort();
	protobuf_c_message_free_unpacked(theirs, NULL);
}

static void check(const struct pb_msg *m, const ProtobufCMessage *msg, struct arena *a)
{
	struct str bytes = pack(msg, a);
	struct wire_error err;
	struct pb_check rules;
	ProtobufCMessage *again;

	if (pb_unpack(m, bytes, a, &again, &err) < 0 || !str_eq(bytes, pack(again, a)))
		abort();
	if (bytes.n)
		compare(m, bytes, a);
	pb_check_init(&rules, a);
	validate_message(&rules, m, msg);
	check_json(m, msg, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_error err = {0};
	ProtobufCMessage *msg;
	const struct pb_msg *m;
	struct arena a;
	struct str bytes;

	if (size == 0)
		return 0;
	m = pb_msg_find(str_of(types[data[0] % (sizeof(types) / sizeof(types[0]))]));
	bytes = (struct str){(const char *)data + 1, size - 1};
	if (!m)
		abort();
	arena_init(&a, (size_t)256 << 20);
	if (pb_unpack(m, bytes, &a, &msg, &err) == 0)
		check(m, msg, &a);
	else if (err.offset > bytes.n || !str_utf8_ok(str_of(err.path)) || err.reason[0] == 0)
		abort();
	arena_free(&a);
	return 0;
}
