/* Who is who kept between queries: copies of bases that are changed, and what the cache does
 * with them while many threads take, give and forget. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "worker/store/people.h"
#include "worker/store/people_cache.h"

enum { CAP = 4 << 20, IDS = 40, SMALL = 1 << 20 };

static uint64_t rng = 1;

static uint32_t draw(uint32_t n)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng >> 33) % n;
}

/* Tables as a snapshot sees them: ids are 1..IDS - 1, 0 is none. */
struct tables {
	bool live[IDS];
	uint32_t external[IDS], alias[IDS];
};

/* D60: the live profile, else whose alias it is, else whose external_id. */
static uint32_t person(const struct tables *t, uint32_t id)
{
	if (t->live[id] || (t->alias[id] && t->live[t->alias[id]]))
		return t->live[id] ? id : t->alias[id];
	for (uint32_t who = 1; who < IDS; who++)
		if (t->live[who] && t->external[who] == id)
			return who;
	return id;
}

static uint64_t digest(uint32_t id)
{
	return id ? id * 0x9e3779b97f4a7c15u : 0;
}

static bool external_taken(const struct tables *t, uint32_t id)
{
	for (uint32_t who = 1; who < IDS; who++)
		if (t->live[who] && t->external[who] == id)
			return true;
	return false;
}

/* One change, and the same told to the base if there is one. */
static void alter(struct tables *t, struct people_base *b)
{
	uint32_t id = 1 + draw(IDS - 1), other = draw(IDS);
	uint64_t d = digest(id), of;

	switch (draw(3)) {
	case 0:
		if (t->live[id])
			return;
		t->live[id] = true;
		t->external[id] = external_taken(t, other) ? 0 : other;
		of = digest(t->external[id]);
		cr_assert(!b || people_base_profiles(b, &d, &of, 1));
		break;
	case 1:
		t->alias[id] = other ? other : 1;
		of = digest(t->alias[id]);
		cr_assert(!b || people_base_aliases(b, &d, &of, 1));
		break;
	default:
		t->live[id] = false;
		cr_assert(!b || people_base_gone(b, &d, 1));
	}
}

/* All of the tables, as of a packed copy. */
static struct people_base *packed(const struct tables *t, uint32_t n_numbers)
{
	struct people_base *b = people_base_new(CAP);
	uint64_t d, of;

	cr_assert_not_null(b);
	for (uint32_t i = 1; i <= n_numbers; i++) {
		d = digest(i);
		cr_assert(people_base_numbers(b, i, &d, 1));
	}
	for (uint32_t id = 1; id < IDS; id++) {
		d = digest(id);
		of = digest(t->external[id]);
		cr_assert(!t->live[id] || people_base_profiles(b, &d, &of, 1));
		of = digest(t->alias[id]);
		cr_assert(!t->alias[id] || people_base_aliases(b, &d, &of, 1));
	}
	people_base_changing(b);
	return b;
}

static void check(const struct people_base *b, const struct tables *t, uint32_t n_numbers)
{
	for (uint32_t id = 1; id < IDS; id++) {
		uint32_t no = digests_find(&b->ids, digest(id)), who = person(t, id);

		if (no == DIGESTS_FULL)
			cr_assert_eq(who, id);
		else
			cr_assert_eq(b->ids.v[b->person[no]], digest(who));
	}
	cr_assert_eq(b->n_numbers, n_numbers);
	for (uint32_t i = 1; i <= n_numbers; i++)
		cr_assert_eq(b->ids.v[b->of_number[i]], digest(person(t, i)));
}

/* What of a changed profile a later change says goes, so the same order gives the same; and each
 * snapshot is told apart from the packed copy, not from the one before. */
