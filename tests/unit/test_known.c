/* What a worker remembers of the catalogue: for a while, in bounded room, of whom it was. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "worker/ingest/known.h"

static struct known *k;

static void setup(void)
{
	k = known_new();
	cr_assert(k);
}

static void teardown(void)
{
	known_free(k);
}

TestSuite(known, .init = setup, .fini = teardown);

static enum verdict find(int32_t project, enum name_list list, const char *name, uint64_t now)
{
	return known_find(k, project, list, str_of(name), now);
}

static void add(const char *name, enum verdict verdict, uint64_t now)
{
	known_add(k, 1, NAME_CUSTOM, str_of(name), verdict, now);
}

Test(known, names_are_of_a_project_and_a_list)
{
	cr_expect_eq(find(1, NAME_CUSTOM, "x", 1000000), VERDICT_NONE);
	add("x", VERDICT_GOOD, 1000000);
	add("y", VERDICT_EXCESS, 1000000);
	cr_expect_eq(find(1, NAME_CUSTOM, "x", 1000000), VERDICT_GOOD);
	cr_expect_eq(find(1, NAME_CUSTOM, "y", 1000000), VERDICT_EXCESS);
	cr_expect_eq(find(2, NAME_CUSTOM, "x", 1000000), VERDICT_NONE);
	cr_expect_eq(find(1, NAME_KIND, "x", 1000000), VERDICT_NONE);
	cr_expect_eq(find(1, NAME_AUTO, "x", 1000000), VERDICT_NONE);
	cr_expect_eq(find(1, NAME_CUSTOM, "", 1000000), VERDICT_NONE);
	add("y", VERDICT_GOOD, 1000000);
	cr_expect_eq(find(1, NAME_CUSTOM, "y", 1000000), VERDICT_GOOD);
}

Test(known, believed_for_one_period_and_at_most_two)
{
	const uint64_t start = 50000000;

	(void)find(1, NAME_CUSTOM, "x", start);
	add("early", VERDICT_GOOD, start + 1);
	add("late", VERDICT_EXCESS, start + KNOWN_MS - 1);
	cr_expect_eq(find(1, NAME_CUSTOM, "early", start + KNOWN_MS), VERDICT_GOOD);
	cr_expect_eq(find(1, NAME_CUSTOM, "late", start + 2 * KNOWN_MS - 2), VERDICT_EXCESS);
	/* being found does not make it younger */
	cr_expect_eq(find(1, NAME_CUSTOM, "early", start + 2 * KNOWN_MS), VERDICT_NONE);
	add("after", VERDICT_GOOD, start + 2 * KNOWN_MS);
	/* nobody came for hours */
	cr_expect_eq(find(1, NAME_CUSTOM, "after", start + 100 * (uint64_t)KNOWN_MS), VERDICT_NONE);
	add("again", VERDICT_GOOD, start + 100 * (uint64_t)KNOWN_MS);
	cr_expect_eq(
		find(1, NAME_CUSTOM, "again", start + 100 * (uint64_t)KNOWN_MS + 5), VERDICT_GOOD);
}

Test(known, forgotten)
{
	add("x", VERDICT_GOOD, 1);
	add("y", VERDICT_EXCESS, 1);
	known_forget(k, 1, NAME_CUSTOM, STR("x"));
	known_forget(k, 1, NAME_CUSTOM, STR("never"));
	cr_expect_eq(find(1, NAME_CUSTOM, "x", 2), VERDICT_NONE);
	cr_expect_eq(find(1, NAME_CUSTOM, "y", 2), VERDICT_EXCESS);
	add("x", VERDICT_GOOD, 2);
	cr_expect_eq(find(1, NAME_CUSTOM, "x", 2), VERDICT_GOOD);
	/* in the older half, too */
	cr_expect_eq(find(1, NAME_CUSTOM, "y", 2 + KNOWN_MS), VERDICT_EXCESS);
	known_forget(k, 1, NAME_CUSTOM, STR("y"));
	cr_expect_eq(find(1, NAME_CUSTOM, "y", 2 + KNOWN_MS), VERDICT_NONE);
}

Test(known, any_number_of_names_in_the_same_room)
{
	unsigned newest = 5 * KNOWN_MAX, good = 0;
	char name[32];

	for (unsigned i = 0; i < newest; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		add(name, i % 3 ? VERDICT_GOOD : VERDICT_EXCESS, 1);
		cr_assert_eq(find(1, NAME_CUSTOM, name, 1), i % 3 ? VERDICT_GOOD : VERDICT_EXCESS);
	}
	/* the last ones are there whole, the first ones went */
	for (unsigned i = newest - KNOWN_MAX; i < newest; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		cr_assert_neq(find(1, NAME_CUSTOM, name, 1), VERDICT_NONE);
	}
	for (unsigned i = 0; i < 2 * KNOWN_MAX; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		good += find(1, NAME_CUSTOM, name, 1) != VERDICT_NONE;
	}
	cr_expect_eq(good, 0);
}
