/*
 * JSON in. The first byte chooses a message type. What is read must be written,
 * what is written must be read again, and say the same.
 */
#include <stdlib.h>

#include "proto/json.h"
#include "proto/validate.h"
#include "proto/wire_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const types[] = {"events.v1.BatchCreateRequest", "google.protobuf.Value",
	"insights.v1.QueryRequest", "google.protobuf.Any", "profiles.v1.IdentifyRequest",
	"google.protobuf.DoubleValue", "google.protobuf.Timestamp", "google.protobuf.FieldMask",
	"insights.v1.QueryResponse", "orgemailproviders.v1.UpsertRequest",
	"google.protobuf.FloatValue", "events.v1.BatchCreateResponse", "google.protobuf.BytesValue",
	"google.protobuf.Int64Value", "sample.v1.Scalars"};

static struct str write(const struct pb_msg *m, const ProtobufCMessage *msg, struct arena *a)
{
	struct buf b;

	buf_init(&b, a);
	/* Anys may be nested deeper than they are written. */
	return json_write(m, msg, &b) < 0 ? (struct str){NULL, 0} : (struct str){b.p, b.n};
}

static void check(const struct pb_msg *m, const ProtobufCMessage *msg, struct arena *a)
{
	struct str text = write(m, msg, a), again;
	ProtobufCMessage *second, *third;
	struct json_error err;
	struct pb_check rules;
	struct wire_error wire;
	struct buf packed;

	pb_check_init(&rules, a);
	validate_message(&rules, m, msg);
	if (!text.p)
		return;
	if (json_read(m, text, a, &second, &err) < 0)
		abort();
	again = write(m, second, a);
	if (!str_eq(text, again))
		abort();
	/* Deep JSON is deeper still in binary, and then refused. */
	buf_init(&packed, a);
	pb_pack(second, &packed);
	if (packed.over)
		return;
	if (pb_unpack(m, (struct str){packed.p, packed.n}, a, &third, &wire) == 0 &&
		!str_eq(text, write(m, third, a)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_error err;
	ProtobufCMessage *msg;
	const struct pb_msg *m;
	struct arena a;
	struct str text;

	if (size == 0)
		return 0;
	m = pb_msg_find(str_of(types[data[0] % (sizeof(types) / sizeof(types[0]))]));
	text = (struct str){(const char *)data + 1, size - 1};
	if (!m)
		abort();
	arena_init(&a, (size_t)64 << 20);
	if (json_read(m, text, &a, &msg, &err) == 0)
		check(m, msg, &a);
	else if (err.offset > text.n || !str_utf8_ok(str_of(err.path)) || err.reason[0] == 0)
		abort();
	arena_free(&a);
	return 0;
}
