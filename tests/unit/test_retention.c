/* Retention against insights-dashboards.md 1.7 and D33, D76. */
#include "tests/unit/insight_kit.h"
#include "worker/insights/retention.h"

TestSuite(retention, .init = kit_setup, .fini = kit_teardown);

#define IN(from, to, unit, spec)                                           \
	"{\"spec\":{\"insightType\":\"INSIGHT_TYPE_RETENTION\"," spec "}," \
	"\"timeRange\":{\"from\":\"" from "\",\"to\":\"" to "\"},"         \
	"\"granularity\":\"GRANULARITY_" unit "\"}"
#define Q(spec)    IN("2024-01-01T00:00:00Z", "2024-01-05T00:00:00Z", "DAY", spec)
#define EV(kind)   "{\"event\":{\"kind\":\"" kind "\"}}"
#define OF(a, b)   "\"events\":[" EV(a) "," EV(b) "]"
#define SAME(a)    "\"events\":[" EV(a) "]"
#define BY(key, n) ",\"breakdowns\":[{\"property\":\"" key "\"}],\"breakdownLimit\":" n

static bool day_by_day; /* segments come so, as sealed ones do */

static bool fold(void *k, const struct frame *f)
{
	struct frame settled = *f;

	if (day_by_day)
		settled.settled_ms = f->batch->times[0] / 86400000 * 86400000;
	return retention_fold(k, &settled);
}

static void put_cohort(struct buf *b, const struct retention_cohort *c)
{
	kit_put_time(b, c->start_ms);
	buf_printf(b, "(%llu):", (unsigned long long)c->size);
	for (uint32_t i = 0; i < c->n_points; i++) {
		buf_c(b, ' ');
		kit_put_time(b, c->points[i].time_ms);
		buf_printf(b, "=%g", c->points[i].value);
	}
}

/* "[a,b] 01-01(2): 01-01=50 01-03=100, 01-02(1): ...; ..." */
static const char *run(const char *json, const char *zone, const char *const *lines)
{
	const struct retention_series *series;
	struct plan plan;
	const char *why = kit_compile(&plan, json, zone);
	struct retention *r;
	struct buf b;
	uint32_t n;

	if (why)
		return why;
	r = retention_new(&plan);
	if (!kit_fold_all(&plan, lines, fold, r) || !retention_finish(r, &series, &n)) {
		cr_assert(retention_undecided(r));
		return strcpy(kit_text, "undecided");
	}
	buf_init(&b, &kit_a);
	for (uint32_t i = 0; i < n; i++) {
		buf_z(&b, i ? "; " : "");
		kit_put_tuple(&b, &plan, series[i].values);
		buf_z(&b, plan.n_breakdowns ? " " : "");
		for (uint32_t k = 0; k < series[i].n_cohorts; k++) {
			buf_z(&b, k ? ", " : "");
			put_cohort(&b, &series[i].cohorts[k]);
		}
	}
	snprintf(kit_text, sizeof(kit_text), "%.*s", (int)b.n, b.p ? b.p : "");
	return kit_text;
}

#define check_in(zone, json, expected, ...)                                          \
	do {                                                                         \
		const char *const lines_[] = {__VA_ARGS__, NULL, NULL};              \
		cr_assert_str_eq(run(json, zone, lines_), expected, "%s", kit_text); \
	} while (0)
#define check(json, expected, ...) check_in("", json, expected, __VA_ARGS__)

#define T1                                                            \
	"2024-01-01T10:00:00 view u1", "2024-01-01T11:00:00 view u1", \
		"2024-01-01T12:00:00 view u2", "2024-01-02T09:00:00 view u3"
#define T2 T1, "2024-01-01T11:30:00 buy u1", "2024-01-04T09:30:00 buy u3"

Test(retention, r1_worked)
{
	check(Q(OF("view", "buy")), "01-01(2): 01-01=50, 01-02(1): 01-02=0 01-04=100", T2);
}

