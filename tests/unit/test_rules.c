/* Rules over several fields: each row is a request and what is wrong with it. */
#include <time.h>

#include "codec.h"
#include "proto/validate.h"
#include "shm/base/clock.h"

/* Violations as "path, path, ..." in order; private_key as the caller says. */
static const char *paths(const char *type, const char *json, bool private_key)
{
	const ProtobufCMessage *msg = read_ok(type, json);
	struct pb_check check;
	struct buf b;

	pb_check_init(&check, &arena);
	check.private_key = private_key;
	validate_message(&check, type_of(type), msg);
	buf_init(&b, &arena);
	for (const struct pb_violation *v = check.first; v; v = v->next)
		buf_printf(&b, "%s%s", v == check.first ? "" : ",", *v->path ? v->path : "-");
	if (check.reason)
		buf_printf(&b, " %s", check.reason);
	buf_c(&b, 0);
	return b.p;
}

static void wrong(const char *type, const char *json, const char *want)
{
	const char *got = paths(type, json, false);

	cr_expect_str_eq(got, want, "%s: %s, want %s", json, got, want);
	arena_free(&arena);
}

#define EVENT   "events.v1.Event"
#define BATCH   "events.v1.BatchCreateRequest"
#define UUID1   "0190b5a4-0000-7000-8000-000000000001"
#define SESSION "\"sessionId\":\"" UUID1 "\""
#define WHO     "\"distinctId\":\"d\"," SESSION

Test(rules, kind_or_name)
{
	wrong(EVENT, "{\"kind\":\"k\"," WHO "}", "");
	wrong(EVENT, "{\"name\":\"k\"," WHO "}", "");
	wrong(EVENT, "{" WHO "}", "kind");
	wrong(EVENT, "{\"kind\":\"k\",\"name\":\"k\"," WHO "}", "name");
	wrong(EVENT, "{\"kind\":\"\"," WHO "}", "kind");
	wrong(EVENT, "{\"name\":\"a b\"," WHO "}", "name");
	wrong(EVENT, "{\"kind\":\"k\",\"eventId\":\"x\"," WHO "}", "event_id");
	wrong(EVENT,
		"{\"kind\":\"k\",\"eventId\":\"00000000-0000-0000-0000-000000000000\"," WHO "}",
		"");
}

Test(rules, who_and_which_session)
{
	static const char zero[] = "\"sessionId\":\"00000000-0000-0000-0000-000000000000\"";
	char json[300];

	wrong(EVENT, "{\"kind\":\"k\"}", "distinct_id,session_id");
	wrong(EVENT, "{\"kind\":\"k\",\"distinctId\":\"\"," SESSION "}", "distinct_id");
	wrong(EVENT, "{\"kind\":\"k\",\"distinctId\":\"d\"}", "session_id");
	wrong(EVENT, "{\"name\":\"k\",\"distinctId\":\"d\"}", "");
	snprintf(json, sizeof(json), "{\"kind\":\"k\",\"distinctId\":\"d\",%s}", zero);
	wrong(EVENT, json, "session_id");
	cr_expect_str_eq(paths(EVENT, json, true), "");
	arena_free(&arena);
	cr_expect_str_eq(paths(EVENT, "{\"kind\":\"k\",\"distinctId\":\"d\"}", true), "");
	arena_free(&arena);
	wrong(EVENT, "{\"kind\":\"k\",\"distinctId\":\"cookieless-1\"," SESSION "}", "distinct_id");
	wrong(EVENT, "{\"kind\":\"k\",\"distinctId\":\"Cookieless-1\"," SESSION "}", "");
	wrong(EVENT, "{\"kind\":\"k\",\"distinctId\":\"d\",\"sessionId\":\"x\"}", "session_id");
}

Test(rules, cookieless_events_name_nobody)
{
	wrong(EVENT, "{\"kind\":\"k\",\"cookieless\":true}", "");
	wrong(EVENT, "{\"kind\":\"k\",\"cookieless\":true,\"distinctId\":\"\"}", "");
	wrong(EVENT, "{\"kind\":\"k\",\"cookieless\":true,\"distinctId\":\"d\"}", "distinct_id");
	wrong(EVENT, "{\"kind\":\"k\",\"cookieless\":true," SESSION "}", "session_id");
	wrong(EVENT, "{\"kind\":\"k\",\"cookieless\":true,\"sessionId\":\"\"}", "session_id");
	wrong(EVENT, "{\"kind\":\"k\",\"cookieless\":false}", "distinct_id,session_id");
}

