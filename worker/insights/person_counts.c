/*
 * See person_counts.h. Counters of numbers have 32 bits, so that all of them fit into a cache;
 * before one could overflow they are emptied into those of persons.
 */
#include "worker/insights/person_counts.h"
#include "worker/insights/watch.h"

enum { AHEAD = 32 }; /* persons: memory is asked for what they need */

/* Of a person: what no number has, or has no more. */
struct counted {
	uint64_t events;
	struct naming_place place;
};

void person_counts_init(struct person_counts *c, struct arena *a, uint32_t most)
{
	*c = (struct person_counts){.a = a, .most = most, .room = most};
	chunks_init(&c->persons, a, sizeof(struct counted));
}

static uint32_t n_numbers(const struct person_counts *c)
{
	return c->of_number ? c->people->n_numbers : 0;
}

/* NULL at the arena's cap. */
static struct counted *make_person(struct person_counts *c, uint32_t person)
{
	struct counted *p = chunks_make(&c->persons, person);

	if (p && person >= c->n_persons)
		c->n_persons = person + 1;
	return p;
}

/* NULL: no events are counted by this person. */
static struct counted *find_person(const struct person_counts *c, uint32_t person)
{
	struct counted *p;

	if (person >= c->n_persons || !c->persons.v[person >> CHUNK_SHIFT])
		return NULL;
	p = chunks_at(&c->persons, person);
	return p->events ? p : NULL;
}

/* ---- counting ---- */

/* Slow, but after 4 billion events only. A person's place is that of the first number met. */
static bool spill(struct person_counts *c)
{
	for (uint32_t no = 1; no <= n_numbers(c); no++) {
		struct counted *p;

		if (!c->of_number[no])
			continue;
		p = make_person(c, c->people->of_number[no]);
		if (!p)
			return false;
		if (p->events == 0 && c->places)
			p->place = c->places[no];
		p->events += c->of_number[no];
		c->of_number[no] = 0;
	}
	c->room = c->most;
	return true;
}

static bool make_numbers(struct person_counts *c, bool places)
{
	size_t n = (size_t)c->people->n_numbers + 1;

	c->of_number = arena_array(c->a, n, sizeof(*c->of_number));
	if (places)
		c->places = arena_alloc(c->a, n * sizeof(*c->places));
	return c->of_number && (!places || c->places);
}

/* No counter can be above what was counted since they were emptied: so one number, `room`, is
 * asked instead of each counter. */
static bool add_numbers(struct person_counts *c, struct picked *p, struct naming *naming)
{
	const uint32_t *numbers = hits_column(p, p->f->batch->distinct.codes);
	uint32_t *counters;

	if (!numbers || (!c->of_number && !make_numbers(c, naming != NULL)))
		return false;
	if (p->n > c->room && !spill(c))
		return false;
	counters = c->of_number;
	c->room -= p->n < c->room ? p->n : c->room;
	for (uint32_t k = 0; k < p->n && !naming; k++)
		counters[numbers[k]]++;
	for (uint32_t k = 0; k < p->n && naming; k++)
		if (counters[numbers[k]]++ == 0)
			c->places[numbers[k]] = naming_sealed(naming, hits_row(p, k));
	return true;
}

/* Events whose ids have no numbers: those of the inbox, and of segments that were sealed without
 * (store/numbers.h). */
static bool add_persons(struct person_counts *c, const struct picked *p, struct naming *naming)
{
	uint32_t *persons = arena_alloc(p->f->a, ((size_t)p->n + 1) * sizeof(*persons));

	for (uint32_t k = 0; persons && k < p->n; k++)
		persons[k] = p->f->persons[p->f->batch->distinct.codes[hits_row(p, k)]];
	for (uint32_t k = 0; persons && k < p->n; k++) {
		struct counted *of = make_person(c, persons[k]);

		if (!of)
			return false;
		if (k + AHEAD < p->n && persons[k + AHEAD] < c->n_persons)
			chunks_fetch(&c->persons, persons[k + AHEAD]);
		if (naming && of->events == 0 &&
			!naming_note(naming, p->f, hits_row(p, k), &of->place))
			return false;
		of->events++;
	}
	return persons != NULL;
}

bool person_counts_add(struct person_counts *c, struct picked *p, struct naming *naming)
{
	c->people = p->f->people;
	c->events += p->n;
	if (p->n == 0)
		return true;
	if (!hits_rows(p))
		return false;
	return p->f->batch->numbered ? add_numbers(c, p, naming) : add_persons(c, p, naming);
}

