/* Session metrics against insights-dashboards.md 1.10 (worked examples S1, S2) and D36. */
#include "tests/unit/insight_kit.h"

TestSuite(sessions, .init = kit_setup, .fini = kit_teardown);

#define WINDOW(from, to) "\"timeRange\":{\"from\":\"2024-01-" from "Z\",\"to\":\"2024-01-" to "Z\"}"
#define DAY1             WINDOW("01T00:00:00", "02T00:00:00")
#define DAY2             WINDOW("02T00:00:00", "03T00:00:00")
#define WEEK             WINDOW("01T00:00:00", "08T00:00:00")
#define Q(type, metric, window, scope, more)                                                  \
	"{\"spec\":{\"insightType\":\"INSIGHT_TYPE_" type                                     \
	"\",\"session\":{\"metric\":\"SESSION_METRIC_" metric "\"" scope "}" more "}," window \
	",\"granularity\":\"GRANULARITY_DAY\"}"
#define TOTAL(metric, window, scope) Q("SEGMENTATION", metric, window, scope, "")
#define TREND(metric, window, scope) Q("TRENDS", metric, window, scope, "")
#define BY(property)                 ",\"breakdowns\":[{\"property\":\"" property "\"}]"
#define LIMIT(n)                     ",\"breakdownLimit\":" #n
#define KIND(kind)                   ",\"scope\":{\"kind\":\"" kind "\"}"

static void sessions(const char *query, const char *const *lines, const char *want)
{
	const char *got = kit_sessions(query, "", lines);

	cr_expect_str_eq(got, want, "got \"%s\"\nwant \"%s\"", got, want);
}

/* S1, out of order, a session cut over segments. */
static const char *const s1[] = {"2024-01-02T00:20:00 v u $url=/z @session=3",
	"2024-01-01T10:04:00 v u $url=/b @session=1", "2024-01-01T10:30:00 v u $url=/a @session=2",
	NULL, "2024-01-01T10:00:00 v u $url=/a @session=1",
	"2024-01-02T00:05:00 v u $url=/y @session=3", NULL,
	"2024-01-01T23:50:00 v u $url=/x @session=3", "2024-01-01T12:00:00 v u $url=/none", NULL,
	NULL};

Test(sessions, s1_numbers)
{
	sessions(TOTAL("SESSIONS", DAY1, ""), s1, "3");
	sessions(TOTAL("AVG_DURATION", DAY1, ""), s1, "680");
	sessions(TOTAL("BOUNCE_RATE", DAY1, ""), s1, "33.333333333333336");
	sessions(TOTAL("AVG_EVENTS_PER_SESSION", DAY1, ""), s1, "2");
	sessions(TREND("SESSIONS", DAY1, ""), s1, "$session: 01-01=3");
	sessions(TREND("AVG_DURATION", WEEK, KIND("v")), s1, "v: 01-01=680");
}

Test(sessions, s1_what_began_before_is_not_there)
{
	sessions(TOTAL("SESSIONS", DAY2, ""), s1, "0");
	sessions(TOTAL("AVG_DURATION", DAY2, ""), s1, "0");
	sessions(TOTAL("BOUNCE_RATE", DAY2, ""), s1, "0");
	sessions(TOTAL("AVG_EVENTS_PER_SESSION", DAY2, ""), s1, "0");
	sessions(TREND("SESSIONS", DAY2, ""), s1, "");
	sessions(Q("TRENDS", "EXIT", DAY2, "", BY("$url")), s1, "");
}

Test(sessions, s1_entries_and_exits)
{
	sessions(Q("TRENDS", "ENTRY", DAY1, "", BY("$url")), s1,
		"$session[/a]: 01-01=2; $session[/x]: 01-01=1");
	sessions(Q("TRENDS", "EXIT", DAY1, "", BY("$url")), s1,
		"$session[/a]: 01-01=1; $session[/b]: 01-01=1; $session[/z]: 01-01=1");
	sessions(Q("TRENDS", "AVG_DURATION", DAY1, "", BY("$url")), s1,
		"$session[/x]: 01-01=1800; $session[/a]: 01-01=120");
}

