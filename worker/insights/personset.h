/*
 * A set of persons, who are small dense numbers: a few as a list or a table of hashes, many
 * as one bit for each. For the distinct persons of very many cells, of which some hold nearly
 * everybody and most nearly nobody.
 */
#ifndef INSIGHTS_PERSONSET_H
#define INSIGHTS_PERSONSET_H

#include "shm/base/arena.h"

struct personset {
	union {
		uint32_t *slots; /* person + 1, 0 = free */
		uint64_t *bits;
		uint32_t *list; /* n persons */
	};
	uint32_t size; /* slots, words of bits, or room in the list */
	uint32_t n;    /* persons; in a loose list some may be there more than once */
	bool dense;    /* bits */
	bool listed;   /* a list */
};

/* What sets of one query are filled and counted with: a bit for each person, none of them set
 * in between, and room for a list. All zero at first. */
struct marks {
	uint64_t *bits;
	uint32_t words, end; /* all persons are below the end */
	uint32_t *room, cap;
	uint64_t loose; /* bytes of loose lists */
};

/* Begins an empty set that will hold about as many persons as another one. False at the
 * arena's cap. */
bool personset_expect(struct personset *s, struct arena *a, const struct personset *other);
int personset_add_slow(struct personset *s, struct arena *a, uint32_t person);
/* 1 when new, 0 when known, -1 at the arena's cap. person is below UINT32_MAX. A zeroed set
 * is empty. */
static inline int personset_add(struct personset *s, struct arena *a, uint32_t person)
{
	uint64_t *word, before;

	if (!s->dense || person / 64 >= s->size)
		return personset_add_slow(s, a, person);
	word = &s->bits[person / 64];
	before = *word >> person % 64 & 1;
	*word |= 1ull << person % 64;
	s->n += !before;
	return !before;
}
bool personset_has_slow(const struct personset *s, uint32_t person);
static inline bool personset_has(const struct personset *s, uint32_t person)
{
	if (!s->dense || person / 64 >= s->size)
		return personset_has_slow(s, person);
	return s->bits[person / 64] >> person % 64 & 1;
}
/* Adds n of them. False at the arena's cap. */
bool personset_add_all(struct personset *s, struct arena *a, const uint32_t *persons, uint32_t n);
/* Makes marks for persons below `end`. False at the arena's cap. */
bool marks_reserve(struct marks *m, struct arena *a, uint32_t end);
/* Adds n of them, for whom there are marks: many at once cost much less so. False at the
 * arena's cap. */
bool personset_add_marked(
	struct personset *s, struct arena *a, struct marks *m, const uint32_t *persons, uint32_t n);
/* The same where persons are only counted (personset_count()) and joined into such sets: that
 * somebody is there already need not be known before, and costs nothing now. */
bool personset_add_loose(
	struct personset *s, struct arena *a, struct marks *m, const uint32_t *persons, uint32_t n);
bool personset_expect_loose(
	struct personset *s, struct arena *a, struct marks *m, const struct personset *other);
bool personset_join_loose(
	struct personset *s, struct arena *a, struct marks *m, const struct personset *from);
/* Whose ids are (people_id()): the first n_numbers are numbers, the others persons. */
struct id_map {
	const uint32_t *of_number;
	uint32_t n_numbers;
};
static inline uint32_t id_person(struct id_map map, uint32_t id)
{
	return id <= map.n_numbers ? map.of_number[id] : id - map.n_numbers - 1;
}
/* Of a set of ids: how many persons these are. */
uint32_t personset_count(const struct personset *s, struct marks *m, struct id_map map);
/* Adds all of `from`. False at the arena's cap. */
bool personset_join(struct personset *s, struct arena *a, const struct personset *from);

/* Some of them after another, in any order: how many were put into out, 0 at the end; *at is 0
 * at first. */
enum { PERSONSET_SOME = 512 };
uint32_t personset_some(const struct personset *s, uint32_t *at, uint32_t out[PERSONSET_SOME]);
/* One of them after another, in any order; *at is 0 at first. False at the end. */
bool personset_next(const struct personset *s, uint32_t *at, uint32_t *person);

#endif
