/* Trends against the worked examples of insights-dashboards.md 1.3 and D30, D73, D74. */
#include "tests/unit/insight_kit.h"

TestSuite(trends, .init = kit_setup, .fini = kit_teardown);

#define Q(spec)                                                                              \
	"{\"spec\":{\"insightType\":\"INSIGHT_TYPE_TRENDS\"," spec "},"                      \
	"\"timeRange\":{\"from\":\"2024-01-01T00:00:00Z\",\"to\":\"2024-01-05T00:00:00Z\"}," \
	"\"granularity\":\"GRANULARITY_DAY\"}"
#define AGG(a)        "\"aggregation\":\"AGGREGATION_TYPE_" a "\""
#define EV(kind, agg) "{\"event\":{\"kind\":\"" kind "\"}," AGG(agg) "}"
#define BY(key)       "\"breakdowns\":[{\"property\":\"" key "\"}],\"breakdownLimit\":"

#define check(json, expected, ...)                                                        \
	do {                                                                              \
		const char *const lines_[] = {__VA_ARGS__, NULL, NULL};                   \
		cr_assert_str_eq(kit_trends(json, "", lines_), expected, "%s", kit_text); \
	} while (0)

#define T1                                                            \
	"2024-01-01T10:00:00 view u1", "2024-01-01T11:00:00 view u1", \
		"2024-01-01T12:00:00 view u2", "2024-01-02T09:00:00 view u3"
#define T2 T1, "2024-01-01T11:30:00 buy u1", "2024-01-04T09:30:00 buy u3"

Test(trends, t1_gaps_stay)
{
	check(Q("\"events\":[" EV("view", "TOTAL") "]"), "view: 01-01=3 01-02=1", T1);
	check(Q("\"events\":[" EV("view", "UNIQUE_USERS") "]"), "view: 01-01=2 01-02=1", T1);
	check(Q("\"events\":[" EV("view", "PER_USER_AVG") "]"), "view: 01-01=1.5 01-02=1", T1);
}

Test(trends, t1_over_several_segments)
{
	check(Q("\"events\":[" EV("view", "UNIQUE_USERS") "]"), "view: 01-01=2 01-02=1",
		"2024-01-01T10:00:00 view u1", NULL, "2024-01-01T11:00:00 view u1", NULL,
		"2024-01-02T09:00:00 view u3", "2024-01-01T12:00:00 view u2");
}

Test(trends, no_events_means_all_kinds)
{
	check(Q("\"breakdowns\":[]"), "buy: 01-01=1 01-04=1; view: 01-01=3 01-02=1", T2);
}

Test(trends, t2_zeros_across_events_in_request_order)
{
	check(Q("\"events\":[" EV("view", "TOTAL") "," EV("buy", "UNIQUE_USERS") "]"),
		"view: 01-01=3 01-02=1 01-04=0; buy: 01-01=1 01-02=0 01-04=1", T2);
	/* the same kind twice stays two series (D30) */
	check(Q("\"events\":[" EV("view", "TOTAL") "," EV("view", "UNIQUE_USERS") "]"),
		"view: 01-01=3 01-02=1; view: 01-01=2 01-02=1", T2);
}

Test(trends, an_event_without_hits_has_zeros_only_where_buckets_exist)
{
	check(Q("\"events\":[" EV("view", "TOTAL") "," EV("none", "TOTAL") "]"),
		"view: 01-01=3 01-02=1; none: 01-01=0 01-02=0", T1);
	check(Q("\"events\":[" EV("a", "TOTAL") "," EV("b", "TOTAL") "]"), "", T1);
	check(Q("\"events\":[" EV("none", "TOTAL") "]"), "", T1);
}

Test(trends, t3_rank_by_sum_of_buckets)
{
	check(Q("\"events\":[" EV("v", "UNIQUE_USERS") "]," BY("$country") "1"),
		"v[DE]: 01-01=2 01-02=2; v[$others]: 01-01=3",
		"2024-01-01T01:00:00 v a $country=DE", "2024-01-01T01:00:00 v b $country=DE",
		"2024-01-02T01:00:00 v a $country=DE", "2024-01-02T01:00:00 v b $country=DE",
		"2024-01-01T01:00:00 v c $country=IT", "2024-01-01T01:00:00 v d $country=IT",
		"2024-01-01T01:00:00 v e $country=IT");
}

/* n events of one kind and country. */
static const char **repeat(const char **at, int n, const char *line)
{
	while (n-- > 0)
		*at++ = line;
	return at;
}

