/* Rules of single fields, and how violations are told. */
#include "codec.h"
#include "proto/access.h"
#include "proto/google/rpc/error_details.pb-c.h"
#include "proto/validate.h"

static struct pb_check check;

/* Reads json and checks it; the arena lives until free_check(). */
static void run(const char *type, const char *json)
{
	const ProtobufCMessage *msg = read_ok(type, json);

	pb_check_init(&check, &arena);
	validate_message(&check, type_of(type), msg);
	cr_assert_not(check.memory);
}

static void passes(const char *type, const char *json)
{
	run(type, json);
	cr_expect_eq(check.n, 0, "%.200s: %s %s", json, check.first ? check.first->path : "",
		check.first ? check.first->text : "");
	arena_free(&arena);
}

/* Exactly one violation, at path; word is part of its text. */
static void fails(const char *type, const char *json, const char *path, const char *word)
{
	run(type, json);
	cr_expect_eq(check.n, 1, "%.200s: %u violations", json, check.n);
	if (check.first) {
		cr_expect_str_eq(check.first->path, path, "%.200s: %s", json, check.first->path);
		cr_expect(strstr(check.first->text, word), "%.200s: %s", json, check.first->text);
	}
	arena_free(&arena);
}

#define FILTER "common.v1.EventFilter"

