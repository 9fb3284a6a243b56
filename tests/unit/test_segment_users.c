/* SegmentUsers against insights-dashboards.md 2.4 and 2.6, D25, D28, D62, D79. */
#include "tests/unit/insight_kit.h"

TestSuite(segment_users, .init = kit_setup, .fini = kit_teardown);

#define Q(events, more)                                                                       \
	"{\"timeRange\":{\"from\":\"2024-01-01T00:00:00Z\",\"to\":\"2024-01-05T00:00:00Z\"}," \
	"\"events\":[" events "]" more "}"
#define ANY        "{\"event\":{}}"
#define KIND(kind) "{\"event\":{\"kind\":\"" kind "\"}}"
#define T          "2024-01-02T10:00:00 "

static void users_after(const char *query, const char *after, uint32_t want,
	const char *const *lines, const char *ids)
{
	const char *got = kit_segment_users(query, after, want, lines);

	cr_expect_str_eq(got, ids, "got \"%s\"\nwant \"%s\"", got, ids);
}

static void users(const char *query, const char *const *lines, const char *ids)
{
	users_after(query, "", 100, lines, ids);
}

static const char *const data[] = {T "buy u2", T "view u1", T "view U9", T "view u10", NULL,
	T "view u2", T "view \xc3\xbc", T "view cookieless-1", T "other w",
	"2024-01-05T00:00:00 view late", "2023-12-31T23:59:59.999 view early", NULL, NULL};

Test(segment_users, who_did_one_of_them)
{
	users(Q(ANY, ""), data, "U9 u1 u10 u2 w \xc3\xbc");
	users(Q(KIND("view"), ""), data, "U9 u1 u10 u2 \xc3\xbc");
	users(Q(KIND("buy") "," KIND("other"), ""), data, "u2 w");
	users(Q(KIND("none"), ""), data, "");
}

Test(segment_users, pages)
{
	users_after(Q(ANY, ""), "", 2, data, "U9 u1+");
	users_after(Q(ANY, ""), "u1", 2, data, "u10 u2+");
	/* the last page is exactly full: nothing follows (D55) */
	users_after(Q(ANY, ""), "u2", 2, data, "w \xc3\xbc");
	users_after(Q(ANY, ""), "\xc3\xbc", 2, data, "");
	users_after(Q(ANY, ""), "u11", 1, data, "u2+");
}

Test(segment_users, late_refusals)
{
	cr_expect_str_eq(kit_segment_users(Q(KIND("a") "," ANY, ""), "", 1, data),
		"events[1].event: event must have a kind or a filter, as there are several");
	cr_expect_str_eq(
		kit_segment_users(Q("{}", ""), "", 1, data), "events[0].event: event is required");
}

Test(segment_users, persons)
{
	static const char *const many[] = {T "view an1", T "view e1", T "view p1", T "view p2",
		T "view x", NULL, T "view an2", T "view dead", T "view cookieless-2", NULL, NULL};
	struct value gold = {.type = VALUE_STR, .s = STR("gold")};

	cr_assert(people_profile(&kit_people, STR("p1"), STR("e1")));
	cr_assert(people_profile(&kit_people, STR("p2"), STR("")));
	cr_assert(people_profile(&kit_people, STR("p3"), STR("e3")));
	cr_assert(people_alias(&kit_people, STR("an1"), STR("p1")));
	cr_assert(people_alias(&kit_people, STR("an2"), STR("p3")));
	cr_assert(people_alias(&kit_people, STR("cookieless-2"), STR("p3")));
	cr_assert(people_alias(&kit_people, STR("dead"), STR("p9")));
	cr_assert(people_trait(&kit_people, STR("p3"), 0, &gold));
	users(Q(ANY, ""), many, "dead e1 e3 p2 x");
	users(Q(ANY, ",\"filterGroups\":[{\"filters\":[{\"property\":\"plan\",\"source\":\"PROPERTY_"
		     "SOURCE_PROFILE\",\"operator\":\"FILTER_OPERATOR_EQUALS\",\"value\":\"gold\"}]}]"),
		many, "e3");
}

/* More than fit the memory of a page, in descending order. */
Test(segment_users, many)
{
	enum { N = 3000 };
	static char lines[N][40];
	static const char *events[N + 2];

	for (int i = 0; i < N; i++) {
		snprintf(lines[i], sizeof(lines[i]), T "view u%04d", N - i);
		events[i] = lines[i];
	}
	users_after(Q(ANY, ""), "", 3, events, "u0001 u0002 u0003+");
	users_after(Q(ANY, ""), "u2997", 3, events, "u2998 u2999 u3000");
}
