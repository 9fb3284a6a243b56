/* What a worker remembers of ids: whose they were, the newest first of all, in bounded room. */
#include <criterion/criterion.h>

#include "shm/base/hash.h"
#include "shm/recent.h"

enum { MANY = 20000 };

static struct recent *r;
static uint8_t ids[MANY * 16];
static int32_t projects[MANY], found[MANY];

static void setup(void)
{
	r = recent_new();
	cr_assert(r);
	for (uint32_t i = 0; i < MANY; i++) {
		hash_uuid7(ids + (size_t)i * 16);
		projects[i] = 1;
	}
}

static void teardown(void)
{
	recent_free(r);
}

TestSuite(recent, .init = setup, .fini = teardown);

Test(recent, finds_what_came_by)
{
	cr_assert_eq(recent_find(r, projects, ids, MANY, found), 0);
	recent_add(r, projects, ids, MANY / 2);
	/* a few may have lost their places to others; nobody else is taken for them */
	uint32_t n = recent_find(r, projects, ids, MANY, found);

	cr_assert_geq(n, MANY / 2 - MANY / 50);
	for (uint32_t i = 0; i < n; i++) {
		cr_assert(found[i] >= 1 && found[i] <= MANY / 2);
		cr_assert(i == 0 || found[i] > found[i - 1]);
	}
}

Test(recent, numbers_are_positions_in_any_batch)
{
	recent_add(r, projects, ids + 7 * 16, 1);
	for (uint32_t n = 8; n < 40; n++) {
		cr_assert_eq(recent_find(r, projects, ids, n, found), 1);
		cr_assert_eq(found[0], 8);
	}
	cr_assert_eq(recent_find(r, projects, ids, 7, found), 0);
	cr_assert_eq(recent_find(r, projects, ids, 0, found), 0);
}

Test(recent, ids_belong_to_projects)
{
	recent_add(r, projects, ids, 100);
	for (uint32_t i = 0; i < 100; i++)
		projects[i] = 2;
	cr_assert_eq(recent_find(r, projects, ids, 100, found), 0);
}

Test(recent, newer_ones_take_the_places)
{
	uint8_t id[16];
	uint32_t left;

	recent_add(r, projects, ids, MANY);
	for (uint32_t i = 0; i < 4 * RECENT_SLOTS; i++) {
		hash_uuid7(id);
		recent_add(r, projects, id, 1);
	}
	left = recent_find(r, projects, ids, MANY, found);
	cr_assert_lt(left, MANY / 20);
	cr_assert_eq(recent_find(r, projects, id, 1, found), 1);
}
