/* Reading proto3 JSON: what is taken, what is refused, and how it is named. */
#include <math.h>
#include <pthread.h>

#include "codec.h"
#include "proto/access.h"
#include "proto/events/v1/events.pb-c.h"
#include "proto/json_read.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/google/protobuf/timestamp.pb-c.h"
#include "proto/google/protobuf/wrappers.pb-c.h"
#include "proto/google/protobuf/any.pb-c.h"

#define BATCH      "events.v1.BatchCreateRequest"
#define EVENT      "events.v1.Event"
#define VALUE      "google.protobuf.Value"
#define WRAP(type) "google.protobuf." type "Value"

Test(json_read, event_of_an_sdk)
{
	Events__V1__BatchCreateRequest *r = (void *)read_ok(BATCH,
		" {\"events\": [{\"eventId\":\"0190b5a4-0000-7000-8000-000000000001\", \"kind\":\"page_view\","
		"\"distinct_id\":\"u1\",\"occurTime\":\"2026-06-10T01:40:00.25+05:30\",\"cookieless\":false,"
		"\"autoProperties\":{\"$url\":{\"stringValue\":\"https://x/\"},\"$w\":{\"intValue\":\"12\"}},"
		"\"customProperties\":{\"a\":{\"doubleValue\":1.5},\"b\":{\"boolValue\":true},"
		"\"c\":{\"timestampValue\":\"1970-01-01T00:00:01Z\"},\"d\":{\"int_value\":-3}}},\n{}]}\t");
	Events__V1__Event *e = r->events[0];

	cr_assert_eq(r->n_events, 2);
	cr_expect_str_eq(e->kind, "page_view");
	cr_expect_str_eq(e->distinct_id, "u1");
	cr_expect_null(e->session_id);
	cr_expect(e->occur_time->seconds == 1781035800 && e->occur_time->nanos == 250000000);
	cr_expect(e->has_cookieless && !e->cookieless);
	cr_expect_eq(e->n_auto_properties, 2);
	cr_expect_str_eq(e->auto_properties[0]->key, "$url");
	cr_expect_str_eq(e->auto_properties[0]->value->string_value, "https://x/");
	cr_expect_eq(e->auto_properties[1]->value->int_value, 12);
	cr_expect_eq(e->custom_properties[0]->value->double_value, 1.5);
	cr_expect_eq(e->custom_properties[1]->value->bool_value, 1);
	cr_expect_eq(e->custom_properties[2]->value->timestamp_value->seconds, 1);
	cr_expect_eq(e->custom_properties[3]->value->int_value, -3);
	cr_expect_not(r->events[1]->has_cookieless);
	arena_free(&arena);
}

Test(json_read, null_is_absence)
{
	Events__V1__BatchCreateRequest *r = (void *)read_ok(BATCH, "{\"events\":null}");
	Events__V1__Event *e;

	cr_expect_eq(r->n_events, 0);
	arena_free(&arena);
	e = (void *)read_ok(EVENT, "{\"kind\":null,\"cookieless\":null,\"occurTime\":null,"
				   "\"autoProperties\":null,\"properties\":null}");
	cr_expect_null(e->kind);
	cr_expect_not(e->has_cookieless);
	cr_expect_null(e->occur_time);
	cr_expect_null(e->properties);
	arena_free(&arena);
	read_fails(BATCH, "{\"events\":[null]}", "events[0]", "null");
	read_fails(EVENT, "{\"autoProperties\":{\"$a\":null}}", "autoProperties[\"$a\"]", "null");
	read_fails(EVENT, "{\"kind\":nul}", "kind", NULL);
	read_fails(EVENT, "{\"kind\":nullx}", NULL, NULL);
}

Test(json_read, presence_of_zero_values)
{
	Events__V1__Event *e = (void *)read_ok(EVENT, "{\"kind\":\"\",\"cookieless\":false}");

	cr_assert(e->kind);
	cr_expect_str_eq(e->kind, "");
	cr_expect(e->has_cookieless);
	arena_free(&arena);
}

