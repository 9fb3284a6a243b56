/*
 * A set of persons, who are small dense numbers: a few as a table of hashes, many as one
 * bit for each. For the distinct persons of very many cells, of which some hold nearly
 * everybody and most nearly nobody.
 */
#ifndef INSIGHTS_PERSONSET_H
#define INSIGHTS_PERSONSET_H

#include "shm/base/arena.h"

struct personset {
	union {
		uint32_t *slots; /* person + 1, 0 = free */
		uint64_t *bits;
	};
	uint32_t size; /* slots, or words of bits */
	uint32_t n;    /* persons */
	bool dense;    /* bits */
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
/* Adds all of `from`. False at the arena's cap. */
bool personset_join(struct personset *s, struct arena *a, const struct personset *from);

/* One of them after another, in any order; *at is 0 at first. False at the end. */
bool personset_next(const struct personset *s, uint32_t *at, uint32_t *person);

#endif
