/* Funnels against insights-dashboards.md 1.5, 1.6 and D32, D75. */
#include "tests/unit/insight_kit.h"
#include "worker/insights/funnel.h"

TestSuite(funnel, .init = kit_setup, .fini = kit_teardown);

#define Q(spec)                                                                              \
	"{\"spec\":{\"insightType\":\"INSIGHT_TYPE_FUNNEL\"," spec "},"                      \
	"\"timeRange\":{\"from\":\"2024-01-01T00:00:00Z\",\"to\":\"2024-01-05T00:00:00Z\"}," \
	"\"granularity\":\"GRANULARITY_DAY\"}"
#define EV(kind)      "{\"event\":{\"kind\":\"" kind "\"}}"
#define OF(spec, ...) Q("\"events\":[" __VA_ARGS__ "]" spec)
#define AB            EV("a") "," EV("b")
#define ABC           AB "," EV("c")
#define WITHIN(w)     ",\"conversionWindow\":\"" w "\""
#define BY(key, n)    ",\"breakdowns\":[{\"property\":\"" key "\"}],\"breakdownLimit\":" n
#define TIMED         ",\"includeStepTiming\":true"

static bool fold(void *k, const struct frame *f)
{
	return funnel_fold(k, f);
}

static void put_timing(struct buf *b, const struct funnel_timing *t)
{
	buf_printf(b, "(%g/%g/%g", (double)t->avg_ns / 1e9, (double)t->median_ns / 1e9,
		(double)t->p95_ns / 1e9);
	for (int i = 0; i < FUNNEL_TIMES; i++)
		buf_printf(b, "%s%llu", i ? "," : " ", (unsigned long long)t->counts[i]);
	buf_z(b, ")");
}

/* "[a,b] 3 2 1; ..."; a timed step is followed by "(avg/median/p95 n,n,...)". */
static const char *run(const char *json, const char *const *lines)
{
	const struct funnel_series *series;
	struct plan plan;
	const char *why = kit_compile(&plan, json, "");
	struct funnel *f;
	struct buf b;
	uint32_t n;

	if (why)
		return why;
	f = funnel_new(&plan);
	if (!kit_fold_all(&plan, lines, fold, f) || !funnel_finish(f, &series, &n)) {
		cr_assert(funnel_undecided(f));
		return strcpy(kit_text, "undecided");
	}
	buf_init(&b, &kit_a);
	for (uint32_t i = 0; i < n; i++) {
		buf_z(&b, i ? "; " : "");
		kit_put_tuple(&b, &plan, series[i].values);
		buf_z(&b, plan.n_breakdowns ? " " : "");
		for (uint32_t k = 0; k < plan.n_events; k++) {
			buf_printf(&b, "%s%llu", k ? " " : "",
				(unsigned long long)series[i].totals[k]);
			if (series[i].timing && k)
				put_timing(&b, &series[i].timing[k]);
		}
	}
	snprintf(kit_text, sizeof(kit_text), "%.*s", (int)b.n, b.p ? b.p : "");
	return kit_text;
}

#define check(json, expected, ...)                                             \
	do {                                                                   \
		const char *const lines_[] = {__VA_ARGS__, NULL, NULL};        \
		cr_assert_str_eq(run(json, lines_), expected, "%s", kit_text); \
	} while (0)

/* "kind@seconds" of one person, as one segment or, reversed, one segment each. */
static const char *const *person(const char *who, const char *text, bool cut)
{
	static char lines[64][80];
	static const char *list[130];
	char copy[256], *rest = copy;
	int n = 0, at = 0;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word; (word = strsep(&rest, " "));) {
		double s = atof(strchr(word, '@') + 1);
		int ms = (int)(s * 1000 + 0.5);

		*strchr(word, '@') = 0;
		snprintf(lines[n], sizeof(lines[n]), "2024-01-01T%02d:%02d:%02d.%03d %s %s @id=%d",
			ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000, word, who, n + 1);
		n++;
	}
	for (int i = 0; i < n; i++) {
		list[at++] = lines[cut ? n - 1 - i : i];
		if (cut)
			list[at++] = NULL;
	}
	if (!cut)
		list[at++] = NULL;
	list[at] = NULL;
	return list;
}

