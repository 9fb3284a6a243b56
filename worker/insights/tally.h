/*
 * What an aggregation keeps of a set of events, and its value (1.2). Distinct
 * persons are held outside, in one set over (cell, person) pairs.
 */
#ifndef INSIGHTS_TALLY_H
#define INSIGHTS_TALLY_H

#include "worker/insights/plan.h"

struct tally {
	uint64_t count, users, numbers;
	double sum, rest; /* compensated, so that the order of events hardly matters */
	double min, max;
};

void tally_number(struct tally *t, double v);
/* Adds all but the users. */
void tally_merge(struct tally *t, const struct tally *other);
double tally_value(const struct tally *t, enum plan_agg agg);
static inline bool tally_needs_users(enum plan_agg agg)
{
	return agg == AGG_UNIQUE_USERS || agg == AGG_PER_USER_AVG;
}

/* A set of pairs of 32-bit numbers. */
struct pairs {
	struct arena *a;
	uint64_t *v; /* pair + 1; 0 = free */
	uint64_t mask, n;
};

/* 1 when new, 0 when known, -1 at the arena's cap. a must be below UINT32_MAX. */
int pairs_add(struct pairs *p, uint32_t a, uint32_t b);

/* Of one batch, by code of distinct_id: the cell, + 1, that has counted the person last. Who
 * was here a moment ago mostly is again, and the set of pairs is large. */
struct counted {
	uint32_t *cell;
};

/* False at the arena's cap. */
bool counted_make(struct counted *c, const struct batch_column *distinct, struct arena *a);
/* Adds (cell, person) to the set, as pairs_add() does. */
static inline int counted_add(
	struct counted *c, struct pairs *p, uint32_t cell, uint32_t code, uint32_t person)
{
	if (c->cell[code] == cell + 1)
		return 0;
	c->cell[code] = cell + 1;
	return pairs_add(p, cell, person);
}

/* The numbers of one property in a batch, by dictionary code. */
struct numbers {
	const uint32_t *codes;
	const double *v;
	const uint8_t *has;
};

/* False at the arena's cap. */
bool numbers_make(
	struct numbers *n, const struct batch_column *c, enum key_class class, struct arena *a);

#endif