Test(validate, email)
{
	static const char *const yes[] = {"a@b", "a.b+c@example.com", "!#$%&'*+/=?^_`{|}~-@x",
		".a.@x-y.z", "a@1.2.3.4",
		"a@012345678901234567890123456789012345678901234567890123456789012"};
	static const char *const no[] = {"", "@", "a", "a@", "@b", "a b@c", "a@b c", "a@-b", "a@b-",
		"a@b..c", "a@.b", "a@b.", "a@b@c", "\xc3\xa9@x", "a@\xc3\xa9", "a(b)@c", "a@b\n",
		"a,b@c", "a@0123456789012345678901234567890123456789012345678901234567890123",
		"a@b_c", "\"a\"@b"};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		cr_expect(valid_email(str_of(yes[i])), "%s", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		cr_expect_not(valid_email(str_of(no[i])), "%s", no[i]);
	cr_expect_not(valid_email((struct str){"a\0@b", 4}));
}

Test(validate, https)
{
	static const char *const yes[] = {"https://a", "https://a.example/x?y#z", "HTTPS://A/",
		"https://[::1]/", "https://\xc3\xa9.example/", "https://a:8443/p%20q"};
	static const char *const no[] = {"", "https://", "http://a", "//a", "https:/a",
		"https://a b", "https://a\n", "https:///x", "https://?x", "javascript:alert(1)",
		"https://a\"b", "https://a<b", " https://a", "https://a\\b"};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		cr_expect(valid_https(str_of(yes[i])), "%s", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		cr_expect_not(valid_https(str_of(no[i])), "%s", no[i]);
}

Test(validate, patterns_match_the_whole_string)
{
	passes(FILTER, "{\"kind\":\"page_view.v-1\"}");
	passes(FILTER, "{\"kind\":\"\"}");
	passes(FILTER, "{}");
	fails(FILTER, "{\"kind\":\"page view\"}", "kind", "kind must match");
	fails(FILTER, "{\"kind\":\"a\\n\"}", "kind", "must match");
	fails(FILTER, "{\"kind\":\"\xc3\xa9\"}", "kind", "must match");
	passes(FILTER, "{\"filters\":[{\"property\":\"$a.b-c\",\"operator\":5}]}");
	fails(FILTER, "{\"filters\":[{\"property\":\"a..b\",\"operator\":5}]}",
		"filters[0].property", "match");
	fails(FILTER, "{\"filters\":[{\"property\":\"a.\",\"operator\":5}]}", "filters[0].property",
		"match");
	fails(FILTER, "{\"filters\":[{\"property\":\"a$\",\"operator\":5}]}", "filters[0].property",
		"match");
}

Test(validate, required_means_present_and_not_empty)
{
	fails(FILTER, "{\"filters\":[{\"operator\":5}]}", "filters[0].property",
		"property is required");
	fails(FILTER, "{\"filters\":[{\"property\":\"\",\"operator\":5}]}", "filters[0].property",
		"property is required");
	fails("common.v1.TimeRange", "{\"from\":\"2026-01-01T00:00:00Z\"}", "to", "to is required");
	fails("profiles.v1.IdentifyRequest", "{\"externalId\":\"\"}", "external_id",
		"external_id is required");
}

Test(validate, enums)
{
	fails(FILTER, "{\"filters\":[{\"property\":\"a\"}]}", "filters[0].operator",
		"operator is required");
	fails(FILTER, "{\"filters\":[{\"property\":\"a\",\"operator\":0}]}", "filters[0].operator",
		"must not be FILTER_OPERATOR_UNSPECIFIED");
	fails(FILTER, "{\"filters\":[{\"property\":\"a\",\"operator\":99}]}", "filters[0].operator",
		"99");
	fails(FILTER, "{\"filters\":[{\"property\":\"a\",\"operator\":5,\"source\":9}]}",
		"filters[0].source", "9");
	passes(FILTER, "{\"filters\":[{\"property\":\"a\",\"operator\":5,\"source\":0}]}");
}

Test(validate, lengths_count_code_points)
{
	static char text[8000];
	size_t n;

	for (size_t chars = 1024; chars <= 1025; chars++) {
		n = (size_t)snprintf(text, sizeof(text), "{\"stringValue\":\"");
		for (size_t i = 0; i < chars; i++, n += 2)
			memcpy(text + n, "\xc3\xa9", 2);
		memcpy(text + n, "\"}", 3);
		if (chars == 1024)
			passes("common.v1.PropertyValue", text);
		else
			fails("common.v1.PropertyValue", text, "string_value",
				"at most 1024 characters");
	}
}

Test(validate, oneofs_and_numbers)
{
	passes("common.v1.PropertyValue", "{\"intValue\":0}");
	fails("common.v1.PropertyValue", "{}", "value", "value is required");
	fails("common.v1.PropertyValue", "{\"doubleValue\":\"NaN\"}", "double_value", "finite");
	fails("common.v1.PropertyValue", "{\"doubleValue\":\"-Infinity\"}", "double_value",
		"finite");
	fails("insights.v1.UserFlowQuery", "{\"maxHops\":11}", "max_hops", "between 0 and 10");
	fails("insights.v1.UserFlowQuery", "{\"maxHops\":-1}", "max_hops", "between 0 and 10");
	passes("insights.v1.UserFlowQuery", "{\"maxHops\":10,\"maxNodes\":50,\"maxLinks\":500}");
}

Test(validate, maps_and_lists)
{
	static const char event[] =
		"{\"kind\":\"k\",\"distinctId\":\"d\",\"name\":null,\"sessionId\":"
		"\"0190b5a4-0000-7000-8000-000000000001\",\"%s\":{\"%s\":{\"boolValue\":true}}}";
	static char text[100000];
	size_t n;

	snprintf(text, sizeof(text), event, "autoProperties", "$x");
	passes("events.v1.Event", text);
	snprintf(text, sizeof(text), event, "autoProperties", "x");
	fails("events.v1.Event", text, "auto_properties", "\"x\"");
	snprintf(text, sizeof(text), event, "autoProperties", "");
	fails("events.v1.Event", text, "auto_properties", "\"\"");
	snprintf(text, sizeof(text), event, "customProperties", "");
	passes("events.v1.Event", text);
	snprintf(text, sizeof(text), event, "customProperties", "$x");
	fails("events.v1.Event", text, "custom_properties", "$x");
	n = (size_t)snprintf(text, sizeof(text), "{\"events\":[");
	for (int i = 0; i < 1001; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
			"{\"name\":\"k\",\"distinctId\":\"d\"}%s", i < 1000 ? "," : "]}");
	fails("events.v1.BatchCreateRequest", text, "events", "at most 1000 elements");
}

/* Events that share an entry (proto/wire_read.c) are each told what is wrong with it. */
Test(validate, shared_entries)
{
	/* kind "k", distinct_id "d", auto_properties {"$x": true}; the same with the key "xx" */
	static const char good[] = "\x2a\x01k\x22\x01"
				   "d\x12\x08\x0a\x02$x\x12\x02\x20\x01";
	static const char bad[] = "\x2a\x01k\x22\x01"
				  "d\x12\x08\x0a\x02xx\x12\x02\x20\x01";
	struct wire_error err;
	ProtobufCMessage *msg;
	struct buf bytes;
	unsigned told = 0;

	buf_init(&bytes, NULL);
	for (int i = 0; i < 200; i++) {
		const char *event = i % 10 == 3 ? bad : good;

		buf_c(&bytes, 0x0a);
		buf_c(&bytes, sizeof(good) - 1);
		buf_add(&bytes, event, sizeof(good) - 1);
	}
	arena_init(&arena, (size_t)32 << 20);
	cr_assert_eq(pb_unpack(type_of("events.v1.BatchCreateRequest"),
			     (struct str){bytes.p, bytes.n}, &arena, &msg, &err),
		0);
	pb_check_init(&check, &arena);
	check.private_key = true;
	validate_message(&check, type_of("events.v1.BatchCreateRequest"), msg);
	cr_expect_eq(check.n, 20);
	for (const struct pb_violation *v = check.first; v; v = v->next, told++) {
		char want[64];

		snprintf(want, sizeof(want), "events[%u].auto_properties", told * 10 + 3);
		cr_expect_str_eq(v->path, want);
	}
	cr_expect_eq(told, 20);
	buf_free(&bytes);
	arena_free(&arena);
}

Test(validate, times_that_have_no_text)
{
	struct pb_check c;
	struct wire_error err;
	ProtobufCMessage *msg;
	/* from.seconds = -1 in range, to.nanos = -1 */
	static const char bytes[] =
		"\x0a\x02\x08\x05\x12\x0d\x08\x06\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";

	arena_init(&arena, 1 << 20);
	cr_assert_eq(pb_unpack(type_of("common.v1.TimeRange"),
			     (struct str){bytes, sizeof(bytes) - 1}, &arena, &msg, &err),
		0, "%s", err.reason);
	pb_check_init(&c, &arena);
	validate_message(&c, type_of("common.v1.TimeRange"), msg);
	cr_assert_eq(c.n, 1);
	cr_expect_str_eq(c.first->path, "to");
	arena_free(&arena);
}

Test(validate, everything_wrong_is_told)
{
	struct buf text, bad;
	struct wire_error err;
	ProtobufCMessage *m;
	Google__Rpc__BadRequest *r;

	run("events.v1.BatchCreateRequest",
		"{\"events\":[{\"name\":\"ok\",\"distinctId\":\"d\"},"
		"{\"name\":\"not ok\",\"distinctId\":\"d\",\"customProperties\":{\"a\":{}}}]}");
	cr_assert_eq(check.n, 2);
	buf_init(&text, &arena);
	buf_init(&bad, &arena);
	pb_check_text(&check, &text);
	buf_c(&text, 0);
	cr_expect(strncmp(text.p, "validation errors:\n - ", 22) == 0, "%s", text.p);
	cr_expect(strstr(text.p, "\n - events[1].name: name must match"), "%s", text.p);
	cr_expect(
		strstr(text.p, "\n - events[1].custom_properties[\"a\"].value: value is required"),
		"%s", text.p);
	pb_check_bad_request(&check, &bad);
	cr_assert_eq(pb_unpack(type_of("google.rpc.BadRequest"), (struct str){bad.p, bad.n}, &arena,
			     &m, &err),
		0);
	r = (void *)m;
	cr_assert_eq(r->n_field_violations, 2);
	cr_expect_str_eq(r->field_violations[0]->field, "events.custom_properties.value");
	cr_expect_str_eq(r->field_violations[1]->field, "events.name");
	cr_expect_str_eq(r->field_violations[1]->description, check.first->next->text);
	arena_free(&arena);
}

Test(validate, one_violation_is_one_line)
{
	struct buf text;

	run(FILTER, "{\"kind\":\"a b\"}");
	buf_init(&text, &arena);
	pb_check_text(&check, &text);
	cr_expect(str_starts(
		(struct str){text.p, text.n}, STR("validation error: kind: kind must match ")));
	arena_free(&arena);
}

Test(validate, violations_are_capped_and_counted)
{
	static char json[20000];
	size_t n = (size_t)snprintf(json, sizeof(json), "{\"filters\":["), kept = 0;
	struct buf text;

	for (int i = 0; i < 100; i++)
		n += (size_t)snprintf(
			json + n, sizeof(json) - n, "{\"operator\":5}%s", i < 99 ? "," : "]}");
	run(FILTER, json);
	cr_expect_eq(check.n, 100);
	for (const struct pb_violation *v = check.first; v; v = v->next)
		kept++;
	cr_expect_eq(kept, PB_MAX_VIOLATIONS);
	buf_init(&text, &arena);
	pb_check_text(&check, &text);
	buf_c(&text, 0);
	cr_expect(strstr(text.p, "and 36 more"));
	arena_free(&arena);
}

/* Clients' keys are quoted in texts: cut, but never within a character. */
Test(validate, texts_are_valid_utf8)
{
	static char json[4000];
	size_t n = (size_t)snprintf(
		json, sizeof(json), "{\"name\":\"k\",\"distinctId\":\"d\",\"autoProperties\":{\"a");

	for (int i = 0; i < 100; i++, n += 2)
		memcpy(json + n, "\xc3\xa9", 2);
	snprintf(json + n, sizeof(json) - n, "\":{}}}");
	run("events.v1.Event", json);
	cr_expect_eq(check.n, 2);
	for (const struct pb_violation *v = check.first; v; v = v->next)
		cr_expect(str_utf8_ok(str_of(v->text)) && str_utf8_ok(str_of(v->path)), "%s",
			v->path);
	arena_free(&arena);
}