static void probe(const char *json, const char *events, const char *expected)
{
	cr_assert_str_eq(
		run(json, person("u", events, false)), expected, "%s: %s", events, kit_text);
	/* the order and the cut of segments change nothing */
	cr_assert_str_eq(
		run(json, person("u", events, true)), expected, "%s: %s", events, kit_text);
}

Test(funnel, f1_worked)
{
	check(OF("", EV("signup") "," EV("cart") "," EV("pay")), "3 2 1",
		"2024-01-01T10:00:00 signup A", "2024-01-01T11:00:00 cart A",
		"2024-01-01T12:00:00 pay A", "2024-01-01T10:00:00 signup B",
		"2024-01-01T14:00:00 cart B", "2024-01-01T10:00:00 signup C",
		"2024-01-01T09:00:00 pay D");
}

Test(funnel, f2_breakdown_by_first_touch)
{
	check(OF(BY("$country", "0"), EV("view") "," EV("buy")), "[FR] 1 0; [US] 2 2",
		"2024-01-01T10:00:00 view u1 $country=US",
		"2024-01-01T11:00:00 view u1 $country=FR", "2024-01-01T11:30:00 buy u1 $country=FR",
		"2024-01-01T11:30:00 view u2 $country=FR",
		"2024-01-01T11:30:00 view u3 $country=US",
		"2024-01-01T11:31:00 buy u3 $country=US");
}

Test(funnel, probes_of_the_window)
{
	probe(OF(WITHIN("10s"), AB), "a@0 b@10", "1 1");
	probe(OF(WITHIN("10s"), AB), "a@0 b@10.001", "1 0");
	probe(OF(WITHIN("10s"), AB), "a@0 b@11", "1 0");
	probe(OF(WITHIN("10s"), AB), "a@0.9 b@10.9", "1 1");
	probe(OF(WITHIN("10s"), AB), "a@0.9 b@11.1", "1 0");
	probe(OF(WITHIN("10s"), AB), "a@0 x@1 b@2", "1 1");
	probe(OF(WITHIN("10s"), ABC), "a@0 c@5", "1 0 0");
	probe(OF(WITHIN("10s"), AB), "a@0 a@40 b@45", "1 1");
	probe(OF(WITHIN("10s"), ABC), "a@0 b@5 a@8 c@12", "1 1 0");
	probe(OF(WITHIN("10s"), ABC), "a@0 b@5 a@8 b@9 c@15", "1 1 1");
	/* without a conversion window the whole window */
	probe(OF("", AB), "a@0 b@86399.999", "1 1");
	/* far more than it */
	probe(OF(WITHIN("300000000000s"), AB), "a@0 b@86399.999", "1 1");
}

Test(funnel, probes_of_the_order)
{
	probe(OF("", AB), "b@0 a@1", "1 0");
	/* milliseconds count */
	probe(OF("", AB), "b@0.1 a@0.9", "1 0");
	probe(OF("", AB), "a@0.1 b@0.101", "1 1");
	/* of one millisecond the event id, which is 1, 2, ... here */
	probe(OF("", AB), "a@1 b@1", "1 1");
	probe(OF("", AB), "b@1 a@1", "1 0");
	check(OF("", AB), "1 0", "2024-01-01T10:00:00 a u @id=256",
		"2024-01-01T10:00:00 b u @id=9");
	check(OF("", AB), "1 1", "2024-01-01T10:00:00 a u @id=9",
		"2024-01-01T10:00:00 b u @id=256");
}

