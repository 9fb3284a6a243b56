/* Events by person, counted by number and otherwise, against a plain count. */
#include <criterion/criterion.h>
#include "worker/insights/person_counts.h"

enum { NUMBERS = 3000, BASE = 5000, OTHERS = 700, PERSONS = BASE + OTHERS, ROWS = 2000 };

static struct arena a, frame_a;
static struct people_base base;
static struct people people;
static uint32_t of_number[NUMBERS + 1];
static uint64_t rng;

static uint32_t next(uint32_t below)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((rng >> 33) % below);
}

static void setup(void)
{
	arena_init(&a, 64 << 20);
	arena_init(&frame_a, 64 << 20);
	/* several numbers of one person, and persons without any */
	for (uint32_t no = 1; no <= NUMBERS; no++)
		of_number[no] = next(BASE / 3) * 2;
	base.n = BASE;
	people = (struct people){
		.by_digest = true, .base = &base, .of_number = of_number, .n_numbers = NUMBERS};
	people.others.n = OTHERS;
}

static void teardown(void)
{
	arena_free(&a);
	arena_free(&frame_a);
}

TestSuite(person_counts, .init = setup, .fini = teardown);

/* What is expected, by person. */
struct model {
	uint64_t events[PERSONS];
	uint64_t all;
};

/* One frame, of a sealed segment or of the inbox; of some of the rows. */
static void add_frame(struct person_counts *c, struct naming *naming, struct model *m, bool sealed)
{
	static uint32_t codes[ROWS], persons[NUMBERS + 1];
	static struct value entries[ROWS];
	static uint8_t match[ROWS];
	struct batch b = {.id = sealed, .n = 1 + next(ROWS), .numbered = sealed};
	struct frame f = {.batch = &b, .people = &people, .a = &frame_a};
	bool every = next(2), few = next(3) == 0;
	struct picked p;

	for (uint32_t i = 0; i < ROWS; i++)
		entries[i] = (struct value){.type = VALUE_STR, .s = STR("somebody")};
	for (uint32_t i = 0; i < b.n; i++) {
		codes[i] = 1 + next(few ? 9 : sealed ? NUMBERS : ROWS);
		persons[codes[i]] = codes[i] % 2 ? 2 * codes[i] : BASE + codes[i] % OTHERS;
		match[i] = every || next(2);
	}
	for (uint32_t i = 0; i < b.n; i++) {
		m->events[sealed ? of_number[codes[i]] : persons[codes[i]]] += match[i];
		m->all += match[i];
	}
	b.distinct = (struct batch_column){.codes = codes, .entries = entries};
	f.persons = sealed ? of_number : persons;
	cr_assert(!naming || naming_begin(naming, &f));
	cr_assert(hits_pick(&p, &f, match, next(2)));
	cr_assert(person_counts_add(c, &p, naming));
	arena_reset(&frame_a);
}

static uint64_t least_of(const struct model *m, uint32_t keep)
{
	uint64_t least = 1;
	uint32_t n = PERSONS;

	/* how many have so many at least */
	while (n >= keep) {
		n = 0;
		for (uint32_t i = 0; i < PERSONS; i++)
			n += m->events[i] > least;
		least += n >= keep;
	}
	return least;
}

static void check(struct person_counts *c, const struct model *m, uint64_t least, bool places)
{
	static uint8_t seen[PERSONS];
	struct person_count got;
	uint32_t at = 0, n = 0, want = 0;

	memset(seen, 0, sizeof(seen));
	for (; person_counts_next(c, least, &at, &got); n++) {
		cr_assert_lt(got.person, PERSONS);
		cr_assert(!seen[got.person]++);
		cr_assert_eq(got.events, m->events[got.person], "%u: %llu, not %llu", got.person,
			(unsigned long long)got.events, (unsigned long long)m->events[got.person]);
		cr_assert(!places || got.place.segment > 0);
	}
	for (uint32_t i = 0; i < PERSONS; i++)
		want += m->events[i] >= least;
	cr_assert_eq(n, want);
	cr_assert_eq(c->events, m->all);
}

Test(person_counts, as_counted_plainly)
{
	/* from one where each frame begins anew to one where none does */
	static const uint32_t most[] = {1, 1500, 5000, 20000, UINT32_MAX};

	for (uint32_t round = 0; round < 60; round++) {
		static struct model m;
		struct person_counts c;
		struct naming naming;
		bool places = round % 2;

		m = (struct model){.all = 0};
		naming_init(&naming, &a);
		person_counts_init(&c, &a, most[round % 5]);
		for (uint32_t i = 0; i < round / 4; i++)
			add_frame(&c, places ? &naming : NULL, &m, round % 3 == 0 || next(2));
		cr_assert(person_counts_join(&c));
		for (uint32_t keep = 1; keep < 5000; keep = keep * 3 + 1)
			cr_assert_eq(person_counts_least(&c, keep), least_of(&m, keep),
				"%u of %u: %llu, not %llu", keep, round,
				(unsigned long long)person_counts_least(&c, keep),
				(unsigned long long)least_of(&m, keep));
		check(&c, &m, 1, places);
		check(&c, &m, 3, places);
		check(&c, &m, least_of(&m, 10), places);
		arena_free(&a);
	}
}

Test(person_counts, memory_ends_cleanly)
{
	struct person_counts c;
	struct picked p = {.n = 1, .every = true};
	static const uint32_t codes[] = {1};
	struct batch b = {.id = 1, .n = 1, .numbered = true, .distinct = {.codes = codes}};
	struct frame f = {.batch = &b, .people = &people, .a = &frame_a};
	struct arena small;

	arena_init(&small, 5000);
	person_counts_init(&c, &small, UINT32_MAX);
	p.f = &f;
	cr_assert(!person_counts_add(&c, &p, NULL));
	arena_free(&small);
}

/* A place is one of the person's own. */
Test(person_counts, places_are_of_the_first_event)
{
	static const uint32_t codes[] = {7, 9, 7, 8};
	static const uint8_t match[] = {0, 1, 1, 1};
	struct batch b = {.id = 1, .n = 4, .numbered = true, .distinct = {.codes = codes}};
	struct frame f = {.batch = &b, .people = &people, .a = &frame_a, .persons = of_number};
	struct person_counts c;
	struct person_count got;
	struct naming naming;
	struct picked p;
	uint32_t at = 0, n = 0;

	of_number[7] = of_number[8] = 1;
	of_number[9] = 3;
	naming_init(&naming, &a);
	person_counts_init(&c, &a, UINT32_MAX);
	cr_assert(naming_begin(&naming, &f));
	cr_assert(naming_begin(&naming, &f));
	cr_assert(hits_pick(&p, &f, match, true));
	cr_assert(person_counts_add(&c, &p, &naming));
	cr_assert(person_counts_join(&c));
	for (; person_counts_next(&c, 1, &at, &got); n++) {
		cr_assert_eq(got.place.segment, 2);
		cr_assert_eq(got.place.row, got.person == 3 ? 1 : 2);
		cr_assert_eq(got.events, got.person == 3 ? 1 : 2);
	}
	cr_assert_eq(n, 2);
}
