/*
 * See personset.h. A table that has no room becomes bits as soon as those take no more
 * memory than the next larger table.
 */
#include "worker/insights/personset.h"

enum { SLOTS_MIN = 8, WORDS_MIN = 16, WORD = 64 };

static uint32_t slot_of(const struct personset *s, uint32_t person)
{
	uint32_t k = (person * 0x9e3779b9u >> 7) & (s->size - 1);

	while (s->slots[k] && s->slots[k] != person + 1)
		k = (k + 1) & (s->size - 1);
	return k;
}

static uint32_t highest_of(const struct personset *s, uint32_t person)
{
	for (uint32_t i = 0; i < s->size; i++)
		if (s->slots[i] > person)
			person = s->slots[i] - 1;
	return person;
}

/* Words for this person and about as many more as there are. */
static uint32_t words_for(uint32_t person)
{
	uint32_t words = WORDS_MIN;

	while (words <= person / WORD)
		words *= 2;
	return words;
}

static bool widen(struct personset *s, struct arena *a, uint32_t person)
{
	uint32_t words = words_for(person);
	uint64_t *bits = arena_grow(a, s->bits, s->size * sizeof(*bits), words * sizeof(*bits));

	if (!bits)
		return false;
	memset(bits + s->size, 0, (words - s->size) * sizeof(*bits));
	s->bits = bits;
	s->size = words;
	return true;
}

/* With room for this person, too. */
static bool make_dense(struct personset *s, struct arena *a, uint32_t person)
{
	uint32_t words = words_for(highest_of(s, person));
	uint64_t *bits = arena_array(a, words, sizeof(*bits));

	if (!bits)
		return false;
	for (uint32_t i = 0; i < s->size; i++)
		if (s->slots[i])
			bits[(s->slots[i] - 1) / WORD] |= 1ull << (s->slots[i] - 1) % WORD;
	s->bits = bits;
	s->size = words;
	s->dense = true;
	return true;
}

static bool grow(struct personset *s, struct arena *a, uint32_t person)
{
	uint32_t size = s->size ? s->size * 2 : SLOTS_MIN, *old = s->slots, n = s->size;

	if (words_for(highest_of(s, person)) * sizeof(uint64_t) <= size * sizeof(*s->slots))
		return make_dense(s, a, person);
	s->slots = arena_array(a, size, sizeof(*s->slots));
	if (!s->slots)
		return false;
	s->size = size;
	for (uint32_t i = 0; i < n; i++)
		if (old[i])
			s->slots[slot_of(s, old[i] - 1)] = old[i];
	return true;
}

static int add_sparse(struct personset *s, uint32_t person)
{
	uint32_t k = slot_of(s, person);

	if (s->slots[k])
		return 0;
	s->slots[k] = person + 1;
	s->n++;
	return 1;
}

int personset_add_slow(struct personset *s, struct arena *a, uint32_t person)
{
	/* at most three quarters full */
	if (!s->dense && s->n >= s->size - s->size / 4 && !grow(s, a, person))
		return -1;
	if (!s->dense)
		return add_sparse(s, person);
	if (person / WORD >= s->size && !widen(s, a, person))
		return -1;
	return personset_add(s, a, person);
}

bool personset_has_slow(const struct personset *s, uint32_t person)
{
	return !s->dense && s->size && s->slots[slot_of(s, person)];
}

/* Bits at once where they take no more than a table and those that it outgrew. */
bool personset_expect(struct personset *s, struct arena *a, const struct personset *other)
{
	uint32_t slots = SLOTS_MIN, words;

	while (other->n > slots - slots / 4)
		slots *= 2;
	words = other->dense ? other->size : words_for(highest_of(other, 0));
	s->dense = words <= slots;
	s->size = s->dense ? words : slots;
	if (s->dense)
		s->bits = arena_array(a, words, sizeof(*s->bits));
	else
		s->slots = arena_array(a, slots, sizeof(*s->slots));
	return s->dense ? s->bits != NULL : s->slots != NULL;
}

/* Without a branch: whether somebody is new is a toss-up. */
static bool add_dense(struct personset *s, struct arena *a, const uint32_t *persons, uint32_t n)
{
	uint32_t highest = 0, fresh = 0;

	for (uint32_t i = 0; i < n; i++)
		highest = persons[i] > highest ? persons[i] : highest;
	if (highest / WORD >= s->size && !widen(s, a, highest))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t *word = &s->bits[persons[i] / WORD];

		fresh += ~*word >> persons[i] % WORD & 1;
		*word |= 1ull << persons[i] % WORD;
	}
	s->n += fresh;
	return true;
}

bool personset_add_all(struct personset *s, struct arena *a, const uint32_t *persons, uint32_t n)
{
	uint32_t i = 0;

	for (; i < n && !s->dense; i++)
		if (personset_add_slow(s, a, persons[i]) < 0)
			return false;
	return i == n || add_dense(s, a, persons + i, n - i);
}

static bool join_bits(struct personset *s, struct arena *a, const struct personset *from)
{
	uint32_t n = 0;

	if (from->size > s->size && !widen(s, a, from->size * WORD - 1))
		return false;
	for (uint32_t i = 0; i < from->size; i++)
		s->bits[i] |= from->bits[i];
	for (uint32_t i = 0; i < s->size; i++)
		n += (uint32_t)__builtin_popcountll(s->bits[i]);
	s->n = n;
	return true;
}

bool personset_join(struct personset *s, struct arena *a, const struct personset *from)
{
	if (!from->dense) {
		for (uint32_t i = 0; i < from->size; i++)
			if (from->slots[i] && personset_add(s, a, from->slots[i] - 1) < 0)
				return false;
		return true;
	}
	return (s->dense || make_dense(s, a, from->size * WORD - 1)) && join_bits(s, a, from);
}

/* *at: what is next, a slot or a person. */
bool personset_next(const struct personset *s, uint32_t *at, uint32_t *person)
{
	for (; !s->dense && *at < s->size; ++*at)
		if (s->slots[*at]) {
			*person = s->slots[(*at)++] - 1;
			return true;
		}
	while (s->dense && *at / WORD < s->size) {
		uint64_t rest = s->bits[*at / WORD] >> *at % WORD;

		if (rest) {
			*person = *at + (uint32_t)__builtin_ctzll(rest);
			*at = *person + 1;
			return true;
		}
		*at = (*at / WORD + 1) * WORD;
	}
	return false;
}