Test(sessions, s2_scope_makes_other_sessions)
{
	static const char *const data[] = {"2024-01-01T10:00:00 identify u @session=1",
		"2024-01-01T10:00:05 page_view u $pathname=/in @session=1",
		"2024-01-01T10:00:10.250 page_view u $pathname=/out @session=1", NULL, NULL};

	sessions(Q("TRENDS", "ENTRY", DAY1, "", BY("$pathname")), data, "$session[]: 01-01=1");
	sessions(Q("TRENDS", "ENTRY", DAY1, KIND("page_view"), BY("$pathname")), data,
		"page_view[/in]: 01-01=1");
	sessions(TOTAL("AVG_EVENTS_PER_SESSION", DAY1, ""), data, "3");
	sessions(TOTAL("AVG_EVENTS_PER_SESSION", DAY1, KIND("page_view")), data, "2");
	sessions(TOTAL("AVG_DURATION", DAY1, ""), data, "10.25");
	sessions(TOTAL("AVG_DURATION", DAY1, KIND("page_view")), data, "5.25");
}

Test(sessions, milliseconds_and_borders)
{
	static const char *const data[] = {"2024-01-01T10:00:00.900 v u @session=1",
		"2024-01-01T10:00:02 v u @session=1", "2023-12-31T23:59:59.999 v u @session=2",
		"2024-01-01T00:00:00 v u @session=2", "2024-01-01T00:00:00 v u @session=3", NULL,
		"2024-01-01T23:59:59.999 v u @session=4", "2024-01-02T00:00:00 v u @session=5",
		NULL, NULL};

	sessions(TOTAL("SESSIONS", DAY1, ""), data, "3");
	sessions(TOTAL("AVG_DURATION", DAY1, ""), data, "0.36666666666666664");
	sessions(TREND("SESSIONS", WEEK, ""), data, "$session: 01-01=3 01-02=1");
	cr_expect_str_eq(kit_sessions(TREND("SESSIONS", WEEK, ""), "Asia/Kolkata", data),
		"$session: 12-31T18:30=2 01-01T18:30=2");
}

/* Of events of one instant the id says which is first (D29), in whatever segment it is. */
Test(sessions, ties)
{
	static const char *const data[] = {"2024-01-01T10:00:00 v u p=b @session=1 @id=2",
		"2024-01-01T10:00:00 v u p=a @session=1 @id=3",
		"2024-01-01T10:00:00 v u p=c @session=1 @id=1", NULL,
		"2024-01-01T10:00:00 v u p=d @session=1 @id=9",
		"2024-01-01T10:00:00 v u p=f @session=2 @id=200", NULL,
		"2024-01-01T10:00:00 v u p=e @session=1 @id=5",
		"2024-01-01T10:00:00 v u p=g @session=2 @id=100", NULL, NULL};

	sessions(Q("TRENDS", "ENTRY", DAY1, "", BY("p")), data,
		"$session[c]: 01-01=1; $session[g]: 01-01=1");
	sessions(Q("TRENDS", "EXIT", DAY1, "", BY("p")), data,
		"$session[d]: 01-01=1; $session[f]: 01-01=1");
}

/* What is sealed comes without ids, unless its rows do not tell. */
Test(sessions, ties_without_ids)
{
	static const char *const rows[] = {"2024-01-01T10:00:00 v u p=b @session=1 @id=2",
		"2024-01-01T10:00:00 v u p=a @session=1 @id=3",
		"2024-01-01T10:00:00 v u p=c @session=1 @id=4", NULL,
		"2024-01-01T10:00:00 v u p=c @session=2 @id=1", NULL, NULL};
	static const char *const segments[] = {"2024-01-01T10:00:00 v u p=b @session=1 @id=2",
		"2024-01-01T10:00:00 v u p=c @session=1 @id=4", NULL,
		"2024-01-01T10:00:00 v u p=b @session=1 @id=3",
		"2024-01-01T10:00:00 v u p=b @session=1 @id=5", NULL, NULL};
	/* not one of those that are counted */
	static const char *const before[] = {"2023-12-31T10:00:00 v u p=b @session=1 @id=2", NULL,
		"2023-12-31T10:00:00 v u p=c @session=1 @id=3", NULL,
		"2024-01-01T10:00:00 v u p=e @session=2 @id=9", NULL, NULL};

	kit_level = KIT_SEALED;
	sessions(Q("TRENDS", "ENTRY", DAY1, "", BY("p")), rows,
		"$session[b]: 01-01=1; $session[c]: 01-01=1");
	sessions(Q("TRENDS", "EXIT", DAY1, "", BY("p")), rows, "$session[c]: 01-01=2");
	sessions(Q("TRENDS", "ENTRY", DAY1, "", BY("p")), segments, "$session[b]: 01-01=1");
	sessions(Q("TRENDS", "EXIT", DAY1, "", BY("p")), segments, "undecided");
	sessions(Q("TRENDS", "ENTRY", DAY1, "", BY("p")), before, "$session[e]: 01-01=1");
	kit_level = KIT_SEALED_IDS;
	sessions(Q("TRENDS", "EXIT", DAY1, "", BY("p")), segments, "$session[b]: 01-01=1");
}

