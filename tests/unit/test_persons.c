/* What events say of persons, and which of them a page holds. */
#include "tests/unit/insight_kit.h"
#include "worker/insights/roster.h"

TestSuite(persons, .init = kit_setup, .fini = kit_teardown);

static struct roster r;
static struct plan plan;

static bool fold(void *k, const struct frame *f)
{
	return persons_fold(k, f);
}

static void setup(const char *const *lines)
{
	const char *why;

	cr_assert(compile_persons(&plan, NULL, 0, false, &kit_a, &why) == 0);
	cr_assert(plan_property(&plan, STR("$browser")) == 0);
	cr_assert(plan_property(&plan, STR("$os")) == 1);
	plan.need.ids = plan.need.session = true;
	r = (struct roster){.people = &kit_people, .want = 100};
	cr_assert(persons_init(&r.persons, &plan, NULL, false));
	kit_fold(&plan, lines, fold, &r.persons);
}

static struct person who(const char *id)
{
	return persons_get(&r.persons, people_find(&kit_people, str_of(id)));
}

static struct str latest(const char *id, uint32_t k)
{
	return persons_text(&r.persons, people_find(&kit_people, str_of(id)), k);
}

Test(persons, sums_and_the_latest_event)
{
	people_profile(&kit_people, STR("p1"), STR("u"));
	people_alias(&kit_people, STR("anon"), STR("p1"));
	setup((const char *const[]){"2026-01-02T00:00:00 page_view anon $browser=A $os=X",
		"2026-01-03T00:00:00 buy u $browser=B", "2026-01-01T00:00:00 page_view u",
		"2026-01-01T00:00:00 page_view other $os=Y",
		"2026-01-09T00:00:00 page_view cookieless-1 $os=Z", NULL, NULL});
	cr_expect_eq(who("u").total, 3);
	cr_expect_eq(who("u").pageviews, 2);
	cr_expect_eq(who("u").last_ms - who("u").first_ms, 2 * 86400000);
	cr_expect(str_eq(latest("p1", 0), STR("B")));
	cr_expect(str_eq(latest("p1", 1), STR(""))); /* blank on the latest is blank */
	cr_expect(str_eq(latest("other", 1), STR("Y")));
	cr_expect_eq(who("cookieless-1").total, 0);
	cr_expect_eq(who("nobody").total, 0);
	cr_expect(str_eq(latest("nobody", 1), STR("")));
}

static void expect_page(const char *want)
{
	struct buf b;

	cr_assert(roster_finish(&r));
	buf_init(&b, &kit_a);
	for (uint32_t i = 0; i < r.n; i++)
		buf_printf(&b, "%.*s ", STR_ARG(r.v[i].key));
	buf_z(&b, r.more ? "..." : ".");
	buf_c(&b, '\0');
	cr_expect_str_eq(b.p, want);
}

Test(persons, order_and_cursor)
{
	people_profile(&kit_people, STR("p1"), STR("u"));
	people_date(&kit_people, STR("p1"), 1767225600000000); /* 2026-01-01 */
	people_profile(&kit_people, STR("p2"), STR(""));
	people_date(&kit_people, STR("p2"), 1767225600000001);
	setup((const char *const[]){"2026-01-01T00:00:00 x a", "2026-01-01T00:00:00 x b",
		"2025-01-01T00:00:00 x u", "2026-01-05T00:00:00 x late", "2026-01-05T00:00:00 x b",
		"2026-01-05T00:00:00 x cookieless-1", NULL, NULL});
	expect_page("late p2 p1 b a .");
	r.want = 2;
	expect_page("late p2 ...");
	r.has_cursor = true;
	r.cursor_us = r.v[1].us;
	r.cursor_key = r.v[1].key;
	expect_page("p1 b ...");
	r.cursor_us = r.v[1].us;
	r.cursor_key = r.v[1].key;
	expect_page("a .");
	r.cursor_us = r.v[0].us;
	r.cursor_key = r.v[0].key;
	expect_page(".");
}

Test(persons, conditions)
{
	struct filter f[] = {
		{.op = FILTER_EQUALS, .source = 0, .value = STR("A")},
		{.op = FILTER_NOT_EQUALS, .profile = true, .source = 0, .value = STR("pro")},
	};
	struct plan_group groups[] = {{.filters = f, .n = 1}, {.filters = f + 1, .n = 1}};
	struct value pro = {.type = VALUE_STR, .s = STR("pro")};

	people_profile(&kit_people, STR("p1"), STR("u"));
	people_date(&kit_people, STR("p1"), 1);
	people_trait(&kit_people, STR("p1"), 0, &pro);
	setup((const char *const[]){"2026-01-01T00:00:00 x u $browser=A",
		"2026-01-01T00:00:00 x a $browser=A", "2026-01-01T00:00:00 x b $browser=B", NULL,
		NULL});
	plan.person_groups = groups;
	plan.n_person_groups = 1;
	expect_page("a p1 .");
	plan.n_person_groups = 2;
	expect_page("a .");
	plan.any_person_group = true;
	expect_page("b a p1 .");
}