Test(trends, t4_each_event_ranks_its_own)
{
	const char *lines[64], **at = lines;

	at = repeat(at, 20, "2024-01-01T01:00:00 view u $country=FR");
	at = repeat(at, 10, "2024-01-01T01:00:00 view u $country=US");
	at = repeat(at, 5, "2024-01-01T01:00:00 view u $country=GB");
	at = repeat(at, 9, "2024-01-01T01:00:00 signup u $country=GB");
	at = repeat(at, 4, "2024-01-01T01:00:00 signup u $country=US");
	at = repeat(at, 1, "2024-01-01T01:00:00 signup u $country=FR");
	at[0] = at[1] = NULL;
	cr_assert_str_eq(kit_trends(Q("\"events\":[" EV("view", "TOTAL") "," EV(
					    "signup", "TOTAL") "]," BY("$country") "2"),
				 "", lines),
		"view[FR]: 01-01=20; view[US]: 01-01=10; view[$others]: 01-01=5; "
		"signup[GB]: 01-01=9; signup[US]: 01-01=4; signup[$others]: 01-01=1",
		"%s", kit_text);
}

Test(trends, zero_series_of_values_that_others_kept)
{
	check(Q("\"events\":[" EV("view", "TOTAL") "," EV("buy", "TOTAL") "]," BY("p") "2"),
		"view[a]: 01-01=1 01-02=0; view[b]: 01-01=0 01-02=0; buy[b]: 01-01=0 01-02=1; "
		"buy[a]: 01-01=0 01-02=0",
		"2024-01-01T01:00:00 view u p=a", "2024-01-02T01:00:00 buy u p=b");
}

Test(trends, t5_ties_by_value)
{
	const char *lines[16], **at = lines;

	at = repeat(at, 3, "2024-01-01T01:00:00 v u plan=b");
	at = repeat(at, 3, "2024-01-01T01:00:00 v u plan=a");
	at = repeat(at, 3, "2024-01-01T01:00:00 v u");
	at[0] = at[1] = NULL;
	cr_assert_str_eq(
		kit_trends(Q("\"events\":[" EV("v", "TOTAL") "]," BY("plan") "2"), "", lines),
		"v[]: 01-01=3; v[a]: 01-01=3; v[$others]: 01-01=3", "%s", kit_text);
}

Test(trends, t6_tuples)
{
	const char *lines[16], **at = lines;

	at = repeat(at, 4, "2024-01-01T01:00:00 v u $country=US $browser=Chrome");
	at = repeat(at, 4, "2024-01-01T01:00:00 v u $country=US $browser=Safari");
	at = repeat(at, 1, "2024-01-01T01:00:00 v u $country=DE $browser=Chrome");
	at[0] = at[1] = NULL;
	cr_assert_str_eq(
		kit_trends(
			Q("\"events\":[" EV("v",
				"TOTAL") "],\"breakdowns\":[{\"property\":"
					 "\"$country\"},{\"property\":\"$browser\"}],\"breakdownLimit\":1"),
			"", lines),
		"v[US,Chrome]: 01-01=4; v[$others,$others]: 01-01=5", "%s", kit_text);
}

Test(trends, others_are_folded_again_not_added)
{
	/* u is under two folded values: one user, not two (D30) */
	check(Q("\"events\":[" EV("v", "UNIQUE_USERS") "]," BY("p") "1"),
		"v[a]: 01-01=2; v[$others]: 01-01=1", "2024-01-01T01:00:00 v u p=a",
		"2024-01-01T01:00:00 v w p=a", "2024-01-01T02:00:00 v u p=b",
		"2024-01-01T03:00:00 v u p=c");
	check(Q("\"events\":[{\"event\":{\"kind\":\"v\"}," AGG(
		      "AVG") ",\"aggregationProperty\":\"n\"}]," BY("p") "1"),
		"v[a]: 01-01=100; v[$others]: 01-01=2", "2024-01-01T01:00:00 v u p=a n=100",
		"2024-01-01T01:00:00 v w p=b n=1", "2024-01-01T02:00:00 v u p=b n=2",
		"2024-01-01T03:00:00 v u p=c n=3");
}

Test(trends, numbers_of_1_2)
{
#define NUM(a) \
	Q("\"events\":[{\"event\":{\"kind\":\"view\"}," AGG(a) ",\"aggregationProperty\":\"amt\"}]")
#define AMTS                                                                                  \
	"2024-01-01T01:00:00 view u amt=5", "2024-01-01T01:00:00 view u amt=2.5",             \
		"2024-01-01T01:00:00 view u amt=\"7\"", "2024-01-01T01:00:00 view u amt=abc", \
		"2024-01-01T01:00:00 view u", "2024-01-01T01:00:00 view u amt=true",          \
		"2024-01-02T01:00:00 view u amt=abc"
	check(NUM("SUM"), "view: 01-01=14.5 01-02=0", AMTS);
	check(NUM("AVG"), "view: 01-01=4.833333333333333 01-02=0", AMTS);
	check(NUM("MIN"), "view: 01-01=2.5 01-02=0", AMTS);
	check(NUM("MAX"), "view: 01-01=7 01-02=0", AMTS);
}