Test(people_base, a_copy_forgets_the_changes_of_its_model)
{
	for (int round = 0; round < 300; round++) {
		uint32_t numbers = 1 + draw(IDS - 2);
		struct tables pack = {0}, t;
		struct people_base *b, *next;

		for (uint32_t i = draw(60); i > 0; i--)
			alter(&pack, NULL);
		b = packed(&pack, numbers);
		cr_assert(people_base_ready(b));
		check(b, &pack, numbers);
		for (int snapshot = 0; snapshot < 6; snapshot++) {
			bool told[IDS] = {false};

			next = people_base_copy(b, CAP);
			people_base_free(b);
			b = next;
			cr_assert_not_null(b);
			if (numbers < IDS - 1 && draw(2)) {
				uint64_t d[] = {digest(numbers), digest(numbers + 1)};

				/* the last one once more, as when its block grows */
				cr_assert(people_base_numbers(b, numbers++, d, 2));
			}
			t = pack;
			/* of each profile one row at most, as in the tables */
			for (uint32_t i = draw(20); i > 0; i--) {
				uint32_t id = 1 + draw(IDS - 1);
				uint64_t d = digest(id), none = 0;

				if (told[id])
					continue;
				told[id] = true;
				t.live[id] = draw(2);
				t.external[id] = 0;
				cr_assert(t.live[id] ? people_base_profiles(b, &d, &none, 1)
						     : people_base_gone(b, &d, 1));
			}
			for (uint32_t i = draw(5); i > 0; i--) {
				uint32_t id = 1 + draw(IDS - 1), who = 1 + draw(IDS - 1);
				uint64_t d = digest(id), of = digest(who);

				t.alias[id] = who;
				cr_assert(people_base_aliases(b, &d, &of, 1));
			}
			cr_assert(people_base_ready(b));
			check(b, &t, numbers);
		}
		people_base_free(b);
	}
}

Test(people_base, changes_in_any_order_of_kinds)
{
	for (int round = 0; round < 300; round++) {
		struct tables t = {0};
		struct people_base *b;
		uint64_t d = digest(7), of = 0;

		for (uint32_t i = draw(60); i > 0; i--)
			alter(&t, NULL);
		b = packed(&t, 5);
		/* gone and come again: whichever is told first, it is there */
		cr_assert(people_base_profiles(b, &d, &of, 1));
		cr_assert(people_base_gone(b, &d, 1));
		t.live[7] = true;
		t.external[7] = 0;
		cr_assert(people_base_ready(b));
		check(b, &t, 5);
		people_base_free(b);
	}
}

Test(people_base, numbers_that_are_nobodys)
{
	struct people_base *b = people_base_new(CAP), *next;
	uint64_t d[300];

	for (uint32_t i = 0; i < 300; i++)
		d[i] = digest(i + 1);
	cr_assert(people_base_numbers(b, 1, d, 300));
	people_base_changing(b);
	cr_assert(people_base_ready(b));
	next = people_base_copy(b, CAP);
	people_base_free(b);
	/* erased, which is told twice, and one that comes again under a new number */
	d[299] = 0;
	cr_assert(people_base_numbers(next, 1, d, 300));
	cr_assert(people_base_numbers(next, 1, d, 300));
	d[0] = digest(300);
	cr_assert(people_base_numbers(next, 301, d, 1));
	cr_assert(people_base_ready(next));
	cr_assert_eq(next->n, 301);
	cr_assert_eq(next->ids.v[next->of_number[300]], 0);
	cr_assert_eq(next->ids.v[next->of_number[301]], digest(300));
	people_base_free(next);
}

Test(people_base, ends_at_the_cap)
{
	struct people_base *b = people_base_new(SMALL);
	uint64_t d = 1;
	uint32_t n = 0;

	while (people_base_profiles(b, &d, &d, 1)) {
		d++;
		n++;
	}
	cr_assert(n > 1000 && n < 200000 && b->a.over);
	people_base_free(b);
	cr_assert_null(people_base_new(10));
}

/* ---- the cache ---- */

static struct people_base *base_of(int32_t project, int64_t snapshot, uint32_t ids)
{
	struct people_base *b = people_base_new(16 << 20);
	struct people_state s = {
		.server = STR("here"), .project = project, .snapshot = snapshot, .hash = snapshot};

	cr_assert_not_null(b);
	for (uint64_t d = 1; d <= ids; d++)
		cr_assert(people_base_profiles(b, &d, &(uint64_t){0}, 1));
	cr_assert(people_base_ready(b) && people_base_describe(b, &s));
	return b;
}

static struct people_base *get(int32_t project, size_t limit)
{
	return people_cache_get(
		&(struct people_state){.server = STR("here"), .project = project}, limit);
}

