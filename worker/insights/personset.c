/*
 * See personset.h. A table that has no room becomes bits as soon as those take no more
 * memory than the next larger table, a list when they take as much as a table of its
 * persons would.
 *
 * Lists come from adding many at once: who is there already is marked in bits that all sets
 * share, so that nobody is looked for. That goes over the whole list, which therefore becomes a
 * table once those that come are few beside it.
 *
 * Loose lists take whoever comes. Only when one would have to grow, and all of them have got a
 * good part of the memory already, it is gone through.
 */
#include "worker/insights/personset.h"

enum { SLOTS_MIN = 8, WORDS_MIN = 16, WORD = 64, LIST_TIMES = 8 };
enum { LOOSE_MIN = 4, LOOSE_SHARE = 8 /* part of the memory that loose lists may take */ };

static uint32_t slot_of(const struct personset *s, uint32_t person)
{
	uint32_t k = (person * 0x9e3779b9u >> 7) & (s->size - 1);

	while (s->slots[k] && s->slots[k] != person + 1)
		k = (k + 1) & (s->size - 1);
	return k;
}

static uint32_t highest_of(const struct personset *s, uint32_t person)
{
	for (uint32_t i = 0; s->listed && i < s->n; i++)
		if (s->list[i] > person)
			person = s->list[i];
	for (uint32_t i = 0; !s->listed && i < s->size; i++)
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

/* All of them are below 64 times the words. */
static bool make_bits(struct personset *s, struct arena *a, uint32_t words)
{
	uint64_t *bits = arena_array(a, words, sizeof(*bits));

	if (!bits)
		return false;
	for (uint32_t i = 0; s->listed && i < s->n; i++)
		bits[s->list[i] / WORD] |= 1ull << s->list[i] % WORD;
	for (uint32_t i = 0; !s->listed && i < s->size; i++)
		if (s->slots[i])
			bits[(s->slots[i] - 1) / WORD] |= 1ull << (s->slots[i] - 1) % WORD;
	s->bits = bits;
	s->size = words;
	s->dense = true;
	s->listed = false;
	return true;
}

/* With room for this person, too. */
static bool make_dense(struct personset *s, struct arena *a, uint32_t person)
{
	return make_bits(s, a, words_for(highest_of(s, person)));
}

/* A list becomes a table. */
static bool make_table(struct personset *s, struct arena *a)
{
	struct personset table = {.size = SLOTS_MIN};

	while (s->n >= table.size - table.size / 4)
		table.size *= 2;
	table.slots = arena_array(a, table.size, sizeof(*table.slots));
	if (!table.slots)
		return false;
	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t k = slot_of(&table, s->list[i]);

		table.n += table.slots[k] == 0;
		table.slots[k] = s->list[i] + 1;
	}
	*s = table;
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
	if (s->listed && !make_table(s, a))
		return -1;
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
	for (uint32_t i = 0; s->listed && i < s->n; i++)
		if (s->list[i] == person)
			return true;
	return !s->dense && !s->listed && s->size && s->slots[slot_of(s, person)];
}

/* Bits at once where they take no more than a table and those that it outgrew. */
bool personset_expect(struct personset *s, struct arena *a, const struct personset *other)
{
	uint32_t slots = SLOTS_MIN, words;

	while (other->n > slots - slots / 4)
		slots *= 2;
	if (other->listed)
		return true; /* as this one may become */
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
static uint32_t set_bits(uint64_t *bits, const uint32_t *persons, uint32_t n)
{
	uint32_t fresh = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t *word = &bits[persons[i] / WORD];

		fresh += ~*word >> persons[i] % WORD & 1;
		*word |= 1ull << persons[i] % WORD;
	}
	return fresh;
}