Test(sessions, others_are_folded_again)
{
	static const char *const data[] = {"2024-01-01T10:00:00 v u p=a @session=1",
		"2024-01-01T11:00:00 v u p=b @session=2", "2024-01-01T11:00:01 v u p=x @session=2",
		"2024-01-01T11:00:02 v u p=x @session=2", "2024-01-01T11:00:03 v u p=x @session=2",
		NULL, "2024-01-01T12:00:00 v u p=c @session=3",
		"2024-01-03T12:00:00 v u p=c @session=4", NULL, NULL};

	sessions(Q("TRENDS", "BOUNCE_RATE", WEEK, "", BY("p") LIMIT(1)), data,
		"$session[c]: 01-01=100 01-03=100; $session[$others]: 01-01=50");
	sessions(Q("TRENDS", "AVG_EVENTS_PER_SESSION", WEEK, "", BY("p") LIMIT(1)), data,
		"$session[b]: 01-01=4; $session[$others]: 01-01=1 01-03=1");
	sessions(Q("TRENDS", "SESSIONS", WEEK, "", BY("p") LIMIT(2)), data,
		"$session[c]: 01-01=1 01-03=1; $session[a]: 01-01=1; $session[$others]: 01-01=1");
}

Test(sessions, cookieless_visitors_count)
{
	static const char *const data[] = {"2024-01-01T10:00:00 v cookieless-1 @session=1",
		"2024-01-01T10:00:00 v u @session=2", NULL, NULL};

	sessions(TOTAL("SESSIONS", DAY1, ""), data, "2");
	sessions(Q("SEGMENTATION", "SESSIONS", DAY1, "", ",\"includeCookieless\":true"), data, "2");
}

Test(sessions, groups_and_traits)
{
	static const char *const data[] = {"2024-01-01T10:00:00 v p1 a=1 @session=1",
		"2024-01-01T10:00:07 v p1 a=2 @session=1", "2024-01-01T10:00:00 v z a=1 @session=2",
		NULL, NULL};
	struct value gold = {.type = VALUE_STR, .s = STR("gold")};

	sessions(
		Q("SEGMENTATION", "AVG_EVENTS_PER_SESSION", DAY1, "",
			",\"filterGroups\":[{\"filters\":[{\"property\":\"a\",\"operator\":\"FILTER_"
			"OPERATOR_EQUALS\",\"value\":\"1\"}]}]"),
		data, "1");
	cr_assert(people_profile(&kit_people, STR("p1"), STR("")));
	cr_assert(people_trait(&kit_people, STR("p1"), 0, &gold));
	sessions(
		Q("SEGMENTATION", "SESSIONS", DAY1, "",
			",\"filterGroups\":[{\"filters\":[{\"property\":\"plan\",\"source\":\"PROPERTY_"
			"SOURCE_PROFILE\",\"operator\":\"FILTER_OPERATOR_EQUALS\",\"value\":\"gold\"}]}]"),
		data, "1");
}

Test(sessions, many)
{
	enum { N = 5000 };
	static char lines[N][64];
	static const char *data[N + 2];
	struct plan plan;
	struct sessions *s;
	struct arena small;

	/* more than fit the first table; every 250th id again */
	for (int i = 0; i < N; i++) {
		snprintf(lines[i], sizeof(lines[i]), "2024-01-01T10:00:00 v u p=%d @session=%d", i,
			i % 250 + 1);
		data[i] = lines[i];
	}
	sessions(TOTAL("SESSIONS", DAY1, ""), data, "250");
	sessions(TOTAL("AVG_EVENTS_PER_SESSION", DAY1, ""), data, "20");
	cr_assert_null(kit_compile(&plan, TREND("SESSIONS", DAY1, ""), ""));
	arena_init(&small, 8 << 10);
	plan.a = &small;
	s = sessions_new(&plan);
	cr_assert_not(s && kit_fold_all(&plan, data, kit_fold_sessions, s));
	cr_assert(small.over);
	arena_free(&small);
}