Test(json_read, grammar)
{
	static const char *const bad[] = {"", " ", "null", "[]", "{", "}", "{}}", "{} {}", "{},",
		"{,}", "{\"kind\"}", "{\"kind\":}", "{\"kind\":\"a\",}", "{kind:\"a\"}",
		"{'kind':'a'}", "{\"kind\":\"a\" \"name\":\"b\"}", "{\"kind\":\"a}",
		"{\"kind\":\"a\nb\"}", "{\"kind\":\"\x01\"}", "{\"kind\":\"\\x41\"}",
		"{\"kind\":\"\\u12\"}", "{\"kind\":\"\\u12g4\"}", "{\"kind\":\"\\",
		"{\"kind\":\"\\\"", "\xef\xbb\xbf{}", "{/*c*/}", "{\"kind\":\"a\"}//", "\x0c{}",
		"{\"x\":01}", "{\"x\":.5}", "{\"x\":+1}", "{\"x\":1.}", "{\"x\":-}", "{\"x\":1e}",
		"{\"x\":[1,]}", "{\"x\":[,1]}", "{\"x\":[1 2]}", "{\"x\":tru}", "{\"x\":True}",
		"{\"x\":NaN}", "{\"x\":undefined}", "{\"x\":{\"y\":1,}}", "{\"x\":{1:2}}",
		"{\"x\":]}", "{\"x\":\"\\ud800\"}", "{\"x\"::1}", "\"\"", "1", "true"};
	struct json_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		read_fails(EVENT, bad[i], NULL, NULL);
	cr_expect_not(read_n(EVENT, "{}\0", 3, &err));
	arena_free(&arena);
	cr_expect_not(read_n(EVENT, "{\"x\":1\0}", 8, &err));
	arena_free(&arena);
	read_ok(EVENT, "\r\n\t {\n} \n");
	arena_free(&arena);
}

Test(json_read, unknown_fields_are_skipped_but_checked)
{
	Events__V1__Event *e = (void *)read_ok(EVENT,
		"{\"new\":{\"a\":[1,-2.5e3,\"\\u00e9\",null,true,{}],\"b\":{\"c\":[[]]}},\"kind\":\"k\",\"\":1}");

	cr_expect_str_eq(e->kind, "k");
	arena_free(&arena);
	read_fails(EVENT, "{\"new\":{\"a\":1,\"a\":2}}", "[\"new\"]", "twice");
	read_fails(EVENT, "{\"new\":[{\"a\":1,\"\\u0061\":2}]}", NULL, "twice");
	read_fails(EVENT, "{\"new\":1,\"new\":2}", "[\"new\"]", "twice");
	read_fails(EVENT, "{\"new\":\"\xff\"}", NULL, "UTF-8");
}

Test(json_read, duplicates_at_every_level)
{
	read_fails(EVENT, "{\"kind\":\"a\",\"kind\":\"b\"}", "kind", "twice");
	read_fails(EVENT, "{\"kind\":null,\"kind\":\"b\"}", "kind", "twice");
	read_fails(EVENT, "{\"eventId\":\"a\",\"event_id\":\"b\"}", "eventId", "twice");
	read_fails(EVENT, "{\"kind\":\"a\",\"\\u006bind\":\"b\"}", "kind", "twice");
	read_fails(EVENT, "{\"autoProperties\":{\"$a\":{},\"$a\":{}}}", "autoProperties[\"$a\"]",
		"twice");
	read_fails(EVENT, "{\"properties\":{\"a\":1,\"b\":{\"c\":1,\"c\":2}}}",
		"properties[\"b\"][\"c\"]", "twice");
	read_fails(EVENT, "{\"properties\":{\"a\":[{\"b\":1,\"b\":1}]}}",
		"properties[\"a\"][0][\"b\"]", "twice");
}

