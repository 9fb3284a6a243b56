/* Events per local day, of some ids only (insights-dashboards.md 3.2, D39). */
#include "tests/unit/insight_kit.h"
#include "worker/insights/days.h"
#include "worker/insights/persons.h"

TestSuite(days, .init = kit_setup, .fini = kit_teardown);

static struct plan plan;
static struct days days;
static const struct tz *zone;

static bool fold(void *k, const struct frame *f)
{
	days_fold(k, f);
	return true;
}

static void setup(const char *name, const char *from, const char *to, size_t n_keys)
{
	static const char *const keys[] = {"$os"};
	int64_t from_ms = kit_time(str_of(from)), to_ms = kit_time(str_of(to));

	zone = tz_open(str_of(name), &kit_a);
	cr_assert(zone);
	cr_assert(compile_days(&plan, zone, from_ms, to_ms, keys, n_keys, &kit_a));
	cr_assert(days_init(&days, &plan, from_ms, to_ms));
}

static const char *answer(void)
{
	char date[DAYS_DATE];
	struct buf b;

	buf_init(&b, &kit_a);
	for (uint32_t i = 0; i < days.buckets->n; i++) {
		if (days.counts[i] == 0)
			continue;
		days_date(&days, zone, i, date);
		buf_printf(&b, "%s%s=%d", b.n ? " " : "", date, (int)days.counts[i]);
	}
	buf_c(&b, '\0');
	return b.p;
}

Test(days, local_days)
{
	/* two midnights in Havana: the day starts with the first of them (D71) */
	setup("America/Havana", "2024-11-02T12:00:00", "2024-11-05T00:00:00", 0);
	kit_fold(&plan,
		(const char *const[]){"2024-11-03T03:59:59.999 x u", "2024-11-03T04:00:00 x u",
			"2024-11-03T05:30:00 x v", NULL, "2024-11-04T04:59:59 x u",
			"2024-11-04T05:00:00 x u", NULL, NULL},
		fold, &days);
	cr_expect_str_eq(answer(), "2024-11-02=1 2024-11-03=3 2024-11-04=1");
}

Test(days, before_the_epoch_and_half_open)
{
	setup("", "1969-12-30T00:00:00", "1970-01-01T00:00:00", 0);
	kit_fold(&plan,
		(const char *const[]){"1969-12-29T23:59:59.999 x u", "1969-12-30T00:00:00 x u",
			"1969-12-31T23:59:59.999 x u", "1970-01-01T00:00:00 x u", NULL, NULL},
		fold, &days);
	cr_expect_str_eq(answer(), "1969-12-30=1 1969-12-31=1");
}

static struct persons persons;

static bool fold_both(void *k, const struct frame *f)
{
	days_fold(&days, f);
	return persons_fold(k, f);
}

/* Totals of all times beside days of a window, for the ids that were named. */
Test(days, of_some_ids)
{
	struct str ids[] = {STR("a"), STR("cookieless-1"), STR("absent")};
	const char *const lines[] = {"2020-01-01T00:00:00 x a $os=Old", "2026-01-01T10:00:00 x a",
		"2026-01-02T10:00:00 x b $os=Other", NULL,
		"2026-01-03T10:00:00 x cookieless-1 $os=New", "2026-01-04T10:00:00 x b", NULL,
		NULL};

	setup("", "2026-01-01T00:00:00", "2026-01-04T00:00:00", 1);
	cr_assert(plan_only_ids(&plan, ids, 3));
	cr_assert(persons_init(&persons, &plan, NULL, true));
	persons.cookieless = true;
	kit_fold(&plan, lines, fold_both, &persons);
	cr_expect_str_eq(answer(), "2026-01-01=1 2026-01-03=1");
	cr_expect_eq(persons_get(&persons, 0).total, 3);
	cr_expect_eq(persons_get(&persons, 0).first_ms, kit_time(STR("2020-01-01T00:00:00")));
	cr_expect(str_eq(persons_text(&persons, 0, 0), STR("New")));
}

Test(days, nobody)
{
	setup("", "2026-01-01T00:00:00", "2026-01-04T00:00:00", 0);
	cr_assert(plan_only_ids(&plan, NULL, 0));
	kit_fold(&plan, (const char *const[]){"2026-01-01T10:00:00 x a", NULL, NULL}, fold, &days);
	cr_expect_str_eq(answer(), "");
}