/* ---- the end ---- */

/* The first number of a person takes over the others', or a person who is counted elsewhere, too,
 * takes over all. It cannot overflow: all counters together are no more than `most`. */
bool person_counts_join(struct person_counts *c)
{
	const uint32_t *of_number = c->of_number ? c->people->of_number : NULL;
	uint32_t *first = NULL; /* by person: a number with events */

	if (n_numbers(c) > 0) {
		first = arena_array(c->a, people_end(c->people), sizeof(*first));
		if (!first)
			return false;
	}
	for (uint32_t no = 1; no <= n_numbers(c); no++) {
		uint32_t events = c->of_number[no];
		struct counted *p;

		if (watch_due(no))
			return false;
		if (!events)
			continue;
		p = find_person(c, of_number[no]);
		if (p)
			p->events += events;
		else if (first[of_number[no]])
			c->of_number[first[of_number[no]]] += events;
		else
			first[of_number[no]] = no;
		if (first[of_number[no]] != no)
			c->of_number[no] = 0;
	}
	return true;
}

static uint64_t greatest(const struct person_counts *c)
{
	uint64_t most = 0;
	uint32_t of_number = 0;

	for (uint32_t no = 0; no <= n_numbers(c) && c->of_number; no++)
		of_number = c->of_number[no] > of_number ? c->of_number[no] : of_number;
	for (uint32_t person = 0; person < c->n_persons; person++) {
		const struct counted *p = find_person(c, person);

		most = p && p->events > most ? p->events : most;
	}
	return most > of_number ? most : of_number;
}

enum { BITS = 16, DIGITS = 1 << BITS };

/* Counts persons by a digit of their numbers of events, of those that begin with `found`. False
 * when nobody waits. */
static bool count_digits(
	const struct person_counts *c, uint32_t *persons, int shift, uint64_t mask, uint64_t found)
{
	memset(persons, 0, DIGITS * sizeof(*persons));
	for (uint32_t no = 1; no <= n_numbers(c); no++) {
		uint64_t events = c->of_number[no];

		if (watch_due(no))
			return false;
		persons[events >> shift & (DIGITS - 1)] += events && (events & mask) == found;
	}
	for (uint32_t person = 0; person < c->n_persons; person++) {
		const struct counted *p = find_person(c, person);

		if (watch_due(person))
			return false;
		if (p && (p->events & mask) == found)
			persons[p->events >> shift & (DIGITS - 1)]++;
	}
	return true;
}

/* Digit by digit from the highest on that there is. The keep-th largest, without sorting: each
 * round goes over all, and needs 256 KB whatever there is. Found 0: there are fewer, and
 * everybody with events is wanted. */
uint64_t person_counts_least(const struct person_counts *c, uint32_t keep)
{
	uint64_t left = keep, found = 0, mask = 0, most = greatest(c);
	uint32_t *persons = arena_alloc(c->a, DIGITS * sizeof(*persons));
	int shift = 64 - BITS;

	for (; shift > 0 && most >> shift == 0; shift -= BITS)
		mask |= (uint64_t)(DIGITS - 1) << shift;
	for (; persons && shift >= 0; shift -= BITS) {
		uint64_t digit = DIGITS - 1;

		if (!count_digits(c, persons, shift, mask, found))
			return 0;
		for (; digit > 0 && persons[digit] < left; digit--)
			left -= persons[digit];
		found |= digit << shift;
		mask |= (uint64_t)(DIGITS - 1) << shift;
	}
	return persons ? (found ? found : 1) : 0;
}

bool person_counts_next(
	const struct person_counts *c, uint64_t least, uint32_t *at, struct person_count *out)
{
	/* *at: a number, or from `numbers` on a person; number 0 is nobody's */
	uint32_t numbers = n_numbers(c) + 1;

	for (; *at < numbers && c->of_number; ++*at) {
		uint32_t no = *at;

		if (watch_due(no))
			return false;
		if (c->of_number[no] < least)
			continue;
		*out = (struct person_count){
			.person = c->people->of_number[no], .events = c->of_number[no]};
		if (c->places)
			out->place = c->places[no];
		++*at;
		return true;
	}
	for (*at = *at < numbers ? numbers : *at; *at - numbers < c->n_persons; ++*at) {
		const struct counted *p = find_person(c, *at - numbers);

		if (watch_due(*at))
			return false;
		if (!p || p->events < least)
			continue;
		*out = (struct person_count){*at - numbers, p->events, p->place};
		++*at;
		return true;
	}
	return false;
}