/* More keys than are compared one by one: the tree must find the same. */
Test(json_read, duplicates_among_many_keys)
{
	static char text[200000];
	size_t n = 0;

	for (int repeat = 0; repeat < 2; repeat++) {
		n = (size_t)snprintf(text, sizeof(text), "{\"properties\":{");
		for (int i = 0; i < 3000; i++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "\"k%d\":1,", i * 7);
		snprintf(text + n, sizeof(text) - n, "\"k%d\":1}}", repeat ? 14 : 1);
		if (repeat)
			read_fails(EVENT, text, "properties[\"k14\"]", "twice");
		else
			read_ok(EVENT, text);
		arena_free(&arena);
	}
}

Test(json_read, keys_that_are_prefixes_of_each_other)
{
	static char text[40000];
	size_t n = (size_t)snprintf(text, sizeof(text), "{\"properties\":{");

	for (int i = 0; i < 200; i++) {
		text[n++] = '"';
		memset(text + n, 'a', (size_t)i);
		n += (size_t)i;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "\":1%s", i < 199 ? "," : "}}");
	}
	read_ok(EVENT, text);
	arena_free(&arena);
}

Test(json_read, oneofs_hold_one_member)
{
	read_fails("common.v1.PropertyValue", "{\"intValue\":1,\"boolValue\":true}", "boolValue",
		"only one");
	read_ok("common.v1.PropertyValue", "{\"intValue\":null,\"boolValue\":true}");
	arena_free(&arena);
	read_ok("common.v1.PropertyValue", "{\"intValue\":1,\"boolValue\":null}");
	arena_free(&arena);
}

static void integer_case(const char *type, const char *text, bool ok, int64_t want)
{
	struct json_error err;
	ProtobufCMessage *m = read_n(type, text, strlen(text), &err);
	int64_t v = 0;

	cr_expect_eq(m != NULL, ok, "%s %s", type, text);
	if (m && ok) {
		const struct pb_field *f = &type_of(type)->fields[0];

		if (pb_elem_size(f) == 8) {
			memcpy(&v, pb_peek(m, f->offset), 8);
		} else {
			int32_t narrow;

			memcpy(&narrow, pb_peek(m, f->offset), 4);
			v = f->type == PB_UINT32 ? (int64_t)(uint32_t)narrow : narrow;
		}
		cr_expect_eq(v, want, "%s %s: %lld", type, text, (long long)v);
	}
	arena_free(&arena);
}

Test(json_read, integers)
{
	static const struct {
		const char *type, *text;
		bool ok;
		int64_t want;
	} t[] = {
		{WRAP("Int32"), "2147483647", true, 2147483647},
		{WRAP("Int32"), "-2147483648", true, INT32_MIN},
		{WRAP("Int32"), "2147483648", false, 0},
		{WRAP("Int32"), "-2147483649", false, 0},
		{WRAP("Int32"), "1.0", true, 1},
		{WRAP("Int32"), "1e3", true, 1000},
		{WRAP("Int32"), "-0", true, 0},
		{WRAP("Int32"), "1.5", false, 0},
		{WRAP("Int32"), "\"12\"", true, 12},
		{WRAP("Int32"), "\" 12\"", false, 0},
		{WRAP("Int32"), "\"\"", false, 0},
		{WRAP("Int32"), "\"1e1\"", true, 10},
		{WRAP("Int32"), "\"0x1\"", false, 0},
		{WRAP("Int32"), "true", false, 0},
		{WRAP("Int32"), "\"NaN\"", false, 0},
		{WRAP("Int32"), "[1]", false, 0},
		{WRAP("UInt32"), "4294967295", true, 4294967295},
		{WRAP("UInt32"), "4294967296", false, 0},
		{WRAP("UInt32"), "-1", false, 0},
		{WRAP("UInt32"), "-0", true, 0},
		{WRAP("Int64"), "9223372036854775807", true, INT64_MAX},
		{WRAP("Int64"), "\"-9223372036854775808\"", true, INT64_MIN},
		{WRAP("Int64"), "9223372036854775808", false, 0},
		{WRAP("Int64"), "1e18", true, 1000000000000000000},
		{WRAP("Int64"), "9007199254740993", true, 9007199254740993},
		{WRAP("UInt64"), "18446744073709551615", true, -1},
		{WRAP("UInt64"), "18446744073709551616", false, 0},
		{WRAP("UInt64"), "-1", false, 0},
		{WRAP("Bool"), "true", true, 1},
		{WRAP("Bool"), "false", true, 0},
		{WRAP("Bool"), "1", false, 0},
		{WRAP("Bool"), "\"true\"", false, 0},
		{WRAP("Bool"), "tru", false, 0},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (strcmp(t[i].type, WRAP("Bool")) == 0 && t[i].ok) {
			Google__Protobuf__BoolValue *b = (void *)read_ok(t[i].type, t[i].text);

			cr_expect_eq(b->value, (int)t[i].want);
			arena_free(&arena);
		} else {
			integer_case(t[i].type, t[i].text, t[i].ok, t[i].want);
		}
	}
}

