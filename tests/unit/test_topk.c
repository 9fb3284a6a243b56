/* Top-K and maps against insights-dashboards.md 1.9 (worked examples K1 to K4), D35, D41, D78. */
#include "tests/unit/insight_kit.h"
#include "worker/insights/country.h"

TestSuite(topk, .init = kit_setup, .fini = kit_teardown);

#define Q(type, more)                                                                          \
	"{\"spec\":{\"insightType\":\"INSIGHT_TYPE_" type "\"," more                           \
	"},\"timeRange\":{\"from\":\"2024-01-01T00:00:00Z\",\"to\":\"2024-01-05T00:00:00Z\"}," \
	"\"granularity\":\"GRANULARITY_DAY\"}"
#define TOP(more)     Q("TOP_K", "\"topK\":{" more "}")
#define MAP(more)     Q("MAP", "\"map\":{" more "}")
#define BY(property)  "\"dimension\":\"DIMENSION_PROPERTY\",\"property\":\"" property "\""
#define BY_KIND       "\"dimension\":\"DIMENSION_EVENT_KIND\""
#define BY_USER       "\"dimension\":\"DIMENSION_USER\""
#define METRIC(name)  ",\"metric\":\"AGGREGATION_TYPE_" name "\",\"metricProperty\":\"amt\""
#define METRIC1(name) "\"metric\":\"AGGREGATION_TYPE_" name "\",\"metricProperty\":\"amt\""
#define T             "2024-01-02T10:00:00 "

static void topk(const char *query, const char *const *lines, const char *want)
{
	const char *got = kit_topk(query, lines);

	cr_expect_str_eq(got, want, "got \"%s\"\nwant \"%s\"", got, want);
}

Test(topk, k1_counts_and_others)
{
	static const char *const data[] = {T "view u $browser=Chrome", T "view u $browser=Chrome",
		T "view u $browser=Safari", T "view u $browser=Edge", T "view u $browser=Safari",
		NULL, T "view u $browser=Firefox", T "view u $browser=Chrome",
		T "buy u $browser=Edge", T "view u $browser=Chrome", T "view u $browser=Firefox",
		NULL, T "view u $browser=Safari", T "view u $browser=Chrome",
		"2024-01-05T00:00:00 view u $browser=Edge", NULL, NULL};

	topk(TOP(BY("$browser") ",\"limit\":2,\"scope\":{\"kind\":\"view\"}"), data,
		"Chrome=5 Safari=3 +$others=3");
	topk(TOP(BY("$browser") ",\"limit\":2,\"omitOthers\":true,\"scope\":{\"kind\":\"view\"}"),
		data, "Chrome=5 Safari=3");
	topk(TOP(BY("$browser") ",\"scope\":{\"kind\":\"view\"}"), data,
		"Chrome=5 Safari=3 Firefox=2 Edge=1");
	topk(TOP(BY_KIND), data, "view=11 buy=1");
	topk(TOP(BY_KIND ",\"limit\":1"), data, "view=11 +$others=1");
	topk(TOP(BY("$browser") ",\"scope\":{\"kind\":\"none\"}"), data, "");
}

Test(topk, k2_users_of_others_are_a_union)
{
	static const char *const data[] = {T "v 1 p=A", T "v 2 p=A", T "v 3 p=A", T "v 4 p=B", NULL,
		T "v 5 p=B", T "v 9 p=C", T "v 9 p=D", T "v cookieless-1 p=D",
		T "v cookieless-1 p=E", NULL, NULL};

	topk(TOP(BY("p") ",\"limit\":2" METRIC("UNIQUE_USERS")), data, "A=3 B=2 +$others=1");
	topk(TOP(BY("p") ",\"limit\":2" METRIC("PER_USER_AVG")), data, "A=1 B=1 +$others=2");
	/* excluded events do not match, so E is no value (D72) */
	topk(TOP(BY("p") METRIC("UNIQUE_USERS")), data, "A=3 B=2 C=1 D=1");
	topk(Q("TOP_K", "\"includeCookieless\":true,\"topK\":{" BY("p") METRIC("UNIQUE_USERS") "}"),
		data, "A=3 B=2 D=2 C=1 E=1");
	topk(TOP(BY("p")), data, "A=3 B=2 D=2 C=1 E=1");
}

