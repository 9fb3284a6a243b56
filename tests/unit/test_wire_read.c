/* The binary form: what is refused, and what must come out. */
#include "codec.h"
#include "proto/access.h"
#include "proto/events/v1/events.pb-c.h"
#include "proto/common/v1/common.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"

#define BATCH "events.v1.BatchCreateRequest"
#define EVENT "events.v1.Event"

static ProtobufCMessage *unpack(
	const char *type, const char *bytes, size_t n, struct wire_error *err)
{
	char *copy = malloc(n ? n : 1); /* exact, for the sanitizer */
	ProtobufCMessage *msg = NULL;

	cr_assert(copy);
	memcpy(copy, bytes, n);
	arena_init(&arena, (size_t)32 << 20);
	if (pb_unpack(type_of(type), (struct str){copy, n}, &arena, &msg, err) < 0)
		msg = NULL;
	free(copy);
	return msg;
}

#define BYTES(lit) lit, sizeof(lit) - 1

static void refused(
	const char *type, const char *bytes, size_t n, const char *path, const char *reason)
{
	struct wire_error err = {0};

	cr_expect_not(unpack(type, bytes, n, &err));
	if (path)
		cr_expect_str_eq(err.path, path, "path %s", err.path);
	cr_expect(strstr(err.reason, reason), "%s, want %s", err.reason, reason);
	cr_expect_not(err.memory);
	arena_free(&arena);
}

static ProtobufCMessage *taken(const char *type, const char *bytes, size_t n)
{
	struct wire_error err = {0};
	ProtobufCMessage *msg = unpack(type, bytes, n, &err);

	cr_assert(msg, "%s %s", err.path, err.reason);
	return msg;
}

Test(wire_read, empty_message_is_valid)
{
	Events__V1__BatchCreateRequest *r = (void *)taken(BATCH, "", 0);

	cr_expect_eq(r->n_events, 0);
	arena_free(&arena);
}

