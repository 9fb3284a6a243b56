/* Who an id is (D60), interned strings, and sums. */
#include <float.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include "worker/insights/tally.h"
#include "worker/store/people.h"

static struct arena a;

static void setup(void)
{
	arena_init(&a, 64 << 20);
}

static void teardown(void)
{
	arena_free(&a);
}

TestSuite(people, .init = setup, .fini = teardown);

#define who(p, id) people_key(&(p), people_find(&(p), STR(id)))

Test(people, precedence)
{
	struct people p;

	cr_assert(people_init(&p, &a, 1));
	people_profile(&p, STR("p1"), STR("ext"));
	people_profile(&p, STR("p2"), STR("p1")); /* somebody's external_id is a profile id */
	people_profile(&p, STR("p3"), STR("both"));
	people_alias(&p, STR("both"), STR("p2"));
	people_alias(&p, STR("p3"), STR("p1"));
	people_alias(&p, STR("late"), STR("gone"));
	cr_assert(str_eq(who(p, "p1"), STR("p1")));
	cr_assert(str_eq(who(p, "ext"), STR("p1")));
	cr_assert(str_eq(who(p, "both"), STR("p2")));
	cr_assert(str_eq(who(p, "p3"), STR("p3")));
	cr_assert(str_eq(who(p, "late"), STR("late")));
	cr_assert(str_eq(who(p, "new"), STR("new")));
}

/* Many at once are who each of them is alone, also those that are new and come twice. */
Test(people, all_at_once)
{
	struct people p, q;
	char text[INTERN_BATCH][16];

	cr_assert(people_init(&p, &a, 0) && people_init(&q, &a, 0));
	for (int i = 0; i < 1000; i++) {
		char id[16], other[16];

		snprintf(id, sizeof(id), "p%d", i);
		snprintf(other, sizeof(other), "x%d", i);
		people_profile(&p, str_of(id), str_of(other));
		people_profile(&q, str_of(id), str_of(other));
	}
	for (uint32_t round = 0; round < 200; round++) {
		struct str ids[INTERN_BATCH];
		uint32_t found[INTERN_BATCH], n = round % (INTERN_BATCH + 1);

		for (uint32_t k = 0; k < n; k++) {
			snprintf(text[k], sizeof(text[k]), "%c%u", "pxn"[(round + k) % 3],
				(round * 7919 + k / 2 * 104729) % 1500);
			ids[k] = str_of(text[k]);
		}
		cr_assert(people_find_all(&p, ids, n, found));
		for (uint32_t k = 0; k < n; k++)
			cr_assert_eq(found[k], people_find(&q, ids[k]), "%s", text[k]);
	}
}

Test(people, traits)
{
	struct value v = {.type = VALUE_STR, .s = STR("gold")};
	struct people p;

	cr_assert(people_init(&p, &a, 2));
	people_profile(&p, STR("p1"), STR("ext"));
	cr_assert(people_trait(&p, STR("p1"), 1, &v));
	cr_assert_null(people_get_trait(&p, people_find(&p, STR("ext")), 0));
	cr_assert(str_eq(people_get_trait(&p, people_find(&p, STR("ext")), 1)->s, v.s));
	cr_assert_null(people_get_trait(&p, people_find(&p, STR("nobody")), 1));
	cr_assert_not(people_trait(&p, STR("p1"), 2, &v));
}

Test(people, many)
{
	struct people p;
	char id[32];

	cr_assert(people_init(&p, &a, 0));
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 20000; i++) {
			struct str s = {id, (size_t)snprintf(id, sizeof(id), "user-%u", i)};

			cr_assert_eq(people_find(&p, s), i);
		}
}

Test(people, some_at_once_are_the_same_as_one_by_one)
{
	char texts[INTERN_BATCH][16];
	struct str ids[INTERN_BATCH];
	uint32_t persons[INTERN_BATCH];
	struct people p;

	cr_assert(people_init(&p, &a, 0));
	cr_assert(people_profile(&p, STR("prof"), STR("ext")));
	cr_assert(people_alias(&p, STR("u3"), STR("prof")));
	for (uint32_t round = 0; round < 3000; round++) {
		/* some of them twice, some new, some known */
		for (uint32_t i = 0; i < INTERN_BATCH; i++)
			ids[i] = (struct str){texts[i],
				(size_t)sprintf(texts[i], "u%u", (round * 7 + i / 2 * 3) % 9001)};
		cr_assert(people_find_all(&p, ids, INTERN_BATCH, persons));
		for (uint32_t i = 0; i < INTERN_BATCH; i++)
			cr_assert_eq(persons[i], people_find(&p, ids[i]));
	}
	cr_assert_eq(people_find(&p, STR("u3")), people_find(&p, STR("ext")));
}

enum { IDS = 60 };

/* Random profiles and aliases among few ids, told by text and by digest. */
struct both {
	struct people text, digest;
	struct people_base *base;
	char ids[IDS][8];
	uint64_t d[IDS];
	uint64_t rng;
};

static uint32_t draw(struct both *b, uint32_t n)
{
	b->rng = b->rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(b->rng >> 33) % n;
}

