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
	/* nobody else is taken for them */
	uint32_t n = recent_find(r, projects, ids, MANY, found);

	cr_assert_eq(n, MANY / 2);
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

static void flood(uint32_t n)
{
	uint8_t id[16];

	for (uint32_t i = 0; i < n; i++) {
		hash_uuid7(id);
		recent_add(r, projects, id, 1);
	}
}

Test(recent, newer_ones_take_the_places)
{
	recent_add(r, projects, ids, MANY);
	flood(RECENT_SETS * RECENT_WAYS / 2);
	/* oldest first: half of the room is not enough to forget them, but for crowded sets */
	cr_assert_geq(recent_find(r, projects, ids, MANY, found), MANY - MANY / 25);
	flood(3 * RECENT_SETS * RECENT_WAYS / 2);
	cr_assert_lt(recent_find(r, projects, ids, MANY, found), MANY / 20);
}

Test(recent, what_is_sent_again_stays)
{
	recent_add(r, projects, ids, MANY);
	for (int i = 0; i < 40; i++) {
		flood(RECENT_SETS * RECENT_WAYS / 10);
		cr_assert_eq(recent_find(r, projects, ids, 500, found), 500, "turn %d", i);
		recent_add(r, projects, ids, 500);
	}
	cr_assert_lt(recent_find(r, projects, ids, MANY, found), 500 + MANY / 20);
}
