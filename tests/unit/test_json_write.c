/* Writing proto3 JSON: presence, forms of values, safety of strings. */
#include <math.h>

#include "codec.h"
#include "proto/events/v1/events.pb-c.h"
#include "proto/insights/v1/insights.pb-c.h"
#include "proto/google/protobuf/any.pb-c.h"
#include "proto/google/protobuf/wrappers.pb-c.h"
#include "proto/projects/v1/projects.pb-c.h"

static void string_is(const char *s, size_t n, const char *want)
{
	struct buf b = {0};

	json_write_string(&b, (struct str){s, n});
	cr_expect(
		str_eq((struct str){b.p, b.n}, str_of(want)), "%.*s, want %s", (int)b.n, b.p, want);
	buf_free(&b);
}

Test(json_write, strings_are_safe_everywhere)
{
	string_is("", 0, "\"\"");
	string_is("plain", 5, "\"plain\"");
	string_is("\"\\/", 3, "\"\\\"\\\\/\"");
	string_is("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
	string_is("\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\\u007f\"");
	string_is("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
		"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
	string_is("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", 9, "\"\\u2028\\u2029\xe2\x80\xaa\"");
	string_is("a\xff"
		  "b",
		3,
		"\"a\xef\xbf\xbd"
		"b\"");
	string_is("\xc3", 1, "\"\xef\xbf\xbd\"");
	string_is("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* auth.md 1.6: what a server sets is written, empty or not. */
Test(json_write, present_fields_only)
{
	Projects__V1__Project p = PROJECTS__V1__PROJECT__INIT;
	char empty[] = "", id[] = "x";

	arena_init(&arena, 1 << 20);
	cr_expect_str_eq(write_json("projects.v1.Project", &p.base), "{}");
	p.id = id;
	p.reporting_timezone = empty;
	cr_expect_str_eq(write_json("projects.v1.Project", &p.base),
		"{\"id\":\"x\",\"reportingTimezone\":\"\"}");
	arena_free(&arena);
}

Test(json_write, zero_numbers_and_maps)
{
	Events__V1__BatchCreateResponse r = EVENTS__V1__BATCH_CREATE_RESPONSE__INIT;
	Events__V1__BatchCreateResponse__DroppedByReasonEntry
		e = EVENTS__V1__BATCH_CREATE_RESPONSE__DROPPED_BY_REASON_ENTRY__INIT,
		*list[] = {&e};
	char key[] = "salt\"";

	arena_init(&arena, 1 << 20);
	r.has_accepted = r.has_dropped = 1;
	r.dropped = UINT32_MAX;
	cr_expect_str_eq(write_json("events.v1.BatchCreateResponse", &r.base),
		"{\"accepted\":0,\"dropped\":4294967295}");
	e.key = key;
	e.has_value = 1;
	e.value = 3;
	r.n_dropped_by_reason = 1;
	r.dropped_by_reason = list;
	cr_expect_str_eq(write_json("events.v1.BatchCreateResponse", &r.base),
		"{\"accepted\":0,\"dropped\":4294967295,\"droppedByReason\":{\"salt\\\"\":3}}");
	arena_free(&arena);
}

Test(json_write, wide_integers_are_strings)
{
	round_trip("google.protobuf.Int64Value", "\"-9223372036854775808\"", NULL);
	round_trip("google.protobuf.UInt64Value", "\"18446744073709551615\"", NULL);
	round_trip("google.protobuf.Int32Value", "-5", NULL);
	round_trip("google.protobuf.UInt32Value", "4294967295", NULL);
	round_trip("google.protobuf.BoolValue", "true", NULL);
	round_trip("google.protobuf.BoolValue", "false", NULL);
	round_trip("google.protobuf.StringValue", "\"\"", NULL);
	round_trip("google.protobuf.BytesValue", "\"AAH/\"", NULL);
	round_trip("google.protobuf.BytesValue", "\"AA\"", "\"AA==\"");
	round_trip("google.protobuf.BytesValue", "\"\"", NULL);
}

Test(json_write, doubles)
{
	round_trip("google.protobuf.DoubleValue", "0.1", NULL);
	round_trip("google.protobuf.DoubleValue", "-0", "0");
	round_trip("google.protobuf.DoubleValue", "1e21", NULL);
	round_trip("google.protobuf.DoubleValue", "1e-7", NULL);
	round_trip("google.protobuf.DoubleValue", "\"NaN\"", NULL);
	round_trip("google.protobuf.DoubleValue", "\"Infinity\"", NULL);
	round_trip("google.protobuf.DoubleValue", "\"-Infinity\"", NULL);
	round_trip("google.protobuf.FloatValue", "0.1", NULL);
	round_trip("google.protobuf.FloatValue", "16777216", NULL);
}

Test(json_write, nested_messages_and_lists)
{
	round_trip("insights.v1.QueryResponse",
		"{\"trends\":{\"series\":[{\"eventKind\":\"a\",\"breakdown\":{\"$c\":\"x\"},"
		"\"points\":[{\"time\":\"2026-01-01T00:00:00Z\",\"value\":1.5},{\"value\":0}]}]}}",
		NULL);
	round_trip("insights.v1.QueryResponse", "{\"segmentation\":{\"total\":0}}", NULL);
	round_trip("insights.v1.QueryResponse", "{\"trends\":{}}", NULL);
}

Test(json_write, what_has_no_json_form)
{
	Google__Protobuf__Timestamp late = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Google__Protobuf__Value number = GOOGLE__PROTOBUF__VALUE__INIT;
	Google__Protobuf__Any any;
	char url[] = "x/no.such.Type";

	arena_init(&arena, 1 << 20);
	google__protobuf__any__init(&any);
	late.seconds = INT64_MAX;
	cr_expect_null(write_json("google.protobuf.Timestamp", &late.base));
	cr_expect_str_eq(write_json("google.protobuf.Value", &number.base), "null");
	number.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
	number.number_value = (double)NAN;
	cr_expect_null(write_json("google.protobuf.Value", &number.base));
	any.type_url = url;
	cr_expect_null(write_json("google.protobuf.Any", &any.base));
	arena_free(&arena);
}

/* An Any in an Any costs few bytes a level, so nesting must end somewhere. */
Test(json_write, nested_anys_are_bounded)
{
	static const char inner[] = "x/google.protobuf.Any";
	Google__Protobuf__Any any;
	char url[sizeof(inner)];
	struct buf b;

	google__protobuf__any__init(&any);
	memcpy(url, inner, sizeof(inner));
	any.type_url = url;
	arena_init(&arena, (size_t)32 << 20);
	for (int i = 0; i < 1000; i++) {
		buf_init(&b, &arena);
		pb_pack(&any.base, &b);
		cr_assert_not(b.over);
		any.value.data = (uint8_t *)b.p;
		any.value.len = b.n;
	}
	cr_expect_null(write_json("google.protobuf.Any", &any.base));
	arena_free(&arena);
}

Test(json_write, output_beyond_the_cap_fails)
{
	Projects__V1__Project p = PROJECTS__V1__PROJECT__INIT;
	struct arena small;
	struct buf b;
	char *long_name = calloc(1, 100001);

	cr_assert(long_name);
	memset(long_name, 'x', 100000);
	p.display_name = long_name;
	arena_init(&small, 10000);
	buf_init(&b, &small);
	cr_expect_eq(json_write(type_of("projects.v1.Project"), &p.base, &b), -1);
	arena_free(&small);
	free(long_name);
}