Test(retention, r2_worked)
{
	check(IN("2024-03-01T00:00:00Z", "2024-03-08T00:00:00Z", "DAY", OF("start", "login")),
		"03-01(3): 03-01=100 03-02=66.6667 03-03=33.3333", "2024-03-01T10:00:00 start a",
		"2024-03-01T10:00:00 start b", "2024-03-01T10:00:00 start c",
		"2024-03-01T12:00:00 login a", "2024-03-01T12:00:00 login b",
		"2024-03-01T12:00:00 login c", "2024-03-02T12:00:00 login a",
		"2024-03-02T12:00:00 login b", "2024-03-03T12:00:00 login a");
}

Test(retention, r3_a_return_before_the_start_is_none)
{
	check(Q(OF("start", "login")), "01-01(1): 01-01=0", "2024-01-01T09:00:00 login u",
		"2024-01-01T10:00:00 start u");
	/* whichever is read first */
	check(Q(OF("start", "login")), "01-01(1): 01-01=0", "2024-01-01T10:00:00 start u", NULL,
		"2024-01-01T09:00:00 login u");
	/* one before and one after */
	check(Q(OF("start", "login")), "01-01(1): 01-01=100", "2024-01-01T11:00:00 login u",
		"2024-01-01T09:00:00 login u", NULL, "2024-01-01T10:00:00 start u");
}

Test(retention, the_same_millisecond_counts_event_ids_aside)
{
	check(Q(OF("start", "login")), "01-01(1): 01-01=100", "2024-01-01T10:00:00 login u @id=1",
		"2024-01-01T10:00:00 start u @id=2");
	check(Q(OF("start", "login")), "01-01(1): 01-01=0", "2024-01-01T09:59:59.999 login u @id=3",
		"2024-01-01T10:00:00 start u @id=2");
}

Test(retention, the_same_event_is_its_own_return)
{
	check(Q(SAME("view")), "01-01(2): 01-01=100, 01-02(1): 01-02=100", T2);
	check(Q(SAME("view")), "01-01(1): 01-01=100 01-03=100", "2024-01-03T00:00:00 view u", NULL,
		"2024-01-01T23:59:59.999 view u");
}

Test(retention, nobody_and_the_edges_of_the_window)
{
	check(Q(SAME("none")), "", T2);
	check(Q(OF("none", "view")), "", T2);
	check(Q(SAME("view")), "01-02(1): 01-02=100", "2023-12-31T23:59:59.999 view u",
		"2024-01-02T00:00:00 view u", "2024-01-05T00:00:00 view u");
}

Test(retention, persons_not_ids)
{
	people_profile(&kit_people, STR("p1"), STR("ext1"));
	people_alias(&kit_people, STR("anon"), STR("p1"));
	check(Q(SAME("view")), "01-01(1): 01-01=100 01-02=100 01-03=100",
		"2024-01-01T10:00:00 view anon", "2024-01-02T10:00:00 view ext1",
		"2024-01-03T10:00:00 view p1");
}

Test(retention, cookieless)
{
	check(Q(SAME("view")), "01-01(1): 01-01=100", "2024-01-01T10:00:00 view u",
		"2024-01-01T10:00:00 view cookieless-1");
	check(Q(SAME("view") ",\"includeCookieless\":true"), "01-01(2): 01-01=100",
		"2024-01-01T10:00:00 view u", "2024-01-01T10:00:00 view cookieless-1");
}

Test(retention, breakdown_of_the_first_start)
{
	check(Q(OF("view", "buy") BY("p", "0")),
		"[] 01-02(1): 01-02=0; [a] 01-01(1): 01-01=0 01-04=100; [b] 01-01(1): 01-01=0",
		"2024-01-01T10:00:00 view u1 p=a", "2024-01-02T10:00:00 view u1 p=z",
		"2024-01-01T09:00:00 buy u1 p=0", "2024-01-04T09:00:00 buy u1 p=0",
		"2024-01-01T10:00:00 view u2 p=b", "2024-01-02T10:00:00 view u3");
	/* of one millisecond the lower event id, in whatever segment */
	check(Q(SAME("view") BY("p", "0")), "[low] 01-01(1): 01-01=100",
		"2024-01-01T10:00:00 view u p=high @id=256", NULL,
		"2024-01-01T10:00:00 view u p=low @id=9");
}