static bool add_dense(struct personset *s, struct arena *a, const uint32_t *persons, uint32_t n)
{
	uint32_t highest = 0;

	for (uint32_t i = 0; i < n; i++)
		highest = persons[i] > highest ? persons[i] : highest;
	if (highest / WORD >= s->size && !widen(s, a, highest))
		return false;
	s->n += set_bits(s->bits, persons, n);
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

bool marks_reserve(struct marks *m, struct arena *a, uint32_t end)
{
	uint32_t words = end / WORD + 1;
	uint64_t *bits = m->bits;

	m->end = end > m->end ? end : m->end;
	if (words <= m->words)
		return true;
	/* the first time as many as there are, mostly of sealed events, whose persons are known */
	words = words < m->words * 2 ? m->words * 2 : words;
	bits = arena_grow(a, bits, m->words * sizeof(*bits), words * sizeof(*bits));
	if (!bits)
		return false;
	memset(bits + m->words, 0, (words - m->words) * sizeof(*bits));
	m->bits = bits;
	m->words = words;
	return true;
}

/* Whole words: between two uses nobody is marked, so whatever is in them is ours. */
static void unmark(struct marks *m, const uint32_t *persons, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		m->bits[persons[i] / WORD] = 0;
}

/* Room for some more in the list: the first time for no more than these. */
static bool lengthen(struct personset *s, struct arena *a, uint32_t n)
{
	uint32_t size = s->n + n < s->size * 2 ? s->size * 2 : s->n + n;
	uint32_t *list = s->list;

	if (s->n + n <= s->size)
		return true;
	list = arena_grow(a, list, s->size * sizeof(*list), size * sizeof(*list));
	if (!list)
		return false;
	s->list = list;
	s->size = size;
	return true;
}

/* Room for so many. False at the arena's cap. */
static bool make_room(struct marks *m, struct arena *a, uint32_t n)
{
	if (n <= m->cap)
		return true;
	n = n < m->cap * 2 ? m->cap * 2 : n;
	m->room = arena_alloc(a, n * sizeof(*m->room));
	m->cap = m->room ? n : 0;
	return m->room != NULL;
}

/* Marks of who is in the list stay until the new ones were told from them. Every word that was
 * written to is cleared again, also when there is no memory for what follows. */
static bool add_listed(
	struct personset *s, struct arena *a, struct marks *m, const uint32_t *persons, uint32_t n)
{
	uint32_t fresh = 0, words = m->end / WORD + 1;

	if (!make_room(m, a, n))
		return false;
	set_bits(m->bits, s->list, s->n);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t *word = &m->bits[persons[i] / WORD];

		m->room[fresh] = persons[i];
		fresh += ~*word >> persons[i] % WORD & 1;
		*word |= 1ull << persons[i] % WORD;
	}
	unmark(m, s->list, s->n);
	unmark(m, m->room, fresh);
	if (s->n + fresh >= words) {
		if (!make_bits(s, a, words))
			return false;
		s->n += set_bits(s->bits, m->room, fresh);
		return true;
	}
	s->listed = true;
	if (!lengthen(s, a, fresh))
		return false;
	memcpy(s->list + s->n, m->room, fresh * sizeof(*m->room));
	s->n += fresh;
	return true;
}

bool personset_add_marked(
	struct personset *s, struct arena *a, struct marks *m, const uint32_t *persons, uint32_t n)
{
	if (n == 0)
		return true;
	if ((s->listed || s->size == 0) && s->n / LIST_TIMES <= n)
		return add_listed(s, a, m, persons, n);
	if (!s->dense)
		return personset_add_all(s, a, persons, n);
	if (m->end / WORD >= s->size && !widen(s, a, m->end))
		return false;
	s->n += set_bits(s->bits, persons, n);
	return true;
}

/* ---- loose lists ---- */

/* Leaves each once, marked; how many. */
static uint32_t mark_each(uint64_t *bits, uint32_t *persons, uint32_t all)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < all; i++) {
		uint32_t person = persons[i];
		uint64_t *word = &bits[person / WORD];

		persons[n] = person;
		n += (uint32_t)(~*word >> person % WORD & 1);
		*word |= 1ull << person % WORD;
	}
	return n;
}

static void tighten(struct personset *s, struct marks *m)
{
	s->n = mark_each(m->bits, s->list, s->n);
	unmark(m, s->list, s->n);
}

/* Room for n more in the list, or bits where a list would take more memory. Whatever has been
 * gone through leaves a quarter of its room or more, so that this happens seldom. */
static bool loosen(struct personset *s, struct arena *a, struct marks *m, uint32_t n)
{
	uint32_t words = m->end / WORD + 1, size = s->size ? s->size : LOOSE_MIN / 2;
	bool full = (uint64_t)s->n + n > 2ull * words;
	bool tight = full || m->loose > a->cap / LOOSE_SHARE;

	s->listed = true;
	if (tight)
		tighten(s, m);
	if (full && (uint64_t)s->n + n > words + words / 2)
		return make_bits(s, a, words);
	if (tight && s->n + n <= s->size - s->size / 4)
		return true;
	size = s->n + n < 2 * size ? 2 * size : s->n + n;
	/* as personset_count() needs it */
	if (!lengthen(s, a, size - s->n) || !make_room(m, a, s->size))
		return false;
	m->loose += s->size * sizeof(*s->list);
	return true;
}

bool personset_add_loose(
	struct personset *s, struct arena *a, struct marks *m, const uint32_t *persons, uint32_t n)
{
	if (!s->dense && (s->listed || s->size == 0)) {
		if (s->n + n > s->size && !loosen(s, a, m, n))
			return false;
		if (s->listed) {
			for (uint32_t i = 0; n < LOOSE_MIN && i < n; i++)
				s->list[s->n + i] = persons[i];
			if (n >= LOOSE_MIN)
				memcpy(s->list + s->n, persons, n * sizeof(*persons));
			s->n += n;
			return true;
		}
	}
	return personset_add_marked(s, a, m, persons, n);
}