Test(wire_read, framing)
{
	refused(EVENT, BYTES("\x2a"), "", "cut off");
	refused(EVENT,
		BYTES("\x2a\x05"
		      "abc"),
		"", "cut off");
	refused(EVENT, BYTES("\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "", "cut off");
	refused(EVENT, BYTES("\x02\x00"), "", "number 0");
	refused(EVENT, BYTES("\x00\x00"), "", "number 0");
	refused(EVENT, BYTES("\x0b\x0c"), "", "wire type");
	refused(EVENT, BYTES("\x0c"), "", "wire type");
	refused(EVENT, BYTES("\x0e"), "", "wire type");
	refused(EVENT, BYTES("\x0f"), "", "wire type");
	refused(EVENT, BYTES("\x80"), "", "tag");
	refused(EVENT, BYTES("\x80\x80\x80\x80\x10\x00"), "", "tag");
	refused(EVENT, BYTES("\xa8\x80\x80\x80\x80\x00\x01"), "", "tag");
	refused(EVENT, BYTES("\x2a\x81\x80\x80\x80\x80\x00k"), "", "cut off");
	/* eleven bytes, and ten bytes with more than 64 bits */
	refused(EVENT, BYTES("\x40\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), "", "cut off");
	refused(EVENT, BYTES("\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), "", "cut off");
	refused(EVENT, BYTES("\x41\x00\x00\x00"), "", "cut off");
	refused(EVENT, BYTES("\x45\x00\x00"), "", "cut off");
	refused(EVENT, BYTES("\x28\x01"), "kind", "wrong wire type");
	refused(EVENT, BYTES("\x42\x01\x01"), "cookieless", "wrong wire type");
	refused(EVENT, BYTES("\x30\x01"), "occur_time", "wrong wire type");
}

Test(wire_read, text)
{
	refused(BATCH, BYTES("\x0a\x00\x0a\x04\x2a\x02\xc3\x28"), "events[1].kind", "UTF-8");
	refused(EVENT,
		BYTES("\x2a\x03"
		      "a\0b"),
		"kind", "U+0000");
	refused(EVENT, BYTES("\x12\x03\x0a\x01\xff"), "auto_properties[0].key", "UTF-8");
	taken(EVENT, BYTES("\x2a\x02\xc3\xa9"));
	arena_free(&arena);
}

Test(wire_read, unknown_fields_are_skipped)
{
	Events__V1__Event *e = (void *)taken(EVENT, BYTES("\xa0\x06\x01\xa2\x06\x02\xff\x00\xa1\x06"
							  "12345678\xa5\x06"
							  "1234\x2a\x01k"));

	cr_expect_str_eq(e->kind, "k");
	arena_free(&arena);
}

Test(wire_read, last_one_wins)
{
	Events__V1__Event *e = (void *)taken(EVENT, BYTES("\x2a\x01"
							  "a\x2a\x01"
							  "b\x40\x01\x40\x00"));
	Common__V1__PropertyValue *v;

	cr_expect_str_eq(e->kind, "b");
	cr_expect(e->has_cookieless && !e->cookieless);
	arena_free(&arena);
	v = (void *)taken("common.v1.PropertyValue", BYTES("\x0a\x01"
							   "a\x10\x05"));
	cr_expect_eq(v->value_case, COMMON__V1__PROPERTY_VALUE__VALUE_INT_VALUE);
	cr_expect_eq(v->int_value, 5);
	arena_free(&arena);
	v = (void *)taken("common.v1.PropertyValue", BYTES("\x10\x05\x0a\x01"
							   "a\x20\x01\x2a\x02\x08\x07\x0a\x01z"));
	cr_expect_eq(v->value_case, COMMON__V1__PROPERTY_VALUE__VALUE_STRING_VALUE);
	cr_expect_str_eq(v->string_value, "z");
	arena_free(&arena);
}

/* Merging lists over and over is quadratic; no encoder writes such bytes. */
Test(wire_read, singular_messages_occur_once)
{
	refused(EVENT, BYTES("\x32\x02\x08\x05\x32\x02\x10\x07"), "occur_time", "twice");
	refused("common.v1.PropertyValue", BYTES("\x2a\x00\x10\x01\x2a\x00"), "timestamp_value",
		"twice");
	refused(EVENT, BYTES("\x12\x04\x12\x00\x12\x00"), "auto_properties[0].value", "twice");
}

Test(wire_read, map_entries_are_complete_and_unique)
{
	Events__V1__Event *e =
		(void *)taken(EVENT, BYTES("\x12\x00\x12\x03\x0a\x01"
					   "a\x12\x07\x0a\x01"
					   "b\x12\x02\x10\x01"
					   "\x12\x07\x0a\x01"
					   "a\x12\x02\x10\x02\x12\x04\x12\x02\x10\x03"));

	cr_assert_eq(e->n_auto_properties, 3);
	cr_expect_str_eq(e->auto_properties[0]->key, "b");
	cr_expect_str_eq(e->auto_properties[1]->key, "a");
	cr_expect_eq(e->auto_properties[1]->value->int_value, 2);
	cr_expect_str_eq(e->auto_properties[2]->key, "");
	cr_expect_eq(e->auto_properties[2]->value->int_value, 3);
	arena_free(&arena);
	e = (void *)taken(EVENT, BYTES("\x12\x00"));
	cr_assert_eq(e->n_auto_properties, 1);
	cr_expect_str_eq(e->auto_properties[0]->key, "");
	cr_assert(e->auto_properties[0]->value);
	cr_expect_eq(e->auto_properties[0]->value->value_case, 0);
	arena_free(&arena);
}

/* Appends events[i] of so many events, all with the same entry in both maps, and "i". */
static void put_event(struct buf *out, unsigned i)
{
	/* auto_properties {"k": 1}, custom_properties {"k": 1}, custom_properties {"i": i} */
	char event[] = "\x12\x07\x0a\x01k\x12\x02\x10\x01\x1a\x07\x0a\x01k\x12\x02\x10\x01"
		       "\x1a\x07\x0a\x01i\x12\x02\x10?\x1a\x03\x0a\x01v\x1a\x04\x12\x02\x10\x05";

	event[26] = (char)i;
	buf_c(out, 0x0a);
	buf_c(out, sizeof(event) - 1);
	buf_add(out, event, sizeof(event) - 1);
}

/* Whether they share anything or not (small messages do not), they say the same. */
Test(wire_read, equal_entries_are_one)
{
	for (unsigned n = 2; n <= 100; n += 49) {
		Events__V1__BatchCreateRequest *r;
		struct buf bytes;
		unsigned shared = 0;

		buf_init(&bytes, NULL);
		for (unsigned i = 0; i < n; i++)
			put_event(&bytes, i);
		r = (void *)taken(BATCH, bytes.p, bytes.n);
		buf_free(&bytes);
		cr_assert_eq(r->n_events, n);
		for (unsigned i = 0; i < n; i++) {
			const Events__V1__Event *e = r->events[i];

			cr_assert_eq(e->n_auto_properties, 1);
			cr_assert_eq(e->n_custom_properties, 4);
			cr_expect_str_eq(e->auto_properties[0]->key, "k");
			cr_expect_eq(e->auto_properties[0]->value->int_value, 1);
			cr_expect_str_eq(e->custom_properties[0]->key, "k");
			cr_expect_str_eq(e->custom_properties[1]->key, "i");
			cr_expect_eq(e->custom_properties[1]->value->int_value, i);
			cr_expect_str_eq(e->custom_properties[2]->key, "v");
			cr_expect_eq(e->custom_properties[2]->value->value_case, 0);
			cr_expect_str_eq(e->custom_properties[3]->key, "");
			cr_expect_eq(e->custom_properties[3]->value->int_value, 5);
			shared += i > 0 &&
				  e->custom_properties[2] == r->events[0]->custom_properties[2];
			cr_expect_neq(
				(void *)e->custom_properties[0], (void *)e->auto_properties[0]);
		}
		cr_expect_eq(shared, n > 50 ? n - 1 : 0, "%u of %u", shared, n);
		arena_free(&arena);
	}
}

/* google.protobuf.ListValue in Value in ListValue ..., one more each level. */
static size_t nested(char *out, size_t size, unsigned levels)
{
	size_t n = 0, at = size;

	for (unsigned i = 0; i < levels; i++) {
		char head[8];
		size_t h = 0;

		head[h++] = i % 2 ? 0x0a : 0x32; /* ListValue.values, Value.list_value */
		for (size_t v = n;; v >>= 7) {
			head[h++] = (char)(v >= 0x80 ? (v | 0x80) : v);
			if (v < 0x80)
				break;
		}
		at -= h;
		n += h;
		memcpy(out + at, head, h);
	}
	memmove(out, out + at, n);
	return n;
}

Test(wire_read, depth_is_bounded)
{
	static char bytes[200000];
	size_t n = nested(bytes, sizeof(bytes), 98);

	taken("google.protobuf.ListValue", bytes, n);
	arena_free(&arena);
	n = nested(bytes, sizeof(bytes), 102);
	refused("google.protobuf.ListValue", bytes, n, NULL, "nested");
	n = nested(bytes, sizeof(bytes), 20000);
	refused("google.protobuf.ListValue", bytes, n, NULL, "nested");
}

static struct str wrapped(char tag, struct str inner)
{
	struct buf b;

	buf_init(&b, &arena);
	buf_c(&b, tag);
	for (size_t v = inner.n;; v >>= 7) {
		buf_c(&b, (char)(v >= 0x80 ? (v | 0x80) : v));
		if (v < 0x80)
			break;
	}
	buf_str(&b, inner);
	return (struct str){b.p, b.n};
}

/* An entry of a Struct's map: its key, and as value lists in lists, one in another. */
static struct str entry(struct str key, struct str value, unsigned lists)
{
	struct str k = wrapped(0x0a, key), v;
	struct buf b;

	for (unsigned i = 0; i < lists; i++)
		value = wrapped(0x32, wrapped(0x0a, value));
	v = wrapped(0x12, value);
	buf_init(&b, &arena);
	buf_str(&b, k);
	buf_str(&b, v);
	return wrapped(0x0a, (struct str){b.p, b.n});
}

/* An entry that was read near the top is no deeper than allowed; the same one further down is. */
Test(wire_read, a_shared_entry_is_not_too_deep)
{
	static char bytes[4000], filler[1100];
	size_t n = 0;

	arena_init(&arena, 1 << 20);
	memset(filler, 'x', sizeof(filler));
	for (unsigned lists = 10; lists <= 30; lists += 20) {
		struct str e = entry(STR("e"), wrapped(0x1a, STR("v")), 25);
		struct str fill =
			entry((struct str){filler, sizeof(filler)}, wrapped(0x1a, STR("")), 0);
		struct str deep = entry(STR("f"), wrapped(0x2a, e), lists);

		n = 0;
		for (size_t i = 0; i < 3; i++) {
			struct str part = i == 0 ? e : i == 1 ? fill : deep;

			memcpy(bytes + n, part.p, part.n);
			n += part.n;
		}
		arena_free(&arena);
		if (lists == 10)
			taken("google.protobuf.Struct", bytes, n);
		else
			refused("google.protobuf.Struct", bytes, n, NULL, "nested");
	}
}

/* 4 MB of a unit with 16 MB to spend. Returns what pb_unpack() does. */
static int flood(const char *type, const char *unit, size_t unit_n, struct wire_error *err)
{
	size_t size = (size_t)4 << 20, n = 0;
	char *bytes = malloc(size);
	ProtobufCMessage *msg;
	int rc;

	cr_assert(bytes);
	for (; n + unit_n <= size; n += unit_n)
		memcpy(bytes + n, unit, unit_n);
	arena_init(&arena, (size_t)16 << 20);
	rc = pb_unpack(type_of(type), (struct str){bytes, n}, &arena, &msg, err);
	cr_expect_leq(arena.held, (size_t)16 << 20);
	free(bytes);
	return rc;
}

Test(wire_read, memory_is_bounded)
{
	struct wire_error err = {0};

	cr_expect_eq(flood(BATCH, BYTES("\x0a\x00"), &err), -1);
	cr_expect(err.memory);
	cr_expect(strstr(err.path, "events["), "%s", err.path);
	arena_free(&arena);
	err = (struct wire_error){0};
	cr_expect_eq(flood(EVENT, BYTES("\x12\x00"), &err), -1);
	cr_expect(err.memory);
	arena_free(&arena);
	err = (struct wire_error){0};
	cr_expect_eq(flood("google.protobuf.ListValue", BYTES("\x0a\x00"), &err), -1);
	cr_expect(err.memory);
	arena_free(&arena);
}

Test(wire_read, unknown_fields_cost_nothing)
{
	struct wire_error err = {0};

	cr_expect_eq(flood(EVENT, BYTES("\xa0\x06\x00"), &err), 0);
	arena_free(&arena);
	cr_expect_eq(flood(EVENT, BYTES("\xa2\x06\x00"), &err), 0);
	arena_free(&arena);
}

Test(wire_read, what_was_packed_comes_back)
{
	static const char json[] =
		"{\"events\":[{\"kind\":\"a\",\"autoProperties\":{\"$a\":{\"stringValue\":"
		"\"some text\"},\"$b\":{\"intValue\":\"-5\"}},\"properties\":{\"x\":[1,\"y\",{}]},\"occurTime\":"
		"\"2026-01-01T00:00:00.25Z\"},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]}";
	const ProtobufCMessage *msg = read_ok(BATCH, json);
	struct wire_error err;
	struct arena own;
	ProtobufCMessage *copy;
	struct buf b;

	buf_init(&b, &arena);
	pb_pack(msg, &b);
	arena_init(&own, 1 << 20);
	cr_assert_eq(pb_unpack(type_of(BATCH), (struct str){b.p, b.n}, &own, &copy, &err), 0);
	cr_expect_str_eq(write_json(BATCH, copy), write_json(BATCH, msg));
	arena_free(&own);
	arena_free(&arena);
}

/* Numbers at their extremes, and texts around the width of a word. */
Test(wire_read, numbers_and_texts_of_every_length)
{
	static const int64_t numbers[] = {
		0, 1, -1, 127, 128, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
	char text[64];
	struct wire_error err;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		Common__V1__PropertyValue v = COMMON__V1__PROPERTY_VALUE__INIT, *got;
		struct buf b;

		arena_init(&arena, 1 << 20);
		v.value_case = COMMON__V1__PROPERTY_VALUE__VALUE_INT_VALUE;
		v.int_value = numbers[i];
		buf_init(&b, &arena);
		pb_pack(&v.base, &b);
		cr_assert_eq(pb_unpack(type_of("common.v1.PropertyValue"), (struct str){b.p, b.n},
				     &arena, (ProtobufCMessage **)&got, &err),
			0);
		cr_expect_eq(got->int_value, numbers[i]);
		arena_free(&arena);
	}
	for (size_t n = 0; n < 40; n++) {
		Events__V1__Event *e;

		memset(text, 'x', n + 2);
		text[0] = 0x2a;
		text[1] = (char)n;
		e = (void *)taken(EVENT, text, n + 2);
		cr_expect_eq(strlen(e->kind), n);
		arena_free(&arena);
		if (n == 0)
			continue;
		text[1 + n] = 0;
		refused(EVENT, text, n + 2, "kind", "U+0000");
		text[1 + n] = (char)0x80;
		refused(EVENT, text, n + 2, "kind", "UTF-8");
	}
}

Test(wire_read, every_prefix_is_safe)
{
	static const char bytes[] = "\x0a\x1d\x0a\x01"
				    "e\x12\x07\x0a\x01"
				    "b\x12\x02\x10\x01\x2a\x01k\x32\x04\x08\x05\x10\x07"
				    "\x40\x01\x5a\x04\x0a\x02\x0a\x00";
	struct wire_error err;

	for (size_t n = 0; n < sizeof(bytes); n++) {
		unpack(BATCH, bytes, n, &err);
		arena_free(&arena);
	}
}

/* Packed and not, both are read; repeated enums are the only such lists we have. */
Test(wire_read, packed_lists)
{
	static const char type[] = "common.v1.GetFilterSchemaRequest";
	Common__V1__GetFilterSchemaRequest *r =
		(void *)taken(type, BYTES("\x12\x03\x01\x02\x03\x10\x04"));

	cr_assert_eq(r->n_allowed_types, 4);
	cr_expect_eq(r->allowed_types[0], 1);
	cr_expect_eq(r->allowed_types[3], 4);
	arena_free(&arena);
	refused(type, BYTES("\x12\x02\x01\x80"), "allowed_types[0]", "malformed list");
	taken(type, BYTES("\x12\x00"));
	arena_free(&arena);
	refused(type,
		BYTES("\x11"
		      "12345678"),
		"allowed_types[0]", "wrong wire type");
}