static void fill_both(struct both *b)
{
	static const uint8_t key[DIGEST_KEY_BYTES] = {7};
	uint8_t external_taken[IDS] = {0}, profile[IDS] = {0}, aliased[IDS] = {0};
	uint32_t n = draw(b, IDS);

	cr_assert(people_init(&b->text, &a, 0));
	people_init_digests(&b->digest, &a);
	b->base = people_base_new(1 << 20);
	cr_assert_not_null(b->base);
	memcpy(b->base->state.key, key, sizeof(key));
	for (uint32_t i = 0; i < IDS; i++) {
		snprintf(b->ids[i], sizeof(b->ids[i]), "id%u", i);
		b->d[i] = digest_of(key, str_of(b->ids[i]));
	}
	/* the first n have numbers, but every seventh lost it */
	for (uint32_t i = 0; i < n; i++)
		cr_assert(people_base_numbers(b->base, i + 1, &(uint64_t){i % 7 ? b->d[i] : 0}, 1));
	for (uint32_t i = 0; i < 20; i++) {
		uint32_t who = draw(b, IDS), other = draw(b, IDS);
		bool external = draw(b, 2) && !external_taken[other]++;

		if (profile[who]++)
			continue;
		cr_assert(people_profile(
			&b->text, str_of(b->ids[who]), external ? str_of(b->ids[other]) : STR("")));
		cr_assert(people_base_profiles(
			b->base, &b->d[who], &(uint64_t){external ? b->d[other] : 0}, 1));
	}
	for (uint32_t i = 0; i < 30; i++) {
		uint32_t alias = draw(b, IDS), who = draw(b, IDS);

		if (aliased[alias]++)
			continue;
		cr_assert(people_alias(&b->text, str_of(b->ids[alias]), str_of(b->ids[who])));
		cr_assert(people_base_aliases(b->base, &b->d[alias], &b->d[who], 1));
	}
	cr_assert(people_base_ready(b->base));
	people_use(&b->digest, b->base);
}

static uint32_t by_digest(struct both *b, uint32_t i)
{
	return people_find(&b->digest, str_of(b->ids[i]));
}

Test(people, digests_and_texts_give_the_same_persons)
{
	struct both b = {.rng = 1};

	for (int round = 0; round < 300; round++) {
		fill_both(&b);
		for (uint32_t i = 0; i < IDS; i++)
			for (uint32_t k = 0; k < i; k++)
				cr_assert_eq(by_digest(&b, i) == by_digest(&b, k),
					people_find(&b.text, str_of(b.ids[i])) ==
						people_find(&b.text, str_of(b.ids[k])));
		for (uint32_t i = 0; i < b.digest.n_numbers; i++)
			if (i % 7)
				cr_assert_eq(b.digest.of_number[i + 1], by_digest(&b, i));
		people_base_free(b.base);
		arena_reset(&a);
	}
}

Test(people, sums_do_not_depend_on_the_order)
{
	static const double v[] = {1e16, 3.25, -1e16, 1e-3, 7};
	struct tally forward = {0}, backward = {0}, halves = {0}, part = {0};

	for (int i = 0; i < 5; i++) {
		tally_number(&forward, v[i]);
		tally_number(&backward, v[4 - i]);
		tally_number(i < 2 ? &halves : &part, v[i]);
	}
	tally_merge(&halves, &part);
	cr_assert_float_eq(tally_value(&forward, AGG_SUM), 10.251, 1e-12);
	cr_assert_float_eq(tally_value(&backward, AGG_SUM), 10.251, 1e-12);
	cr_assert_float_eq(tally_value(&halves, AGG_SUM), 10.251, 1e-12);
	cr_assert_eq(tally_value(&halves, AGG_MIN), -1e16);
	cr_assert_eq(tally_value(&halves, AGG_MAX), 1e16);
}

static double sum_of(const double *v, int n, enum plan_agg agg, bool halves)
{
	struct tally t = {0}, part = {0};

	for (int i = 0; i < n; i++)
		tally_number(halves && i >= n / 2 ? &part : &t, v[i]);
	tally_merge(&t, &part);
	return tally_value(&t, agg);
}

Test(people, sums_stay_finite)
{
	static const double large[] = {1e308, 1e308, -1e308, 3};
	static const double most[] = {1e308, 1e308, 1e308, 1e308};
	static const double least[] = {-1e308, -1e308, -1e308, -1e308};
	static const double back[] = {-1e308, 1e308, 1e308, 3};

	for (int halves = 0; halves < 2; halves++) {
		cr_expect_eq(sum_of(most, 4, AGG_SUM, halves), DBL_MAX);
		cr_expect_eq(sum_of(least, 4, AGG_SUM, halves), -DBL_MAX);
		cr_expect_float_eq(sum_of(most, 4, AGG_AVG, halves), 1e308, 1e294);
		cr_expect_float_eq(sum_of(least, 4, AGG_AVG, halves), -1e308, 1e294);
		cr_expect_eq(sum_of(most, 4, AGG_MAX, halves), 1e308);
		/* a sum that comes back into the range is that sum, in any order */
		cr_expect_float_eq(sum_of(large, 4, AGG_SUM, halves), 1e308, 1e294);
		cr_expect_float_eq(sum_of(back, 4, AGG_SUM, halves), 1e308, 1e294);
		cr_expect_float_eq(sum_of(large, 4, AGG_AVG, halves), 0.25e308, 1e294);
	}
}

Test(people, memory_is_bounded)
{
	struct arena small;
	struct people p;
	char id[32];
	uint32_t i = 0, no = 0;

	arena_init(&small, 100000);
	cr_assert(people_init(&p, &small, 0));
	for (; i < 100000 && no != PERSON_FULL; i++) {
		struct str s = {id, (size_t)snprintf(id, sizeof(id), "user-%u", i)};

		no = people_find(&p, s);
	}
	cr_assert(i < 5000 && small.over);
	arena_free(&small);
}