Test(funnel, steps_are_different_events)
{
	probe(OF("", EV("a") "," EV("a")), "a@0", "1 0");
	probe(OF("", EV("a") "," EV("a")), "a@0 a@0", "1 1");
	probe(OF("", EV("a") "," EV("b") "," EV("a")), "a@0 b@0.5", "1 1 0");
	probe(OF("", EV("a") "," EV("b") "," EV("a")), "a@0 b@0.5 a@0.5", "1 1 1");
	/* overlapping filters: a single b is one step only */
	probe(OF("", "{\"event\":{\"filters\":[{\"property\":\"none\",\"operator\":"
		     "\"FILTER_OPERATOR_IS_NOT_SET\"}]}}," EV("b")),
		"b@0", "1 0");
}

Test(funnel, window_is_half_open)
{
	check(OF("", AB), "1 0", "2024-01-01T00:00:00 a u", "2024-01-05T00:00:00 b u");
	check(OF("", AB), "1 1", "2024-01-01T00:00:00 a u", "2024-01-04T23:59:59.999 b u");
	check(OF("", AB), "0 0", "2023-12-31T23:59:59.999 a u", "2024-01-02T00:00:00 b u");
}

Test(funnel, nobody)
{
	check(OF("", AB), "0 0", "2024-01-01T00:00:00 x u");
	check(OF(TIMED, AB), "0 0(0/0/0 0,0,0,0,0,0,0,0)", "2024-01-01T00:00:00 x u");
	check(OF(BY("p", "0"), AB), "", "2024-01-01T00:00:00 x u");
	/* who never made the first step has a tuple all the same */
	check(OF(BY("p", "0"), AB), "[] 1 0; [z] 0 0", "2024-01-01T00:00:00 b u p=z",
		"2024-01-01T00:00:00 a v");
}

Test(funnel, persons_not_ids)
{
	people_profile(&kit_people, STR("p1"), STR("ext1"));
	people_alias(&kit_people, STR("anon"), STR("p1"));
	check(OF("", ABC), "1 1 1", "2024-01-01T01:00:00 a anon", "2024-01-01T02:00:00 b p1",
		"2024-01-01T03:00:00 c ext1");
	check(OF(BY("p", "0"), AB), "[x] 1 1", "2024-01-01T01:00:00 a anon p=x", NULL,
		"2024-01-01T02:00:00 b p1 p=y");
}

Test(funnel, cookieless)
{
	check(OF("", AB), "0 0", "2024-01-01T01:00:00 a cookieless-1",
		"2024-01-01T02:00:00 b cookieless-1");
	check(OF(",\"includeCookieless\":true", AB), "1 1", "2024-01-01T01:00:00 a cookieless-1",
		"2024-01-01T02:00:00 b cookieless-1");
}

Test(funnel, top_values_and_others)
{
	/* ranked by the first step, ties by text; sorted by text; $others last */
	check(OF(BY("p", "2"), AB), "[m] 2 0; [z] 2 1; [$others] 2 1",
		"2024-01-01T01:00:00 a u1 p=z", "2024-01-01T01:00:00 a u2 p=z",
		"2024-01-01T02:00:00 b u2 p=no", "2024-01-01T01:00:00 a u3 p=m",
		"2024-01-01T01:00:00 a u4 p=m", "2024-01-01T01:00:00 a u5 p=n",
		"2024-01-01T01:30:00 b u5 p=n", "2024-01-01T01:00:00 a u6 p=$others",
		"2024-01-01T01:00:00 b u7 p=b");
	/* a real $others is an ordinary value (D74) */
	check(OF(BY("p", "1"), AB), "[$others] 1 0; [$others] 1 0", "2024-01-01T01:00:00 a u1 p=x",
		"2024-01-01T01:00:00 a u2 p=$others");
	/* first touch among one millisecond is by event id, in whatever segment */
	check(OF(BY("p", "0"), AB), "[late] 1 1", "2024-01-01T01:00:00 b u p=early @id=2", NULL,
		"2024-01-01T01:00:00 a u p=late @id=1");
	/* two values, element by element */
	check(OF(",\"breakdowns\":[{\"property\":\"p\"},{\"property\":\"$country\"}]", AB),
		"[a,z] 1 0; [ab,] 1 0; [b,a] 1 0", "2024-01-01T01:00:00 a u1 p=b $country=a",
		"2024-01-01T01:00:00 a u2 p=ab", "2024-01-01T01:00:00 a u3 p=a $country=z");
}