Test(rules, when)
{
	int64_t now = clock_real_ms() / 1000;
	char json[300];

	wrong(EVENT, "{\"kind\":\"k\",\"occurTime\":\"2000-01-01T00:00:00Z\"," WHO "}", "");
	wrong(EVENT, "{\"kind\":\"k\",\"occurTime\":\"1999-12-31T23:59:59.999Z\"," WHO "}",
		"occur_time");
	wrong(EVENT, "{\"kind\":\"k\",\"timestamp\":\"1970-01-01T00:00:00Z\"," WHO "}",
		"timestamp");
	wrong(EVENT, "{\"kind\":\"k\",\"occurTime\":\"9999-01-01T00:00:00Z\"," WHO "}",
		"occur_time");
	wrong(EVENT,
		"{\"kind\":\"k\",\"occurTime\":\"2020-01-01T00:00:00Z\","
		"\"timestamp\":\"2020-01-01T00:00:00Z\"," WHO "}",
		"timestamp");
	for (int ahead = 86300; ahead <= 86500; ahead += 200) {
		time_t t = (time_t)(now + ahead);
		struct tm tm;
		char text[40];

		gmtime_r(&t, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
		snprintf(json, sizeof(json), "{\"kind\":\"k\",\"occurTime\":\"%s\"," WHO "}", text);
		wrong(EVENT, json, ahead < 86400 ? "" : "occur_time");
	}
}

Test(rules, plain_properties)
{
	wrong(EVENT,
		"{\"kind\":\"k\"," WHO
		",\"properties\":{\"a\":1,\"$b\":\"x\",\"c\":true,\"d\":null,\"\":1}}",
		"");
	wrong(EVENT, "{\"kind\":\"k\"," WHO ",\"properties\":{\"a\":[]}}", "properties");
	wrong(EVENT, "{\"kind\":\"k\"," WHO ",\"properties\":{\"a\":{},\"b\":[1]}}",
		"properties,properties");
	wrong(EVENT,
		"{\"kind\":\"k\"," WHO
		",\"properties\":{\"$a\":1},\"autoProperties\":{\"$a\":{\"intValue\":1}}}",
		"properties");
	wrong(EVENT,
		"{\"kind\":\"k\"," WHO
		",\"properties\":{\"a\":1},\"customProperties\":{\"a\":{\"intValue\":1}}}",
		"properties");
	wrong(EVENT,
		"{\"kind\":\"k\"," WHO
		",\"properties\":{\"a\":1},\"customProperties\":{\"b\":{\"intValue\":1}}}",
		"");
}

/* n properties in each of the three places. */
static void count_case(int a, int c, int p, int nulls, const char *want)
{
	static char json[60000];
	size_t n = (size_t)snprintf(
		json, sizeof(json), "{\"kind\":\"k\"," WHO ",\"autoProperties\":{");

	for (int i = 0; i < a; i++)
		n += (size_t)snprintf(
			json + n, sizeof(json) - n, "%s\"$%d\":{\"intValue\":1}", i ? "," : "", i);
	n += (size_t)snprintf(json + n, sizeof(json) - n, "},\"customProperties\":{");
	for (int i = 0; i < c; i++)
		n += (size_t)snprintf(
			json + n, sizeof(json) - n, "%s\"c%d\":{\"intValue\":1}", i ? "," : "", i);
	n += (size_t)snprintf(json + n, sizeof(json) - n, "},\"properties\":{");
	for (int i = 0; i < p; i++)
		n += (size_t)snprintf(json + n, sizeof(json) - n, "%s\"p%d\":1", i ? "," : "", i);
	for (int i = 0; i < nulls; i++)
		n += (size_t)snprintf(
			json + n, sizeof(json) - n, "%s\"n%d\":null", i || p ? "," : "", i);
	snprintf(json + n, sizeof(json) - n, "}}");
	wrong(EVENT, json, want);
}

Test(rules, properties_are_counted_together)
{
	count_case(100, 100, 55, 100, "");
	count_case(100, 100, 56, 0, "-");
	count_case(0, 0, 255, 0, "");
	count_case(0, 0, 256, 0, "-");
	count_case(128, 128, 0, 0, "-");
}

Test(rules, event_ids_occur_once_in_a_batch)
{
	wrong(BATCH, "{}", "");
	wrong(BATCH, "{\"events\":[{\"name\":\"a\"," WHO "},{\"name\":\"a\"," WHO "}]}", "");
	wrong(BATCH,
		"{\"events\":[{\"name\":\"a\",\"eventId\":\"" UUID1 "\"," WHO "},"
		"{\"name\":\"b\",\"eventId\":\"0190B5A4-0000-7000-8000-000000000001\"," WHO "}]}",
		"events[1].event_id INVALID_EVENT_BATCH");
	/* anything else that is wrong comes first, with the usual reason */
	wrong(BATCH,
		"{\"events\":[{\"name\":\"a\",\"eventId\":\"" UUID1 "\"," WHO "},"
		"{\"eventId\":\"" UUID1 "\"," WHO "}]}",
		"events[1].kind");
}

/* As many as a request may have, and one of them again; some differ in few bits. */
Test(rules, repeats_among_many_ids)
{
	static char text[200000];

	for (unsigned again = 0; again < 1000; again += 333) {
		size_t n = (size_t)snprintf(text, sizeof(text), "{\"events\":[");
		char want[64] = "";

		for (unsigned i = 0; i < 1000; i++)
			n += (size_t)snprintf(text + n, sizeof(text) - n,
				"{\"name\":\"a\",\"eventId\":\"0190b5a4-%04x-7000-8000-%012x\"," WHO
				"}%s",
				i == 999 ? again % 7 : i % 7, i == 999 ? again : i,
				i < 999 ? "," : "]}");
		if (again < 999)
			snprintf(want, sizeof(want), "events[999].event_id INVALID_EVENT_BATCH");
		wrong(BATCH, text, want);
	}
}

Test(rules, identities)
{
	wrong("profiles.v1.IdentifyRequest",
		"{\"externalId\":\"e\",\"anonymousId\":\"anon-1\",\"traits\":{\"a\":[1]}}", "");
	wrong("profiles.v1.IdentifyRequest", "{\"externalId\":\"cookieless-e\"}", "external_id");
	wrong("profiles.v1.IdentifyRequest", "{\"externalId\":\"e\",\"anonymousId\":\"x\"}",
		"anonymous_id");
	wrong("profiles.v1.IdentifyRequest", "{\"externalId\":\"e\",\"anonymousId\":\"\"}", "");
	wrong("profiles.v1.AliasRequest", "{\"externalId\":\"e\",\"previousId\":\"cookieless-\"}",
		"previous_id");
	wrong("profiles.v1.AliasRequest", "{\"externalId\":\"e\"}", "previous_id");
}

Test(rules, accounts)
{
	wrong("auth.v1.SignInRequest", "{\"email\":\"a@b\",\"password\":\"\"}", "");
	wrong("auth.v1.SignInRequest", "{\"email\":\"a@b\"}", "password");
	wrong("auth.v1.SignInRequest", "{}", "email,password");
	wrong("auth.v1.SignInWithMagicLinkRequest", "{\"email\":\"a@b\"}", "");
	wrong("auth.v1.SignInWithMagicLinkRequest", "{\"token\":\"t\"}", "");
	wrong("auth.v1.SignInWithMagicLinkRequest", "{}", "-");
	wrong("auth.v1.SignInWithMagicLinkRequest", "{\"token\":\"\"}", "-");
	wrong("auth.v1.SignInWithMagicLinkRequest", "{\"email\":\"a@b\",\"token\":\"t\"}", "-");
}

Test(rules, mail_providers)
{
	static const char type[] = "orgemailproviders.v1.UpsertRequest";

	wrong(type, "{\"orgId\":\"o\",\"fromAddress\":\"a@b\",\"resend\":{\"apiKey\":\"k\"}}", "");
	wrong(type,
		"{\"orgId\":\"o\",\"fromAddress\":\"a@b\",\"replyTo\":\"\",\"resend\":{\"apiKey\":\"k\"}}",
		"");
	wrong(type,
		"{\"orgId\":\"o\",\"fromAddress\":\"a@b\",\"replyTo\":\"x\",\"resend\":{\"apiKey\":\"k\"}}",
		"reply_to");
	wrong(type, "{\"orgId\":\"o\",\"fromAddress\":\"a@b\"}", "config");
	wrong(type,
		"{\"orgId\":\"o\",\"fromAddress\":\"a@b\",\"smtp\":{\"host\":\"h\",\"port\":0}}",
		"smtp.port");
	wrong(type,
		"{\"orgId\":\"o\",\"fromAddress\":\"a@b\",\"smtp\":{\"host\":\"a/b\",\"port\":25}}",
		"smtp.host");
	wrong(type, "{\"orgId\":\"o\",\"fromAddress\":\"a@b\",\"resend\":{\"apiKey\":\"k k\"}}",
		"resend.api_key");
}

#define FILTER "common.v1.PropertyFilter"

static void filter(const char *op, const char *rest, const char *want)
{
	char json[300];

	snprintf(json, sizeof(json), "{\"property\":\"p\",\"operator\":\"FILTER_OPERATOR_%s\"%s}",
		op, rest);
	wrong(FILTER, json, want);
}

Test(rules, property_filters)
{
	static const char *const text[] = {"EQUALS", "NOT_EQUALS", "CONTAINS", "NOT_CONTAINS"};
	static const char *const number[] = {"LT", "LTE", "GT", "GTE"};
	static const char *const list[] = {"IN", "NOT_IN"};
	static const char *const range[] = {"BETWEEN", "NOT_BETWEEN"};
	static const char *const none[] = {"IS_SET", "IS_NOT_SET"};

	for (size_t i = 0; i < 4; i++) {
		filter(text[i], ",\"value\":\"x\"", "");
		filter(text[i], "", "value");
		filter(text[i], ",\"value\":\"\"", "value");
		filter(text[i], ",\"value\":\"x\",\"values\":[\"a\"]", "values");
		filter(number[i], ",\"value\":\"1e3\"", "");
		filter(number[i], ",\"value\":\".5\"", "");
		filter(number[i], ",\"value\":\"x\"", "value");
		filter(number[i], ",\"value\":\"inf\"", "value");
		filter(number[i], ",\"value\":\"1e999\"", "value");
		filter(number[i], "", "value");
	}
	for (size_t i = 0; i < 2; i++) {
		filter(list[i], ",\"values\":[\"\"]", "");
		filter(list[i], ",\"value\":\"ignored\",\"values\":[\"a\",\"a\"]", "");
		filter(list[i], "", "values");
		filter(range[i], ",\"values\":[\"1\",\"2\"]", "");
		filter(range[i], ",\"values\":[\"2\",\"2\"]", "");
		filter(range[i], ",\"values\":[\"2\",\"1\"]", "values");
		filter(range[i], ",\"values\":[\"1\"]", "values");
		filter(range[i], ",\"values\":[\"1\",\"2\",\"3\"]", "values");
		filter(range[i], ",\"values\":[\"1\",\"nan\"]", "values");
		filter(none[i], "", "");
		filter(none[i], ",\"value\":\"\"", "");
		filter(none[i], ",\"value\":\"x\"", "value");
		filter(none[i], ",\"values\":[\"x\"]", "values");
	}
}

#define FROM "\"from\":\"2026-01-01T00:00:00Z\""

static void window(int granularity, const char *to, const char *want)
{
	char json[300];

	snprintf(json, sizeof(json),
		"{\"spec\":{\"insightType\":1},\"timeRange\":{" FROM ",\"to\":\"%s\"},"
		"\"granularity\":%d}",
		to, granularity);
	wrong("insights.v1.QueryRequest", json, want);
}

Test(rules, query_windows)
{
	window(1, "2026-01-01T06:00:00Z", "");
	window(1, "2026-01-01T06:00:00.001Z", "time_range");
	window(2, "2026-01-15T00:00:00Z", "");
	window(2, "2026-01-15T00:00:01Z", "time_range");
	window(3, "2027-01-01T00:00:00Z", "");
	window(3, "2027-01-01T00:00:01Z", "time_range");
	window(4, "2030-01-01T00:00:00Z", "");
	window(4, "2030-01-02T00:00:00Z", "time_range");
	window(5, "2036-01-01T12:00:00Z", "");
	window(5, "2036-01-02T12:00:00Z", "time_range");
	window(1, "2026-01-01T00:00:00Z", "time_range");
	window(1, "2020-01-01T00:00:00Z", "time_range");
	window(0, "2026-01-02T00:00:00Z", "granularity");
	window(6, "2026-01-02T00:00:00Z", "granularity");
	wrong("insights.v1.QueryRequest", "{}", "spec,time_range,granularity");
	wrong("insights.v1.QueryRequest",
		"{\"spec\":{\"insightType\":1},\"timeRange\":{" FROM "},\"granularity\":3,"
		"\"timezone\":\"a b\"}",
		"time_range.to,timezone");
}

#define SPEC "insights.v1.InsightQuerySpec"
#define EV   "{\"event\":{\"kind\":\"a\"}}"

static const struct {
	const char *spec, *want;
} specs[] = {
	{"", "insight_type"},
	{"\"insightType\":0", "insight_type"},
	{"\"insightType\":8", "insight_type"},
	{"\"insightType\":1", ""},
	{"\"insightType\":2", ""},
	{"\"insightType\":3", "events"},
	{"\"insightType\":4", "events"},
	{"\"insightType\":4,\"events\":[" EV "," EV "]", ""},
	{"\"insightType\":4,\"events\":[" EV "," EV "," EV "]", "events"},
	{"\"insightType\":3,\"events\":[" EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV
	 "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "]",
		""},
	{"\"insightType\":3,\"events\":[" EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV
	 "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "," EV "]",
		"events"},
	/* breakdowns */
	{"\"insightType\":1,\"breakdowns\":[{\"property\":\"$a\"},{\"property\":\"b.c\"}],\"breakdownLimit\":100",
		""},
	{"\"insightType\":1,\"breakdowns\":[{\"property\":\"a\"},{\"property\":\"a\"}]",
		"breakdowns[1].property"},
	{"\"insightType\":1,\"breakdowns\":[{}]", "breakdowns[0].property"},
	{"\"insightType\":1,\"breakdowns\":[{\"property\":\"a b\"}]", "breakdowns[0].property"},
	{"\"insightType\":1,\"breakdowns\":[{\"property\":\"1\"},{\"property\":\"2\"},{\"property\":\"3\"},"
	 "{\"property\":\"4\"},{\"property\":\"5\"},{\"property\":\"6\"}]",
		"breakdowns"},
	{"\"insightType\":2,\"breakdowns\":[{\"property\":\"a\"}]", "breakdowns"},
	{"\"insightType\":1,\"breakdownLimit\":0", ""},
	{"\"insightType\":1,\"breakdownLimit\":5", "breakdown_limit"},
	{"\"insightType\":1,\"breakdowns\":[{\"property\":\"a\"}],\"breakdownLimit\":101",
		"breakdown_limit"},
	{"\"insightType\":1,\"breakdowns\":[{\"property\":\"a\"}],\"breakdownLimit\":-1",
		"breakdown_limit"},
	/* groups */
	{"\"insightType\":1,\"filterGroups\":[{}]", "filter_groups[0].filters"},
	{"\"insightType\":1,\"filterGroups\":[{\"filters\":[{\"property\":\"a\",\"operator\":1}]}]",
		"filter_groups[0].filters[0].value"},
	{"\"insightType\":1,\"filterGroupsOperator\":7", ""},
	/* funnel only */
	{"\"insightType\":3,\"events\":[" EV
	 "],\"conversionWindow\":\"1s\",\"includeStepTiming\":true",
		""},
	{"\"insightType\":3,\"events\":[" EV "],\"conversionWindow\":\"0s\"", "conversion_window"},
	{"\"insightType\":3,\"events\":[" EV "],\"conversionWindow\":\"1.5s\"",
		"conversion_window"},
	{"\"insightType\":3,\"events\":[" EV "],\"conversionWindow\":\"-5s\"", "conversion_window"},
	{"\"insightType\":1,\"conversionWindow\":\"0s\"", "conversion_window"},
	{"\"insightType\":1,\"includeStepTiming\":true", "include_step_timing"},
	{"\"insightType\":1,\"includeStepTiming\":false", ""},
	/* aggregations */
	{"\"insightType\":1,\"events\":[{\"aggregation\":4,\"aggregationProperty\":\"p\"}]", ""},
	{"\"insightType\":2,\"events\":[{\"aggregation\":7,\"aggregationProperty\":\"p\"}]", ""},
	{"\"insightType\":1,\"events\":[{\"aggregation\":4}]", "events[0].aggregation_property"},
	{"\"insightType\":1,\"events\":[{\"aggregation\":2}]", ""},
	{"\"insightType\":1,\"events\":[{\"aggregation\":9}]", "events[0].aggregation"},
	{"\"insightType\":3,\"events\":[{\"aggregation\":5,\"aggregationProperty\":\"p\"}]",
		"events[0].aggregation"},
	{"\"insightType\":1,\"events\":[{\"aggregationProperty\":\"a b\"}]",
		"events[0].aggregation_property"},
	/* sessions */
	{"\"insightType\":1,\"session\":{\"metric\":1}", ""},
	{"\"insightType\":2,\"session\":{\"metric\":6}", ""},
	{"\"insightType\":1,\"session\":{}", "session.metric"},
	{"\"insightType\":1,\"session\":{\"metric\":0}", "session.metric"},
	{"\"insightType\":1,\"session\":{\"metric\":7}", "session.metric"},
	{"\"insightType\":1,\"session\":{\"metric\":1},\"events\":[" EV "]", "session"},
	{"\"insightType\":4,\"session\":{\"metric\":1},\"events\":[" EV "]", "session,session"},
	{"\"insightType\":1,\"session\":{\"metric\":4}", "session.metric"},
	{"\"insightType\":1,\"session\":{\"metric\":4},\"breakdowns\":[{\"property\":\"a\"}]", ""},
	{"\"insightType\":1,\"session\":{\"metric\":5},\"breakdowns\":[{\"property\":\"a\"},{\"property\":\"b\"}]",
		"session.metric"},
	{"\"insightType\":2,\"session\":{\"metric\":5}", "session.metric"},
	{"\"insightType\":2,\"session\":{\"metric\":1},\"breakdowns\":[{\"property\":\"a\"}]",
		"breakdowns"},
	{"\"insightType\":1,\"session\":{\"metric\":1},\"breakdowns\":[{\"property\":\"a\"},"
	 "{\"property\":\"b\"}],\"breakdownLimit\":3",
		""},
	{"\"insightType\":1,\"session\":{\"metric\":1,\"scope\":{\"kind\":\"a b\"}}",
		"session.scope.kind"},
	/* user flow */
	{"\"insightType\":5,\"userFlow\":{}", ""},
	{"\"insightType\":5", "user_flow"},
	{"\"insightType\":1,\"userFlow\":{}", "user_flow"},
	{"\"insightType\":5,\"userFlow\":{},\"events\":[" EV "]", "events"},
	{"\"insightType\":5,\"userFlow\":{},\"session\":{\"metric\":1}", "session"},
	{"\"insightType\":5,\"userFlow\":{},\"breakdowns\":[{\"property\":\"a\"}]", "breakdowns"},
	{"\"insightType\":5,\"userFlow\":{},\"breakdownLimit\":1", "breakdown_limit"},
	{"\"insightType\":5,\"userFlow\":{\"nodeKind\":2}", "user_flow.node_property"},
	{"\"insightType\":5,\"userFlow\":{\"nodeKind\":2,\"nodeProperty\":\"$url\"}", ""},
	{"\"insightType\":5,\"userFlow\":{\"nodeKind\":9,\"groupBy\":9}", ""},
	{"\"insightType\":5,\"userFlow\":{\"maxNodes\":1}", "user_flow.max_nodes"},
	{"\"insightType\":5,\"userFlow\":{\"maxNodes\":2,\"maxHops\":10,\"maxLinks\":500}", ""},
	{"\"insightType\":5,\"userFlow\":{\"maxNodes\":51,\"maxHops\":11,\"maxLinks\":501}",
		"user_flow.max_hops,user_flow.max_nodes,user_flow.max_links"},
	/* top-K */
	{"\"insightType\":6,\"topK\":{\"dimension\":1,\"property\":\"a\"}", ""},
	{"\"insightType\":6", "top_k"},
	{"\"insightType\":1,\"topK\":{\"dimension\":2}", "top_k"},
	{"\"insightType\":6,\"topK\":{}", "top_k.dimension"},
	{"\"insightType\":6,\"topK\":{\"dimension\":4}", "top_k.dimension"},
	{"\"insightType\":6,\"topK\":{\"dimension\":1}", "top_k.property"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2,\"property\":\"a\"}", "top_k.property"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2,\"metric\":4}", "top_k.metric_property"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2,\"metric\":4,\"metricProperty\":\"v\"}", ""},
	{"\"insightType\":6,\"topK\":{\"dimension\":3,\"metric\":2}", "top_k.metric"},
	{"\"insightType\":6,\"topK\":{\"dimension\":3,\"metric\":3}", "top_k.metric"},
	{"\"insightType\":6,\"topK\":{\"dimension\":3,\"metric\":1}", ""},
	{"\"insightType\":6,\"topK\":{\"dimension\":2,\"metric\":8}", "top_k.metric"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2,\"limit\":101}", "top_k.limit"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2},\"events\":[" EV "],\"breakdownLimit\":1",
		"events,breakdown_limit"},
	{"\"insightType\":6,\"topK\":{\"dimension\":1,\"property\":\"a b\"}", "top_k.property"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2,\"metric\":4,\"metricProperty\":\"a b\"}",
		"top_k.metric_property"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2,\"metric\":0,\"limit\":100}", ""},
	{"\"insightType\":6,\"topK\":{\"dimension\":2,\"limit\":-1}", "top_k.limit"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2,\"scope\":{\"kind\":\"a b\"}}",
		"top_k.scope.kind"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2},\"breakdowns\":[{\"property\":\"a\"}]",
		"breakdowns"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2},\"session\":{\"metric\":1}", "session"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2},\"map\":{},\"userFlow\":{}",
		"user_flow,map"},
	{"\"insightType\":6,\"topK\":{\"dimension\":2},\"conversionWindow\":\"5s\"",
		"conversion_window"},
	/* map */
	{"\"insightType\":7,\"map\":{\"metric\":8}", "map.metric"},
	{"\"insightType\":7,\"map\":{\"metric\":5,\"metricProperty\":\"a b\"}",
		"map.metric_property"},
	{"\"insightType\":7,\"map\":{\"scope\":{\"filters\":[{\"property\":\"a\",\"operator\":1}]}}",
		"map.scope.filters[0].value"},
	{"\"insightType\":7,\"map\":{},\"breakdownLimit\":2", "breakdown_limit"},
	{"\"insightType\":7,\"map\":{}", ""},
	{"\"insightType\":7", "map"},
	{"\"insightType\":1,\"map\":{}", "map"},
	{"\"insightType\":7,\"map\":{\"metric\":2}", ""},
	{"\"insightType\":7,\"map\":{\"metric\":4}", "map.metric_property"},
	{"\"insightType\":7,\"map\":{},\"topK\":{\"dimension\":2},\"userFlow\":{}",
		"user_flow,top_k"},
	{"\"insightType\":7,\"map\":{},\"events\":[" EV
	 "],\"session\":{\"metric\":1},\"breakdowns\":[{\"property\":\"a\"}]",
		"events,breakdowns,session,session"},
};