Test(json_read, doubles_and_floats)
{
	static const struct {
		const char *text;
		bool ok, ok_float;
		double want;
	} t[] = {
		{"0", true, true, 0},
		{"-1.5e3", true, true, -1500},
		{"\"2.5\"", true, true, 2.5},
		{"1e308", true, false, 1e308},
		{"1e309", false, false, 0},
		{"3.4028234e38", true, true, 3.4028234e38},
		{"3.41e38", true, false, 3.41e38},
		{"\"Infinity\"", true, true, (double)INFINITY},
		{"\"-Infinity\"", true, true, -(double)INFINITY},
		{"\"infinity\"", false, false, 0},
		{"\"inf\"", false, false, 0},
		{"Infinity", false, false, 0},
		{"NaN", false, false, 0},
		{"\"\"", false, false, 0},
		{"\" 1\"", false, false, 0},
		{"\".5\"", false, false, 0},
		{"true", false, false, 0},
		{"\"1e400\"", false, false, 0},
	};
	struct json_error err;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		Google__Protobuf__DoubleValue *d =
			(void *)read_n(WRAP("Double"), t[i].text, strlen(t[i].text), &err);
		Google__Protobuf__FloatValue *f;

		cr_expect_eq(d != NULL, t[i].ok, "%s", t[i].text);
		if (d)
			cr_expect(d->value == t[i].want, "%s", t[i].text);
		arena_free(&arena);
		f = (void *)read_n(WRAP("Float"), t[i].text, strlen(t[i].text), &err);
		cr_expect_eq(f != NULL, t[i].ok_float, "float %s", t[i].text);
		if (f)
			cr_expect(f->value == (float)t[i].want, "%s", t[i].text);
		arena_free(&arena);
	}
	cr_expect(
		isnan(((Google__Protobuf__DoubleValue *)(void *)read_ok(WRAP("Double"), "\"NaN\""))
				->value));
	arena_free(&arena);
}

static void string_case(const char *json, const char *want)
{
	Google__Protobuf__StringValue *v = (void *)read_ok(WRAP("String"), json);

	cr_expect_str_eq(v->value, want, "%s", json);
	arena_free(&arena);
}