static const char *const amounts[] = {T "v p amt=4", T "v q amt=30", NULL, T "v p amt=8",
	T "v r amt=3", T "v s amt=n/a", T "v cookieless-1 amt=99", NULL, NULL};

Test(topk, k3_numbers_of_others)
{
	topk(TOP(BY_USER ",\"limit\":1" METRIC("AVG")), amounts, "q=30 +$others=5");
	topk(TOP(BY_USER ",\"limit\":1" METRIC("MIN")), amounts, "q=30 +$others=3");
	topk(TOP(BY_USER METRIC("MAX")), amounts, "q=30 p=8 r=3 s=0");
	topk(TOP(BY_USER), amounts, "p=2 q=1 r=1 s=1");
	topk(TOP(BY_USER METRIC("UNIQUE_USERS")), amounts, "p=1 q=1 r=1 s=1");
	topk(TOP(BY_USER ",\"limit\":1" METRIC("UNIQUE_USERS")), amounts, "p=1 +$others=3");
	topk(TOP(BY_USER METRIC("PER_USER_AVG")), amounts, "p=2 q=1 r=1 s=1");
	topk(Q("TOP_K", "\"includeCookieless\":true,\"topK\":{" BY_USER METRIC("SUM") "}"), amounts,
		"cookieless-1=99 q=30 p=12 r=3 s=0");
}

Test(topk, a_sum_without_numbers_is_last)
{
	static const char *const data[] = {T "v u p=neg amt=-5", T "v u p=z amt=x",
		T "v u p=a amt=true", T "v u p=zero amt=0", T "v u amt=1", NULL, NULL};

	topk(TOP(BY("p") METRIC("SUM")), data, "=1 zero=0 neg=-5 a=0 z=0");
	topk(TOP(BY("p") ",\"limit\":3" METRIC("SUM")), data, "=1 zero=0 neg=-5 +$others=0");
	topk(TOP(BY("p") METRIC("AVG")), data, "=1 a=0 z=0 zero=0 neg=-5");
	topk(TOP(BY("p") METRIC("MIN")), data, "=1 a=0 z=0 zero=0 neg=-5");
}

Test(topk, k4_persons)
{
	static const char *const data[] = {T "v an1 amt=25", T "v e1 amt=50", NULL, T "v z amt=80",
		T "v p1 amt=100", T "v gone amt=7", NULL, NULL};

	cr_assert(people_profile(&kit_people, STR("p1"), STR("e1")));
	cr_assert(people_profile(&kit_people, STR("p2"), STR("an1")));
	cr_assert(people_alias(&kit_people, STR("an1"), STR("p1")));
	/* the alias of somebody deleted names nobody */
	cr_assert(people_alias(&kit_people, STR("gone"), STR("p3")));
	topk(TOP(BY_USER METRIC("SUM")), data, "#p1=175 z=80 gone=7");
	topk(TOP(BY_USER METRIC("SUM") ",\"limit\":1"), data, "#p1=175 +$others=87");
	topk(TOP(BY("none") METRIC("UNIQUE_USERS")), data, "=3");
}

Test(topk, ties_missing_and_a_real_others)
{
	static const char *const data[] = {T "v u p=b", T "v u p=$others", T "v u", T "v u p=\"\"",
		T "v u p=b", T "v u p=5", T "v u p=\"5\"", T "v u p=true", T "v u p=$others", NULL,
		NULL};

	topk(TOP(BY("p")), data, "=2 $others=2 5=2 b=2 true=1");
	topk(TOP(BY("p") ",\"limit\":3"), data, "=2 $others=2 5=2 +$others=3");
	topk(TOP(BY("p") ",\"limit\":1"), data, "=2 +$others=7");
}