/* What is sealed comes without ids, unless its rows do not tell. */
Test(funnel, order_without_ids)
{
#define AT(kind, p, id) "2024-01-01T01:00:00 " kind " u p=" p " @id=" id
	kit_level = KIT_SEALED;
	check(OF("", AB), "1 1", AT("a", "x", "1"), AT("b", "y", "2"));
	check(OF("", AB), "1 0", AT("b", "x", "1"), AT("a", "y", "2"));
	check(OF("", AB), "undecided", AT("a", "x", "1"), NULL, AT("b", "y", "2"));
	check(OF("", AB), "1 0", AT("a", "x", "1"), NULL, AT("a", "y", "2"));
	/* the first of somebody's events, too */
	check(OF(BY("p", "0"), EV("a")), "[y] 1", AT("a", "y", "1"), AT("a", "x", "2"));
	check(OF(BY("p", "0"), EV("a")), "undecided", AT("a", "y", "2"), NULL, AT("a", "x", "1"));
	check(OF(BY("p", "0"), EV("a")), "[y] 1", AT("a", "y", "2"), NULL, AT("a", "y", "1"));
	/* which is decided by an earlier one */
	check(OF(BY("p", "0"), EV("a")), "[z] 1", AT("a", "y", "2"), NULL, AT("a", "x", "1"), NULL,
		"2024-01-01T00:59:59 a u p=z");
	kit_level = KIT_SEALED_IDS;
	check(OF("", AB), "1 1", AT("a", "x", "1"), NULL, AT("b", "y", "2"));
	check(OF("", AB), "1 0", AT("a", "x", "2"), NULL, AT("b", "y", "1"));
	check(OF(BY("p", "0"), EV("a")), "[x] 1", AT("a", "y", "2"), NULL, AT("a", "x", "1"));
#undef AT
}

Test(funnel, chains_of_the_timing)
{
	/* D75: the newest chain of each step */
	probe(OF(TIMED, ABC), "a@0 b@1 b@5 c@6",
		"1 1(5/5/5 1,0,0,0,0,0,0,0) 1(1/1/1 1,0,0,0,0,0,0,0)");
	/* the first time that the level rises is theirs: later, quicker ones change nothing */
	probe(OF(TIMED, AB), "a@0 b@40 a@50 b@51", "1 1(40/40/40 0,1,0,0,0,0,0,0)");
	/* a start too early does not hide a later one */
	probe(OF(WITHIN("10s") TIMED, AB), "a@0 a@100 b@105", "1 1(5/5/5 1,0,0,0,0,0,0,0)");
	probe(OF(TIMED, EV("a") "," EV("a")), "a@0 a@0.25", "1 1(0.25/0.25/0.25 1,0,0,0,0,0,0,0)");
}

static const char **delta(const char **at, int i, const char *who, int ms)
{
	static char lines[80][80];
	char *line = lines[i * 2];

	snprintf(line, 80, "2024-01-01T00:00:00 a %s%d @id=1", who, i);
	*at++ = line;
	line = lines[i * 2 + 1];
	snprintf(line, 80, "2024-01-%02dT%02d:%02d:%02d.%03d b %s%d @id=2", 1 + ms / 86400000,
		ms / 3600000 % 24, ms / 60000 % 60, ms / 1000 % 60, ms % 1000, who, i);
	*at++ = line;
	return at;
}

static void timed(const int *ms, int n, const char *expected)
{
	const char *lines[100], **at = lines;

	for (int i = 0; i < n; i++)
		at = delta(at, i, "u", ms[i]);
	at[0] = at[1] = NULL;
	cr_assert_str_eq(run(OF(TIMED, AB), lines), expected, "%s", kit_text);
}