Test(rules, insight_specs)
{
	char json[2000];

	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		snprintf(json, sizeof(json), "{%s}", specs[i].spec);
		wrong(SPEC, json, specs[i].want);
	}
}

Test(rules, segment_users)
{
	static const char type[] = "insights.v1.SegmentUsersRequest";
	static const char range[] = "\"timeRange\":{" FROM ",\"to\":\"2046-01-01T00:00:00Z\"}";
	static const struct {
		const char *rest, *want;
	} requests[] = {
		{",\"events\":[{}]", ""},
		{",\"events\":[" EV "," EV "],\"pageSize\":1000,\"pageToken\":\"x\"", ""},
		{"", "events"},
		{",\"events\":[" EV "],\"pageSize\":1001", "page_size"},
		{",\"events\":[" EV "],\"pageSize\":-1", "page_size"},
		{",\"events\":[" EV "],\"filterGroups\":[{}]", "filter_groups[0].filters"},
		{",\"events\":[{\"event\":{\"kind\":\"a b\"}}]", "events[0].event.kind"},
		{",\"events\":[{\"aggregation\":4,\"aggregationProperty\":\"p\"}]", ""},
	};
	char json[400];

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		snprintf(json, sizeof(json), "{%s%s}", range, requests[i].rest);
		wrong(type, json, requests[i].want);
	}
	wrong(type, "{\"events\":[{}]}", "time_range");
	wrong(type, "{\"events\":[{}],\"timeRange\":{" FROM ",\"to\":\"2026-01-01T00:00:00Z\"}}",
		"time_range");
}

