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

/* ---- against a naive model: sessions of many days, put away and met again ---- */

enum { MODEL_EVENTS = 160, MODEL_SESSIONS = 14, MODEL_DAYS = 5, MODEL_VALUES = 3 };

struct model_event {
	int day, second, session, id, value;
};

struct model {
	struct model_event v[MODEL_EVENTS];
	int n;
	char lines[MODEL_EVENTS][64];
	const char *segments[2 * MODEL_EVENTS + 2];
};

static uint64_t next(uint64_t *rng)
{
	*rng = *rng * 6364136223846793005u + 1442695040888963407u;
	return *rng >> 33;
}

static int pick(uint64_t *rng, int below)
{
	return (int)(next(rng) % (uint64_t)below);
}

static int by_time(const void *x, const void *y)
{
	const struct model_event *a = x, *b = y;

	if (a->day != b->day)
		return a->day - b->day;
	return a->second != b->second ? a->second - b->second : a->id - b->id;
}

/* A day has some segments, whose rows are in order; of few instants, so that ids tell. */
static void model_draw(struct model *m, uint64_t *rng)
{
	int n_lines = 0, ids[MODEL_EVENTS];

	m->n = 1 + pick(rng, MODEL_EVENTS);
	for (int i = 0; i < m->n; i++)
		ids[i] = i + 1;
	for (int i = 0; i < m->n; i++) {
		int k = i + pick(rng, m->n - i), id = ids[k];

		ids[k] = ids[i];
		m->v[i] = (struct model_event){pick(rng, MODEL_DAYS), pick(rng, 4) * 7,
			pick(rng, MODEL_SESSIONS), id, pick(rng, MODEL_VALUES)};
	}
	qsort(m->v, (size_t)m->n, sizeof(m->v[0]), by_time);
	for (int day = 0; day < MODEL_DAYS; day++) {
		int parts = 1 + pick(rng, 3);

		for (int part = 0; part < parts; part++) {
			int before = n_lines;

			for (int i = 0; i < m->n; i++) {
				const struct model_event *e = &m->v[i];

				if (e->day != day || e->id % parts != part)
					continue;
				snprintf(m->lines[i], sizeof(m->lines[i]),
					"2024-01-%02dT10:00:%02d v u p=%c @session=%d @id=%d",
					day + 1, e->second, 'a' + e->value, e->session + 1, e->id);
				m->segments[n_lines++] = m->lines[i];
			}
			if (n_lines > before)
				m->segments[n_lines++] = NULL;
		}
	}
	m->segments[n_lines] = NULL;
}

/* The first or last event of a session; NULL when it has none. */
static const struct model_event *model_edge(const struct model *m, int session, bool last)
{
	const struct model_event *edge = NULL;

	for (int i = 0; i < m->n; i++)
		if (m->v[i].session == session && (!edge || last))
			edge = &m->v[i];
	return edge;
}

/* From the second day on, to the end of the fourth. */
#define MIDDLE WINDOW("02T00:00:00", "05T00:00:00")

static void model_totals(const struct model *m)
{
	double seconds = 0, bounced = 0, events = 0, n = 0;

	for (int s = 0; s < MODEL_SESSIONS; s++) {
		const struct model_event *a = model_edge(m, s, false), *b = model_edge(m, s, true);
		int count = 0;

		for (int i = 0; i < m->n; i++)
			count += m->v[i].session == s;
		if (!a || a->day < 1 || a->day > 3)
			continue;
		n++;
		seconds += (b->day - a->day) * 86400 + b->second - a->second;
		bounced += count == 1;
		events += count;
	}
	cr_expect_float_eq(
		atof(kit_sessions(TOTAL("SESSIONS", MIDDLE, ""), "", m->segments)), n, 0);
	n = n > 0 ? n : 1;
	cr_expect_float_eq(atof(kit_sessions(TOTAL("AVG_DURATION", MIDDLE, ""), "", m->segments)),
		seconds / n, 1e-6);
	cr_expect_float_eq(atof(kit_sessions(TOTAL("BOUNCE_RATE", MIDDLE, ""), "", m->segments)),
		100 * bounced / n, 1e-6);
	cr_expect_float_eq(
		atof(kit_sessions(TOTAL("AVG_EVENTS_PER_SESSION", MIDDLE, ""), "", m->segments)),
		events / n, 1e-6);
}

/* The series as kit_series() writes them. */
static const char *model_series(const struct model *m, bool last)
{
	static char text[1024];
	int counts[MODEL_VALUES][MODEL_DAYS] = {{0}}, totals[MODEL_VALUES] = {0};
	size_t at = 0;

	for (int s = 0; s < MODEL_SESSIONS; s++) {
		const struct model_event *a = model_edge(m, s, false);
		int value = a ? model_edge(m, s, last)->value : 0;

		if (a && a->day >= 1 && a->day <= 3) {
			counts[value][a->day]++;
			totals[value]++;
		}
	}
	text[0] = 0;
	for (int left = MODEL_VALUES; left > 0; left--) {
		int best = 0;

		for (int v = 1; v < MODEL_VALUES; v++)
			best = totals[v] > totals[best] ? v : best;
		if (totals[best] <= 0)
			break;
		at += (size_t)snprintf(text + at, sizeof(text) - at,
			"%s$session[%c]:", at ? "; " : "", 'a' + best);
		for (int day = 1; day <= 3; day++)
			if (counts[best][day])
				at += (size_t)snprintf(text + at, sizeof(text) - at, " 01-%02d=%d",
					day + 1, counts[best][day]);
		totals[best] = 0;
	}
	return text;
}