Test(funnel, statistics_of_the_timing)
{
	int twenty[20];

	timed((int[]){240000, 60000, 120000, 180000}, 4, "4 4(150/150/240 0,1,3,0,0,0,0,0)");
	for (int i = 0; i < 20; i++)
		twenty[i] = (20 - i) * 1000;
	timed(twenty, 20, "20 20(10.5/10.5/19 20,0,0,0,0,0,0,0)");
	/* a time that is a bound is in the next bucket */
	timed((int[]){30000, 120000, 300000, 900000, 3600000, 21600000, 86400000}, 7,
		"7 7(16135.7/900/86400 0,1,1,1,1,1,1,1)");
	timed((int[]){29999, 119999, 299999, 899999, 3599999, 21599999, 86399999, 0}, 8,
		"8 8(14118.7/599.999/86400 2,1,1,1,1,1,1,0)");
	/* half milliseconds, and thirds of one cut off */
	timed((int[]){1, 2}, 2, "2 2(0.0015/0.0015/0.002 2,0,0,0,0,0,0,0)");
}

Test(funnel, mean_is_whole_nanoseconds)
{
	const char *lines[] = {"2024-01-01T00:00:00 a u", "2024-01-01T00:00:00.001 b u",
		"2024-01-01T00:00:00 a v", "2024-01-01T00:00:00.001 b v", "2024-01-01T00:00:00 a w",
		"2024-01-01T00:00:00.002 b w", NULL, NULL};
	const struct funnel_series *series;
	struct plan plan;
	struct funnel *f;
	uint32_t n;

	cr_assert_null(kit_compile(&plan, OF(TIMED, AB), ""));
	f = funnel_new(&plan);
	kit_fold(&plan, lines, fold, f);
	cr_assert(funnel_finish(f, &series, &n));
	cr_assert_eq(series[0].timing[1].avg_ns, 1333333);
}

Test(funnel, timing_of_every_series)
{
	check(OF(BY("p", "1") TIMED, AB),
		"[cold] 2 0(0/0/0 0,0,0,0,0,0,0,0); [$others] 2 2(45/45/60 0,2,0,0,0,0,0,0)",
		"2024-01-01T01:00:00 a u1 p=cold", "2024-01-01T01:00:00 a u2 p=cold",
		"2024-01-01T01:00:00 a u3 p=x", "2024-01-01T01:00:30 b u3",
		"2024-01-01T01:00:00 a u4 p=y", "2024-01-01T01:01:00 b u4");
}

Test(funnel, late_rejections)
{
	check(OF("", AB ",{\"event\":{}}"),
		"spec.events[2].event: event must have a kind or a filter",
		"2024-01-01T00:00:00 a u");
	check(OF("", EV("a") ",{}"), "spec.events[1].event: event is required",
		"2024-01-01T00:00:00 a u");
}

/* Trails: long ones, in an unlucky order. */
Test(funnel, a_long_trail_is_sorted)
{
	static char lines[2000][48];
	static const char *list[4002];

	/* x before each of 1000 ascending a-b pairs, added backwards in ones */
	for (int i = 0; i < 2000; i++) {
		int s = (i * 7919) % 2000; /* a permutation: 7919 is prime */

		snprintf(lines[i], sizeof(lines[i]), "2024-01-01T%02d:%02d:%02d %s u @id=%d",
			s / 3600, s / 60 % 60, s % 60,
			s == 0  ? "c"
			: s % 3 ? "b"
				: "a",
			i);
		list[i] = lines[i];
	}
	list[2000] = list[2001] = NULL;
	cr_assert_str_eq(run(OF(TIMED, EV("c") "," EV("a") "," EV("b")), list),
		"1 1(3/3/3 1,0,0,0,0,0,0,0) 1(1/1/1 1,0,0,0,0,0,0,0)", "%s", kit_text);
}