Test(json_read, strings)
{
	string_case("\"\"", "");
	string_case("\"plain text longer than eight bytes\"", "plain text longer than eight bytes");
	string_case("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
	string_case(
		"\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	string_case(
		"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	string_case("\"abcdefgh\\nijklmnopq\xc3\xa9rst\\u0020uvw\"",
		"abcdefgh\nijklmnopq\xc3\xa9rst uvw");
	string_case("\"\x7f\"", "\x7f");
	read_fails(WRAP("String"), "\"\\ud83d\"", "", "surrogate");
	read_fails(WRAP("String"), "\"\\ud83dx\"", "", "surrogate");
	read_fails(WRAP("String"), "\"\\ud83d\\n\"", "", "surrogate");
	read_fails(WRAP("String"), "\"\\ud83d\\u0041\"", "", "surrogate");
	read_fails(WRAP("String"), "\"\\ude00\"", "", "surrogate");
	read_fails(WRAP("String"), "\"\xff\"", "", "UTF-8");
	read_fails(WRAP("String"), "\"\xc0\x80\"", "", "UTF-8");
	read_fails(WRAP("String"), "\"\xed\xa0\x80\"", "", "UTF-8");
	read_fails(WRAP("String"), "\"abcdefghi\xe2\x82\"", "", "UTF-8");
	read_fails(WRAP("String"), "\"\xf4\x90\x80\x80\"", "", "UTF-8");
	read_fails(WRAP("String"), "\"\xe2\\n\x82\xac\"", "", "UTF-8");
	read_fails(WRAP("String"), "\"a\\u0000b\"", "", "U+0000");
	read_fails(WRAP("String"), "1", "", "string");
}

/* A stop byte at each place of the eight that are looked at together. */
Test(json_read, strings_of_every_length)
{
	char text[64], want[64];

	for (size_t n = 0; n < 40; n++) {
		text[0] = '"';
		memset(text + 1, 'x', n);
		memcpy(text + 1 + n, "\\t\"", 4);
		memset(want, 'x', n);
		memcpy(want + n, "\t", 2);
		string_case(text, want);
		memcpy(text + 1 + n, "\xc3\xa9\"", 4);
		memcpy(want + n, "\xc3\xa9", 3);
		string_case(text, want);
		memcpy(text + 1 + n, "\x1f\"", 3);
		read_fails(WRAP("String"), text, "", "control");
		memcpy(text + 1 + n, "\x80\"", 3);
		read_fails(WRAP("String"), text, "", "UTF-8");
	}
}

Test(json_read, no_nul_in_any_string)
{
	read_fails(EVENT, "{\"kind\":\"a\\u0000\"}", "kind", "U+0000");
	read_fails(EVENT, "{\"properties\":{\"a\":\"\\u0000\"}}", "properties[\"a\"]", "U+0000");
	read_fails(EVENT, "{\"properties\":{\"\\u0000\":1}}", NULL, "U+0000");
	read_fails(EVENT, "{\"autoProperties\":{\"$a\\u0000\":{}}}", NULL, "U+0000");
	/* a key that ends like a field's name, but for a NUL */
	read_ok(EVENT, "{\"kind\\u0000x\":1}");
	arena_free(&arena);
}

Test(json_read, bytes)
{
	Google__Protobuf__BytesValue *v = (void *)read_ok(WRAP("Bytes"), "\"AAH_\"");

	cr_expect(v->value.len == 3 && memcmp(v->value.data, "\x00\x01\xff", 3) == 0);
	arena_free(&arena);
	v = (void *)read_ok(WRAP("Bytes"), "\"\"");
	cr_expect_eq(v->value.len, 0);
	arena_free(&arena);
	read_fails(WRAP("Bytes"), "\"A\"", "", "base64");
	read_fails(WRAP("Bytes"), "\"A A=\"", "", "base64");
}

Test(json_read, enums)
{
	static const char type[] = "insights.v1.QueryRequest";

	round_trip(type, "{\"granularity\":\"GRANULARITY_DAY\"}", NULL);
	round_trip(type, "{\"granularity\":3}", "{\"granularity\":\"GRANULARITY_DAY\"}");
	round_trip(type, "{\"granularity\":3.0}", "{\"granularity\":\"GRANULARITY_DAY\"}");
	round_trip(type, "{\"granularity\":77}", NULL);
	round_trip(type, "{\"granularity\":-1}", NULL);
	read_fails(type, "{\"granularity\":\"day\"}", "granularity",
		"not a value of insights.v1.Granularity");
	read_fails(type, "{\"granularity\":\"3\"}", "granularity", NULL);
	read_fails(type, "{\"granularity\":2147483648}", "granularity", "range");
	read_fails(type, "{\"granularity\":true}", "granularity", NULL);
}

Test(json_read, struct_value_list)
{
	Google__Protobuf__Value *v = (void *)read_ok(VALUE, "null");

	cr_expect_eq(v->kind_case, GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE);
	arena_free(&arena);
	round_trip(VALUE, "[null,true,false,1,1.5,\"x\",{},[],{\"a\":{\"b\":[null]}}]", NULL);
	round_trip("google.protobuf.Struct", "{\"a\":null}", NULL);
	round_trip("google.protobuf.ListValue", "[1,[2]]", NULL);
	read_fails(VALUE, "1e400", "", "range");
	read_fails(VALUE, "NaN", "", NULL);
	read_fails(VALUE, "", NULL, "empty");
	v = (void *)read_ok(VALUE, "\"NaN\"");
	cr_expect_eq(v->kind_case, GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE);
	arena_free(&arena);
}

Test(json_read, well_known_types)
{
	round_trip("google.protobuf.Timestamp", "\"2026-01-02T03:04:05.600Z\"", NULL);
	round_trip("google.protobuf.Duration", "\"-1.500s\"", NULL);
	round_trip("google.protobuf.FieldMask", "\"a.bC,d\"", NULL);
	round_trip("google.protobuf.FieldMask", "\"\"", NULL);
	round_trip("google.protobuf.Empty", "{\"x\":1}", "{}");
	round_trip("insights.v1.InsightQuerySpec", "{\"conversionWindow\":\"60s\"}", NULL);
	read_fails("google.protobuf.Timestamp", "1", "", "string");
	read_fails("google.protobuf.Timestamp", "\"yesterday\"", "", "RFC 3339");
	read_fails("google.protobuf.FieldMask", "\"a_b\"", "", "lowerCamelCase");
	read_fails("google.protobuf.FieldMask", "\"a,,b\"", "", NULL);
	read_fails(EVENT, "{\"occurTime\":\"x\"}", "occurTime", "RFC 3339");
}

Test(json_read, any)
{
	static const char type[] = "google.protobuf.Any";

	round_trip(type, "{}", NULL);
	round_trip(
		type, "{\"@type\":\"type.googleapis.com/events.v1.Event\",\"kind\":\"k\"}", NULL);
	round_trip(type,
		"{\"kind\":\"k\",\"unknown\":[{}],\"@type\":\"type.googleapis.com/events.v1.Event\"}",
		"{\"@type\":\"type.googleapis.com/events.v1.Event\",\"kind\":\"k\"}");
	round_trip(type, "{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"1s\"}", NULL);
	round_trip(type, "{\"value\":\"1s\",\"@type\":\"x/google.protobuf.Duration\"}",
		"{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"1s\"}");
	round_trip(type,
		"{\"@type\":\"x/google.protobuf.Any\",\"value\":{\"@type\":\"x/google.protobuf.Int32Value\","
		"\"value\":5}}",
		NULL);
	read_fails(type, "{\"kind\":\"k\"}", "", "@type");
	read_fails(type, "{\"@type\":\"x/no.such.Type\"}", "", "not known");
	round_trip(type, "{\"@type\":\"events.v1.Event\"}", NULL);
	read_fails(type, "{\"@type\":1}", "", "string");
	read_fails(type, "{\"@type\":\"x/events.v1.Event\",\"@type\":\"x/events.v1.Event\"}", NULL,
		"twice");
	read_fails(type,
		"{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"1s\",\"value\":\"1s\"}", "",
		"once");
	read_fails(type, "{\"@type\":\"x/google.protobuf.Duration\"}", "", "value");
	read_fails(type, "{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"1m\"}", "value",
		"duration");
}

static void nested(char *out, size_t depth)
{
	memset(out, '[', depth);
	memset(out + depth, ']', depth);
	out[depth * 2] = 0;
}

Test(json_read, depth_is_bounded)
{
	static char text[400000];

	nested(text, 100);
	round_trip(VALUE, text, NULL);
	nested(text, 101);
	read_fails(VALUE, text, NULL, "nested");
	memcpy(text, "{\"x\":", 5);
	nested(text + 5, 99);
	memcpy(text + 5 + 198, "}", 2);
	read_ok(EVENT, text);
	arena_free(&arena);
	nested(text + 5, 100);
	memcpy(text + 5 + 200, "}", 2);
	read_fails(EVENT, text, NULL, "nested");
	memset(text, '[', sizeof(text) - 1);
	read_fails(VALUE, text, NULL, "nested");
}

static void *deepest(void *unused)
{
	static char text[1000];
	size_t n = 0;

	for (int i = 0; i < 99; i++, n += 5)
		memcpy(text + n, "{\"a\":", 5);
	text[n++] = '1';
	memset(text + n, '}', 99);
	round_trip(VALUE, text, NULL);
	read_ok(EVENT, text); /* "a" is no field of it: skipped */
	arena_free(&arena);
	(void)unused;
	return NULL;
}

/* A call's stack has 256 KiB (D80), and the reader is not alone on it. */
Test(json_read, depth_fits_a_small_stack)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	cr_assert_eq(pthread_attr_setstacksize(&attr, 256 << 10), 0);
	cr_assert_eq(pthread_create(&thread, &attr, deepest, NULL), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
}

/* 4 MB of the cheapest elements must not take more than the arena gives. */
Test(json_read, memory_is_capped)
{
	size_t size = (size_t)4 << 20, n;
	char *text = malloc(size);
	struct json_error err = {0};
	ProtobufCMessage *msg;

	cr_assert(text);
	n = (size_t)snprintf(text, size, "{\"events\":[{}");
	while (n < size - 8) {
		memcpy(text + n, ",{}", 3);
		n += 3;
	}
	memcpy(text + n, "]}", 2);
	arena_init(&arena, (size_t)32 << 20);
	cr_expect_eq(json_read(type_of(BATCH), (struct str){text, n + 2}, &arena, &msg, &err), -1);
	cr_expect(err.memory);
	cr_expect_leq(arena.held, (size_t)33 << 20);
	arena_free(&arena);
	free(text);
}

/* No prefix of a good text may be read, or read beyond its end. */
Test(json_read, every_prefix_is_refused)
{
	static const char text[] =
		"{\"events\":[{\"kind\":\"a\\u00e9\xc3\xa9\",\"occurTime\":\"2026-01-01T00:00:00Z\","
		"\"properties\":{\"a\":[1.5e3,null,true,false]},\"z\":{\"q\":-0}}]}";
	struct json_error err;

	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		cr_expect_not(read_n(BATCH, text, n, &err), "%zu", n);
		cr_expect_leq(err.offset, n);
		arena_free(&arena);
	}
	cr_expect(read_n(BATCH, text, sizeof(text) - 1, &err), "%s", err.reason);
	arena_free(&arena);
}

