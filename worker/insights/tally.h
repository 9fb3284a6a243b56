/*
 * What an aggregation keeps of a set of events, and its value (1.2). Distinct
 * persons are held outside, in a personset.
 */
#ifndef INSIGHTS_TALLY_H
#define INSIGHTS_TALLY_H

#include "worker/insights/plan.h"

struct tally {
	/* users: set from outside when all was counted, and not merged */
	uint64_t count, users;
	uint64_t numbers : 63, scaled : 1; /* scaled: sum and rest are 2^-64 of what they say */
	double sum, rest; /* compensated, so that the order of events hardly matters */
	double min, max;
};

void tally_number(struct tally *t, double v);
/* n more events, whose numbers have that sum; or, below 0, as many fewer. For aggregations that
 * ask neither for the least nor for the greatest of them. */
void tally_sum(struct tally *t, int64_t n, double sum);
/* Adds all but the users. */
void tally_merge(struct tally *t, const struct tally *other);
/* Always finite: what no double can hold is the largest one of its sign. */
double tally_value(const struct tally *t, enum plan_agg agg);
static inline bool tally_needs_users(enum plan_agg agg)
{
	return agg == AGG_UNIQUE_USERS || agg == AGG_PER_USER_AVG;
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