Test(trends, cookieless_ids_are_no_people)
{
#define COOKIES                                                                             \
	"2024-01-01T01:00:00 v c1", "2024-01-01T01:00:00 v c1", "2024-01-01T01:00:00 v c2", \
		"2024-01-01T01:00:00 v cookieless-x", "2024-01-01T01:00:00 v cookieless-y"
	check(Q("\"events\":[" EV("v", "TOTAL") "]"), "v: 01-01=5", COOKIES);
	check(Q("\"events\":[" EV("v", "UNIQUE_USERS") "]"), "v: 01-01=2", COOKIES);
	check(Q("\"events\":[" EV("v", "PER_USER_AVG") "]"), "v: 01-01=1.5", COOKIES);
	check(Q("\"events\":[" EV("v", "UNIQUE_USERS") "],\"includeCookieless\":true"),
		"v: 01-01=4", COOKIES);
	/* existence of a bucket ignores the exclusion (D72) */
	check(Q("\"events\":[" EV("v", "UNIQUE_USERS") "," EV("w", "TOTAL") "]"),
		"v: 01-01=2 01-02=0; w: 01-01=0 01-02=0", COOKIES,
		"2024-01-02T01:00:00 v cookieless-z");
}

Test(trends, people_count_once_under_all_their_ids)
{
	people_profile(&kit_people, STR("p1"), STR("ext"));
	people_alias(&kit_people, STR("anon"), STR("p1"));
	people_alias(&kit_people, STR("other"), STR("deleted"));
	check(Q("\"events\":[" EV("v", "UNIQUE_USERS") "]"), "v: 01-01=2",
		"2024-01-01T01:00:00 v anon", "2024-01-01T01:00:00 v ext",
		"2024-01-01T01:00:00 v p1", "2024-01-01T01:00:00 v other");
}

Test(trends, window_is_half_open)
{
	check(Q("\"events\":[" EV("v", "TOTAL") "]"), "v: 01-01=1 01-04=1",
		"2023-12-31T23:59:59.999 v u", "2024-01-01T00:00:00 v u",
		"2024-01-04T23:59:59.999 v u", "2024-01-05T00:00:00 v u");
}

Test(trends, filters_groups_and_operators)
{
#define F(key, op, rest) \
	"{\"property\":\"" key "\",\"operator\":\"FILTER_OPERATOR_" op "\"" rest "}"
#define ROWS                                                                  \
	"2024-01-01T01:00:00 v u a=1 b=x", "2024-01-01T01:00:00 v u a=2 b=y", \
		"2024-01-01T01:00:00 v u a=3 b=x", "2024-01-01T01:00:00 v u b=z"
	check(Q("\"filterGroups\":[{\"filters\":[" F("a", "GTE", ",\"value\":\"2\"") "," F(
		      "b", "EQUALS", ",\"value\":\"x\"") "]}]"),
		"v: 01-01=1", ROWS);
	check(Q("\"filterGroups\":[{\"operator\":\"LOGICAL_OPERATOR_OR\",\"filters\":[" F("a",
		      "GTE", ",\"value\":\"2\"") "," F("b", "EQUALS", ",\"value\":\"x\"") "]}]"),
		"v: 01-01=3", ROWS);
	check(Q("\"filterGroupsOperator\":\"LOGICAL_OPERATOR_OR\",\"filterGroups\":[{\"filters\":[" F(
		      "a", "EQUALS", ",\"value\":\"1\"") "]},{\"filters\":[" F("a", "IS_NOT_SET",
		      "") "]}]"),
		"v: 01-01=2", ROWS);
	check(Q("\"events\":[{\"event\":{\"kind\":\"v\",\"filters\":[" F(
		      "b", "IN", ",\"values\":[\"y\",\"z\"]") "]}}]"),
		"v: 01-01=2", ROWS);
}

Test(trends, traits_match_every_event_of_a_person)
{
	struct value gold = {.type = VALUE_STR, .s = STR("gold")};
	struct value silver = {.type = VALUE_STR, .s = STR("silver")};

	people_profile(&kit_people, STR("p1"), STR("ext1"));
	people_alias(&kit_people, STR("anon7"), STR("p1"));
	people_trait(&kit_people, STR("p1"), 0, &gold);
	people_trait(&kit_people, STR("p2"), 0, &silver);
#define P(op)                                              \
	Q("\"filterGroups\":[{\"filters\":[" F("plan", op, \
		",\"value\":\"gold\",\"source\":"          \
		"\"PROPERTY_SOURCE_PROFILE\"") "]}]")
#define WHO                                                                                    \
	"2024-01-01T01:00:00 v p1", "2024-01-01T01:00:00 v p1", "2024-01-01T01:00:00 v anon7", \
		"2024-01-01T01:00:00 v ext1", "2024-01-01T01:00:00 v p2",                      \
		"2024-01-01T01:00:00 v z"
	check(P("EQUALS"), "v: 01-01=4", WHO);
	check(P("NOT_EQUALS"), "v: 01-01=2", WHO); /* D28: nobody's traits are empty */
}

Test(trends, unknown_zone_is_refused)
{
	const char *const none[] = {NULL, NULL};

	cr_assert(strstr(kit_trends(Q("\"events\":[]"), "Mars/Olympus", none), "timezone"));
}