Test(people_cache, keeps_the_latest_of_a_project)
{
	struct people_base *one = base_of(1, 10, 100), *two = base_of(1, 11, 100), *b;

	cr_assert_null(get(1, CAP));
	cr_assert(people_cache_offer(one, CAP));
	b = get(1, CAP);
	cr_assert_eq(b, one);
	people_cache_release(b);
	cr_assert(people_cache_offer(two, CAP));
	/* who held the former one has it still */
	cr_assert_eq(one->state.hash, 10);
	cr_assert_eq(people_cache_bytes(), one->a.held + two->a.held);
	people_cache_release(one);
	cr_assert_eq(people_cache_bytes(), two->a.held);
	one = base_of(1, 9, 100);
	cr_assert_not(people_cache_offer(one, CAP), "an older one");
	people_base_free(one);
	people_cache_release(two);
	b = get(1, CAP);
	cr_assert_eq(b, two);
	people_cache_release(b);
	/* another project, server or key is nobody's */
	cr_assert_null(get(2, CAP));
	cr_assert_null(people_cache_get(
		&(struct people_state){.server = STR("there"), .project = 1}, CAP));
	cr_assert_null(people_cache_get(
		&(struct people_state){.server = STR("here"), .project = 1, .key = {1}}, CAP));
	/* a smaller limit */
	cr_assert_null(get(3, 0));
	cr_assert_eq(people_cache_bytes(), 0);
}

Test(people_cache, stays_within_its_limit)
{
	size_t one;
	struct people_base *held = base_of(1, 1, 1000), *b;

	one = held->a.held;
	cr_assert_not(people_cache_offer(held, one - 1), "larger than all");
	cr_assert(people_cache_offer(held, 3 * one));
	for (int32_t i = 2; i < 5; i++) {
		b = base_of(i, 1, 1000);
		cr_assert(people_cache_offer(b, 3 * one));
		people_cache_release(b);
	}
	/* 1 is held, 2 was used longest ago */
	cr_assert_eq(people_cache_bytes(), 3 * one);
	cr_assert_null(get(2, 3 * one));
	b = get(3, 3 * one);
	cr_assert_not_null(b);
	people_cache_release(b);
	b = base_of(5, 1, 1000);
	cr_assert(people_cache_offer(b, 3 * one));
	cr_assert_null(get(4, 3 * one), "3 was used later");
	/* all that is there is held */
	cr_assert_not(people_cache_offer(held = base_of(6, 1, 1000), one), "no room");
	people_base_free(held);
	people_cache_release(b);
}

enum { THREADS = 4, TURNS = 3000, PROJECTS = 5 };

/* What is taken is whole, as long as it is held. */
static void *hammer(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg;

	for (uint32_t i = 0; i < TURNS; i++) {
		int32_t project = (int32_t)((i * 7 + seed * 13) % PROJECTS);
		uint32_t ids = 50 + (i * 31 + seed) % 400;
		struct people_base *b = get(project, 80000);

		if (b && (b->state.project != project || b->ids.v[b->n - 1] != b->n ||
				 b->person[b->n - 1] != b->n - 1))
			return arg;
		if (!b || i % 3 == 0) {
			struct people_base *made = base_of(project, i / 10, ids);

			if (people_cache_offer(made, 80000))
				people_cache_release(made);
			else
				people_base_free(made);
		}
		if (b)
			people_cache_release(b);
	}
	return NULL;
}

Test(people_cache, many_threads, .timeout = 120)
{
	pthread_t threads[THREADS];
	void *wrong;

	for (uintptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, hammer, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++) {
		cr_assert_eq(pthread_join(threads[i], &wrong), 0);
		cr_assert_null(wrong);
	}
	cr_assert(people_cache_bytes() <= 80000);
	cr_assert_null(get(-1, 0));
	cr_assert_eq(people_cache_bytes(), 0);
}

/* Two queries that share a base do not see each other's strangers. */
Test(people_cache, strangers_are_a_querys_own)
{
	struct people_base *b = base_of(1, 1, 1000);
	struct people one, two;
	struct arena a;
	uint32_t x, y;

	arena_init(&a, CAP);
	people_init_digests(&one, &a);
	people_init_digests(&two, &a);
	people_use(&one, b);
	people_use(&two, b);
	x = people_find(&one, STR("x"));
	y = people_find(&one, STR("y"));
	cr_assert(x == 1000 && y == 1001);
	cr_assert_eq(people_find(&two, STR("y")), 1000);
	cr_assert_eq(people_find(&one, STR("x")), x);
	arena_free(&a);
	people_base_free(b);
}