Test(sessions, are_those_of_a_naive_model_however_often_they_were_put_away)
{
	static const char *const questions[] = {Q("TRENDS", "ENTRY", MIDDLE, "", BY("p")),
		Q("TRENDS", "EXIT", MIDDLE, "", BY("p"))};
	static struct model m;
	uint64_t rng = getenv("PUGD_SEED") ? (uint64_t)atoll(getenv("PUGD_SEED")) : 5;
	int decided = 0;

	for (int round = 0; round < 300; round++) {
		model_draw(&m, &rng);
		kit_settles = round % 4 > 0;
		kit_level = round % 3 == 0   ? KIT_INBOX
			    : round % 3 == 1 ? KIT_SEALED
					     : KIT_SEALED_IDS;
		if (kit_level == KIT_INBOX)
			kit_settles = false;
		/* what is sealed only is two threads' */
		kit_twins = kit_level != KIT_INBOX && round % 5 > 1;
		model_totals(&m);
		for (int k = 0; k < 2; k++) {
			const char *want = model_series(&m, k == 1);
			const char *got = kit_sessions(questions[k], "", m.segments);

			/* without ids it may say that it does not know */
			if (kit_level == KIT_SEALED && strcmp(got, "undecided") == 0)
				continue;
			decided++;
			cr_assert_str_eq(got, want, "round %d\ngot  %s\nwant %s", round, got, want);
		}
		arena_reset(&kit_a);
		people_init(&kit_people, &kit_a, 8);
	}
	cr_expect_gt(decided, 400);
}

/* Longer than a record has room for, and from far away. */
static void check_years(bool twins)
{
	static const char *const data[] = {"1999-01-01T00:00:00 v u p=a @session=1",
		"2019-01-01T00:00:00 v u p=a @session=2", "2019-01-01T00:00:01 v u p=a @session=3",
		"2019-01-01T00:00:02 v u p=a @session=4", NULL,
		"2024-01-01T10:00:00 v u p=b @session=2", "2024-01-01T10:00:00 v u p=b @session=5",
		"2024-01-01T10:00:01 v u p=b @session=6", "2024-01-01T10:00:02 v u p=b @session=7",
		NULL, "2024-01-02T10:00:00 v u p=c @session=7",
		"2024-01-02T10:00:00 v u p=c @session=8", "2024-01-02T10:00:00 v u p=c @session=9",
		NULL, "2044-01-01T00:00:00 v u p=d @session=8",
		"2044-01-01T00:00:00 v u p=d @session=1", "2044-01-01T00:00:00 v u p=d @session=3",
		"2044-01-01T00:00:00 v u p=d @session=10", NULL,
		"2044-01-02T00:00:00 v u p=e @session=8", NULL, NULL};

	kit_twins = twins;
	kit_settles = true;
	kit_level = KIT_SEALED;
	/* of 5, 6, 7 (a day less 2 s), 8 (7305 days less 10 hours) and 9 */
	sessions(TOTAL("SESSIONS", WEEK, ""), data, "5");
	sessions(TOTAL("AVG_EVENTS_PER_SESSION", WEEK, ""), data, "1.6");
	sessions(TOTAL("AVG_DURATION", WEEK, ""), data, "126240479.6");
	sessions(Q("TRENDS", "EXIT", WEEK, "", BY("p")), data,
		"$session[b]: 01-01=2; $session[c]: 01-01=1 01-02=1; $session[e]: 01-02=1");
}

Test(sessions, that_last_for_years)
{
	check_years(false);
	check_years(true);
}

/* Who comes again every day takes no more memory than who came once. */
Test(sessions, that_come_again_take_little_memory)
{
	enum { DAYS = 56, N = 4000, JANUARY = 31 };
	static char lines[DAYS][N][64];
	static const char *data[DAYS * (N + 1) + 1];
	struct arena small;
	struct sessions *s;
	struct plan plan;
	double total;

	for (int day = 0, at = 0; day < DAYS; day++, at++)
		for (int i = 0; i < N; i++) {
			snprintf(lines[day][i], sizeof(lines[day][i]),
				"2024-%02d-%02dT10:00:00 v u @session=%d", 1 + day / JANUARY,
				1 + day % JANUARY, i);
			data[at++] = lines[day][i];
		}
	kit_settles = true;
	cr_assert_null(kit_compile(&plan, TOTAL("AVG_EVENTS_PER_SESSION", WEEK, ""), ""));
	/* all parts of sessions would take 3.6 MB */
	arena_init(&small, 5 << 19);
	plan.a = &small;
	s = sessions_new(&plan);
	cr_assert(s && kit_fold_all(&plan, data, kit_fold_sessions, s));
	cr_assert(sessions_total(s, &total));
	cr_expect_float_eq(total, DAYS, 1e-9);
	arena_free(&small);
}