/* What is sealed comes without ids, unless its rows do not tell. */
Test(retention, first_start_without_ids)
{
	kit_level = KIT_SEALED;
	check(Q(SAME("view") BY("p", "0")), "[low] 01-01(1): 01-01=100",
		"2024-01-01T10:00:00 view u p=low @id=9",
		"2024-01-01T10:00:00 view u p=high @id=256");
	check(Q(SAME("view") BY("p", "0")), "undecided",
		"2024-01-01T10:00:00 view u p=high @id=256", NULL,
		"2024-01-01T10:00:00 view u p=low @id=9");
	check(Q(SAME("view")), "01-01(1): 01-01=100", "2024-01-01T10:00:00 view u p=high @id=256",
		NULL, "2024-01-01T10:00:00 view u p=low @id=9");
	kit_level = KIT_SEALED_IDS;
	check(Q(SAME("view") BY("p", "0")), "[low] 01-01(1): 01-01=100",
		"2024-01-01T10:00:00 view u p=high @id=256", NULL,
		"2024-01-01T10:00:00 view u p=low @id=9");
}

Test(retention, top_values_and_others)
{
	/* by persons, not by cells; $others is last and one cohort */
	check(Q(SAME("view") BY("p", "1")),
		"[z] 01-01(2): 01-01=100; [$others] 01-01(2): 01-01=100 01-02=50 01-03=50, "
		"01-02(1): 01-02=100",
		"2024-01-01T10:00:00 view u1 p=z", "2024-01-01T10:00:00 view u2 p=z",
		"2024-01-01T10:00:00 view u3 p=a", "2024-01-02T10:00:00 view u3 p=a",
		"2024-01-03T10:00:00 view u3 p=a", "2024-01-01T10:00:00 view u4 p=b",
		"2024-01-02T10:00:00 view u5 p=c");
	/* ties by text */
	check(Q(SAME("view") BY("p", "1")),
		"[a] 01-01(1): 01-01=100; [$others] 01-02(1): 01-02=100",
		"2024-01-02T10:00:00 view u1 p=b", "2024-01-01T10:00:00 view u2 p=a");
}

Test(retention, days_of_zones)
{
	/* 23 and 25 hours long */
	check_in("America/New_York",
		IN("2024-03-09T05:00:00Z", "2024-03-12T04:00:00Z", "DAY", SAME("v")),
		"03-09T05:00(1): 03-09T05:00=100 03-10T05:00=100 03-11T04:00=100",
		"2024-03-09T05:00:00 v u", "2024-03-11T03:59:59.999 v u",
		"2024-03-11T04:00:00 v u");
	check_in("America/New_York",
		IN("2024-11-02T04:00:00Z", "2024-11-05T05:00:00Z", "DAY", SAME("v")),
		"11-03T04:00(1): 11-03T04:00=100 11-04T05:00=100", "2024-11-03T04:00:00 v u",
		"2024-11-04T04:59:59.999 v u", "2024-11-04T05:00:00 v u");
	/* the repeated hour is two */
	check_in("America/New_York",
		IN("2024-11-03T04:00:00Z", "2024-11-03T08:00:00Z", "HOUR", SAME("v")),
		"11-03T05:00(1): 11-03T05:00=100 11-03T06:00=100", "2024-11-03T05:30:00 v u",
		"2024-11-03T06:30:00 v u");
}