bool personset_expect_loose(
	struct personset *s, struct arena *a, struct marks *m, const struct personset *other)
{
	if (!other->listed)
		return personset_expect(s, a, other);
	return other->n == 0 || s->size > 0 || loosen(s, a, m, other->n);
}

/* ---- counting ---- */

/* Counts who is not marked yet. */
static uint32_t mark(struct marks *m, uint32_t person)
{
	uint64_t *word = &m->bits[person / WORD];
	uint32_t fresh = ~*word >> person % WORD & 1;

	*word |= 1ull << person % WORD;
	return fresh;
}

static uint32_t mark_bits(struct marks *m, const struct personset *s, struct id_map map)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->size; i++)
		for (uint64_t word = s->bits[i]; word; word &= word - 1) {
			uint32_t id = i * WORD + (uint32_t)__builtin_ctzll(word);

			n += mark(m, id_person(map, id));
		}
	return n;
}

static void unmark_list(struct marks *m, const struct personset *s, struct id_map map)
{
	for (uint32_t i = 0; i < s->n; i++)
		m->bits[id_person(map, s->list[i]) / WORD] = 0;
}

static void find_persons(uint32_t *out, const uint32_t *ids, uint32_t n, struct id_map map)
{
	for (uint32_t i = 0; i < n; i++)
		out[i] = id_person(map, ids[i]);
}

/* All are looked up before the first is marked: what one waits for the next does not. */
static uint32_t count_list(struct marks *m, const struct personset *s, struct id_map map)
{
	uint32_t n;

	find_persons(m->room, s->list, s->n, map);
	n = mark_each(m->bits, m->room, s->n);
	unmark(m, m->room, n);
	return n;
}

/* Marks that were made for ids have room for persons, too: people_id() is greater than its
 * person. */
static uint32_t mark_slots(struct marks *m, const struct personset *s, struct id_map map)
{
	uint32_t n = 0, at = 0, id;

	while (personset_next(s, &at, &id))
		n += mark(m, id_person(map, id));
	return n;
}

/* Few marks are cleared one by one: all of them at once costs as much for one as for a
 * million. */
uint32_t personset_count(const struct personset *s, struct marks *m, struct id_map map)
{
	uint32_t n = 0, at = 0, id;

	if (s->listed && s->n <= m->cap)
		return count_list(m, s, map);
	for (uint32_t i = 0; s->listed && i < s->n; i++)
		n += mark(m, id_person(map, s->list[i]));
	if (!s->listed)
		n = s->dense ? mark_bits(m, s, map) : mark_slots(m, s, map);
	if (s->n > m->words / WORD)
		memset(m->bits, 0, m->words * sizeof(*m->bits));
	else if (s->listed)
		unmark_list(m, s, map);
	else
		while (personset_next(s, &at, &id))
			m->bits[id_person(map, id) / WORD] = 0;
	return n;
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
	if (from->listed)
		return personset_add_all(s, a, from->list, from->n);
	if (!from->dense) {
		for (uint32_t i = 0; i < from->size; i++)
			if (from->slots[i] && personset_add(s, a, from->slots[i] - 1) < 0)
				return false;
		return true;
	}
	return (s->dense || make_dense(s, a, from->size * WORD - 1)) && join_bits(s, a, from);
}

bool personset_join_loose(
	struct personset *s, struct arena *a, struct marks *m, const struct personset *from)
{
	return from->listed ? personset_add_loose(s, a, m, from->list, from->n)
			    : personset_join(s, a, from);
}

/* *at: what is next, a word, a place in the list or a slot. */
uint32_t personset_some(const struct personset *s, uint32_t *at, uint32_t out[PERSONSET_SOME])
{
	uint32_t n = 0;

	if (s->listed) {
		n = s->n - *at < PERSONSET_SOME ? s->n - *at : PERSONSET_SOME;
		memcpy(out, s->list + *at, n * sizeof(*out));
		*at += n;
		return n;
	}
	/* a word gives up to 64 */
	for (; s->dense && *at < s->size && n + WORD <= PERSONSET_SOME; ++*at)
		for (uint64_t word = s->bits[*at]; word; word &= word - 1)
			out[n++] = *at * WORD + (uint32_t)__builtin_ctzll(word);
	for (; !s->dense && *at < s->size && n < PERSONSET_SOME; ++*at)
		if (s->slots[*at])
			out[n++] = s->slots[*at] - 1;
	return n;
}

/* *at: what is next, a slot or a person. */
bool personset_next(const struct personset *s, uint32_t *at, uint32_t *person)
{
	if (s->listed) {
		if (*at < s->n)
			*person = s->list[*at];
		return (*at)++ < s->n;
	}
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