Test(topk, promoted_keys)
{
	static const char *const data[] = {T "v u $mobile=true", T "v u $mobile=1", T "v u $os=7",
		T "v u $os=@1704190000000", T "v u a=@1704190000123", NULL, NULL};

	topk(TOP(BY("$mobile")), data, "false=4 true=1");
	topk(TOP(BY("$os")), data, "=4 7=1");
	topk(TOP(BY("a")), data, "=4 2024-01-02 10:06:40.123=1");
}

Test(topk, milliseconds)
{
	static const char *const data[] = {"2023-12-31T23:59:59.999 v u p=before",
		"2024-01-01T00:00:00 v u p=first", "2024-01-04T23:59:59.999 v u p=last",
		"2024-01-05T00:00:00 v u p=after", NULL, NULL};

	topk(TOP(BY("p")), data, "first=1 last=1");
}

/* However events are cut into segments and ordered, rows are the same. */
Test(topk, cut_and_order)
{
	static const char *const one[] = {T "v a p=x amt=1", T "v b p=y amt=2", T "v a p=y amt=4",
		T "v c p=z amt=8", NULL, NULL};
	static const char *const three[] = {T "v c p=z amt=8", NULL, T "v a p=y amt=4", NULL,
		T "v b p=y amt=2", T "v a p=x amt=1", NULL, NULL};
	static const char query[] = TOP(BY("p") ",\"limit\":1" METRIC("PER_USER_AVG"));

	topk(query, one, "x=1 +$others=1");
	topk(query, three, "x=1 +$others=1");
}

Test(map, countries, .init = kit_setup, .fini = kit_teardown)
{
	static const char *const data[] = {T "v a $country=DE amt=1", T "v b $country=DE amt=2",
		T "v a $country=FR amt=x", T "v a $country=de", T "v a $country=XX",
		T "v a $country=XK", T "v a $country=EU", T "v a", T "v a country=US", NULL,
		T "v c $country=AT amt=-3", T "buy c $country=AT amt=x",
		T "v cookieless-1 $country=CH", NULL, NULL};

	topk(MAP(""), data, "AT=2 DE=2 CH=1 FR=1");
	topk(MAP(METRIC1("SUM")), data, "DE=3 CH=0 FR=0 AT=-3");
	topk(MAP(METRIC1("UNIQUE_USERS")), data, "DE=2 AT=1 FR=1");
	topk(MAP(METRIC1("PER_USER_AVG")), data, "AT=2 DE=1 FR=1");
	topk(MAP("\"scope\":{\"kind\":\"buy\"}"), data, "AT=1");
}

Test(map, assigned_codes)
{
	uint32_t n = 0;
	char code[3] = "";

	for (code[0] = 'A'; code[0] <= 'Z'; code[0]++)
		for (code[1] = 'A'; code[1] <= 'Z'; code[1]++)
			n += country_assigned(str_of(code));
	cr_assert_eq(n, COUNTRY_COUNT);
	cr_assert(country_assigned(STR("AX")) && country_assigned(STR("SS")));
	cr_assert(!country_assigned(STR("UK")) && !country_assigned(STR("AN")));
	cr_assert(!country_assigned(STR("")) && !country_assigned(STR("D")));
	cr_assert(!country_assigned(STR("DEU")) && !country_assigned(STR("\0D")));
	cr_assert(!country_assigned((struct str){"D", 2}));
}

Test(topk, memory_ends_cleanly)
{
	char lines[5000][48];
	const char *data[5002];
	struct plan plan;
	struct topk *t;
	struct arena small;

	for (int i = 0; i < 5000; i++) {
		snprintf(lines[i], sizeof(lines[i]), T "v u p=value-%d", i);
		data[i] = lines[i];
	}
	data[5000] = data[5001] = NULL;
	cr_assert_null(kit_compile(&plan, TOP(BY("p")), ""));
	arena_init(&small, 256 << 10);
	plan.a = &small;
	t = topk_new(&plan);
	cr_assert_not(kit_fold_all(&plan, data, kit_fold_topk, t));
	cr_assert(small.over);
	arena_free(&small);
}