Test(retention, clocks_that_go_back_over_midnight)
{
	/* At 00:01 to 23:01: a start at half past midnight's first minute, and a return half
	 * an hour later, at 23:30 of the day before, whose bucket is before the cohort. */
	check_in("America/St_Johns",
		IN("2010-11-05T00:00:00Z", "2010-11-09T00:00:00Z", "DAY", OF("a", "b")),
		"11-07T02:30(1): 11-07T02:30=0", "2010-11-07T02:30:30 a u",
		"2010-11-07T03:00:00 b u");
	check_in("America/St_Johns",
		IN("2010-11-05T00:00:00Z", "2010-11-09T00:00:00Z", "DAY", OF("a", "b")),
		"11-07T02:30(1): 11-07T02:30=100", "2010-11-07T02:30:30 a u",
		"2010-11-07T03:00:00 b u", "2010-11-07T03:30:00 b u");
	check_in("America/Sao_Paulo",
		IN("2018-02-17T00:00:00Z", "2018-02-20T00:00:00Z", "DAY", OF("a", "b")),
		"02-17T02:00(1): 02-17T02:00=100 02-18T03:00=100", "2018-02-18T01:30:00 a u",
		"2018-02-18T02:30:00 b u", "2018-02-18T03:00:00 b u");
}

Test(retention, weeks_start_on_sunday_and_months_on_the_first)
{
	check(IN("2024-01-01T00:00:00Z", "2024-02-05T00:00:00Z", "WEEK", SAME("v")),
		"12-31(1): 12-31=100 01-07=100", "2024-01-06T23:59:59.999 v u",
		"2024-01-07T00:00:00 v u");
	check(IN("2024-01-15T00:00:00Z", "2024-03-05T00:00:00Z", "MONTH", SAME("v")),
		"01-01(1): 01-01=100 02-01=100", "2024-01-31T23:59:59.999 v u",
		"2024-02-01T00:00:00 v u");
}

Test(retention, late_rejections)
{
	check(Q("\"events\":[" EV("a") ",{\"event\":{}}]"),
		"spec.events[1].event: event must have a kind or a filter", T1);
	check(Q("\"events\":[{}]"), "spec.events[0].event: event is required", T1);
}

Test(retention, many_persons_and_days)
{
	static char lines[3000][48];
	static const char *list[3002];
	char expected[2000];
	int at;

	/* 300 persons, each on ten days in turn; added backwards */
	for (int i = 0; i < 3000; i++) {
		int day = i % 10, who = i / 10;

		snprintf(lines[i], sizeof(lines[i]), "2024-01-%02dT10:00:00 v u%d", day + 1, who);
		list[2999 - i] = lines[i];
	}
	list[3000] = list[3001] = NULL;
	at = snprintf(expected, sizeof(expected), "01-01(300):");
	for (int day = 1; day <= 10; day++)
		at += snprintf(expected + at, sizeof(expected) - (size_t)at, " 01-%02d=100", day);
	cr_assert_str_eq(
		run(IN("2024-01-01T00:00:00Z", "2024-01-20T00:00:00Z", "DAY", SAME("v")), "", list),
		expected, "%s", kit_text);
}

/* What is known to be over changes nothing: days of two kinds each, returns first. */
Test(retention, days_in_order_or_not)
{
	static char lines[20 * 2 * 40][48], one[sizeof(kit_text)];
	const char *list[20 * 2 * 41 + 1];
	const char *json = IN("2024-01-01T00:00:00Z", "2024-01-21T00:00:00Z", "DAY", OF("a", "b"));

	for (unsigned round = 0, rng = 1; round < 20; round++) {
		uint32_t n = 0;

		for (int i = 0; i < 20 * 2 * 40; i++) {
			rng = rng * 1103515245 + 12345;
			snprintf(lines[i], sizeof(lines[i]), "2024-01-%02dT%02u:%02u:00 %s u%u",
				i / 80 + 1, rng >> 8 & 15, rng >> 12 & 31, i / 40 % 2 ? "a" : "b",
				(rng >> 17) % (50 + 20 * round));
			list[n++] = lines[i];
			if (i % 40 == 39)
				list[n++] = NULL;
		}
		list[n] = NULL;
		day_by_day = true;
		strcpy(one, run(json, "", list));
		day_by_day = false;
		cr_assert_str_eq(run(json, "", list), one);
	}
}