Test(rules, activity_lists)
{
	static const char *const types[] = {"activity.v1.ListRequest",
		"activity.v1.GetActivityFeedRequest", "activity.v1.GetEventExplorerRequest"};

	for (size_t i = 0; i < 3; i++) {
		wrong(types[i], "{\"distinctId\":\"d\",\"events\":[{}]}", "");
		wrong(types[i], "{\"distinctId\":\"d\",\"events\":[{\"kind\":\"a\"},{}]}",
			"events[1]");
		wrong(types[i],
			"{\"distinctId\":\"d\",\"events\":[{\"kind\":\"\"},{\"filters\":[{\"property\":\"a\","
			"\"operator\":5}]}]}",
			"events[0]");
		wrong(types[i], "{\"distinctId\":\"d\",\"pageSize\":1001,\"sessionId\":\"x\"}",
			"session_id,page_size");
		wrong(types[i],
			"{\"distinctId\":\"d\",\"timeRange\":{" FROM
			",\"to\":\"2026-01-01T00:00:00Z\"}}",
			"time_range");
	}
	wrong("activity.v1.GetActivityFeedRequest", "{}", "distinct_id");
	wrong("activity.v1.ListRequest", "{}", "");
}

/* Windows of presets may be an hour longer than the caps: clocks may have been set back (D39). */
Test(rules, slack_of_windows)
{
	static const struct {
		const char *to;
		int64_t slack_ms;
		bool ok;
	} all[] = {
		{"2025-11-09T04:00:00Z", 0, true},
		{"2025-11-09T04:00:00.001Z", 0, false},
		{"2025-11-09T05:00:00Z", 3600000, true},
		{"2025-11-09T05:00:00.001Z", 3600000, false},
	};
	char json[400];

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const ProtobufCMessage *msg;
		struct pb_check check;

		snprintf(json, sizeof(json),
			"{\"spec\":{\"insightType\":1},\"granularity\":\"GRANULARITY_HOUR\","
			"\"timeRange\":{\"from\":\"2025-10-26T04:00:00Z\",\"to\":\"%s\"}}",
			all[i].to);
		msg = read_ok("insights.v1.QueryRequest", json);
		pb_check_init(&check, &arena);
		check.slack_ms = all[i].slack_ms;
		validate_message(&check, type_of("insights.v1.QueryRequest"), msg);
		cr_expect_eq(check.n == 0, all[i].ok, "%zu", i);
		arena_free(&arena);
	}
}

#define UPSERT "dashboards.v1.DashboardsServiceUpsertRequest"
#define TILE   "\"markdown\":{\"body\":\"x\"}"

Test(rules, tiles)
{
	wrong(UPSERT,
		"{\"id\":\"d\",\"displayName\":\"x\",\"tiles\":[{" TILE "},{" TILE
		",\"id\":\"\"},{" TILE ",\"id\":\"a\"},{" TILE ",\"id\":\"b\"}]}",
		"");
	wrong(UPSERT,
		"{\"id\":\"d\",\"displayName\":\"x\",\"tiles\":[{" TILE ",\"id\":\"a\"},{" TILE
		",\"id\":\"b\"},{" TILE ",\"id\":\"a\"}]}",
		"tiles[2].id INVALID_TILE_CONTENT");
	wrong("dashboards.v1.VisualizationOptions", "{\"logScale\":true,\"zeroBaseline\":true}",
		"-");
}