Test(json_read, errors_say_where)
{
	read_fails(BATCH, "{\"events\":[{},{\"occurTime\":1}]}", "events[1].occurTime", "string");
	read_fails(BATCH, "{\"events\":{}}", "events", "list");
	read_fails(BATCH, "{\"events\":[1]}", "events[0]", "object");
	read_fails(BATCH, "{\"events\":[{\"customProperties\":{\"a\":{\"intValue\":\"x\"}}}]}",
		"events[0].customProperties[\"a\"].intValue", "number");
	read_fails(EVENT, "{\"properties\":{\"a\":[1,{\"b\":[true,\"\xff\"]}]}}",
		"properties[\"a\"][1][\"b\"][1]", "UTF-8");
}

Test(json_read, map_keys_of_every_type)
{
	struct json_error err;
	struct json_reader r = {.a = &arena, .err = &err};
	struct pb_field f = {.name = "key", .json_name = "key", .number = 1, .label = PB_OPTIONAL};
	int64_t wide = 0;
	int32_t narrow = 0;

	f.type = PB_INT64;
	cr_expect(json_map_key(&r, &f, STR("-5"), &wide) && wide == -5);
	cr_expect_not(json_map_key(&r, &f, STR("x"), &wide));
	cr_expect_not(json_map_key(&r, &f, STR(""), &wide));
	f.type = PB_FIXED32;
	cr_expect(json_map_key(&r, &f, STR("7"), &narrow) && narrow == 7);
	cr_expect_not(json_map_key(&r, &f, STR("-7"), &narrow));
	f.type = PB_BOOL;
	cr_expect(json_map_key(&r, &f, STR("true"), &narrow) && narrow == 1);
	cr_expect(json_map_key(&r, &f, STR("false"), &narrow) && narrow == 0);
	cr_expect_not(json_map_key(&r, &f, STR("1"), &narrow));
}
