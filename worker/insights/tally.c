/*
 * Aggregation arithmetic; see tally.h. Sums are Neumaier's: the result is the same
 * to the last digit or two whatever order segments arrive in. A sum that leaves the range of
 * doubles goes on 2^64 times smaller, and so may come back, whatever the order.
 */
#include <float.h>

#include "worker/insights/tally.h"

#define DOWN 0x1p-64 /* as many numbers as can be counted stay within the range */
#define UP   0x1p+64

static bool is_finite(double v)
{
	return v - v == 0;
}

static void scale_down(struct tally *t)
{
	if (t->scaled)
		return;
	t->sum *= DOWN;
	t->rest *= DOWN;
	t->scaled = 1;
}

/* A value that is scaled as the tally is. */
static void add(struct tally *t, double v)
{
	double sum = t->sum + v, big, small;

	if (!is_finite(sum) && !t->scaled) {
		scale_down(t);
		v *= DOWN;
		sum = t->sum + v;
	}
	big = t->sum < 0 ? -t->sum : t->sum;
	small = v < 0 ? -v : v;
	/* infinities would turn into NaN here */
	if (is_finite(sum))
		t->rest += big >= small ? (t->sum - sum) + v : (v - sum) + t->sum;
	t->sum = sum;
}

void tally_number(struct tally *t, double v)
{
	if (t->numbers == 0 || v < t->min)
		t->min = v;
	if (t->numbers == 0 || v > t->max)
		t->max = v;
	t->numbers++;
	add(t, t->scaled ? v * DOWN : v);
}

/* n may be negative: the count wraps as 64 bits do, numbers as the 63 they have. */
void tally_sum(struct tally *t, int64_t n, double sum)
{
	t->count += (uint64_t)n;
	t->numbers = (t->numbers + (uint64_t)n) & INT64_MAX;
	add(t, t->scaled ? sum * DOWN : sum);
}

void tally_merge(struct tally *t, const struct tally *other)
{
	struct tally o = *other;

	t->count += o.count;
	if (o.numbers == 0)
		return;
	if (t->numbers == 0 || o.min < t->min)
		t->min = o.min;
	if (t->numbers == 0 || o.max > t->max)
		t->max = o.max;
	t->numbers += o.numbers;
	if (t->scaled)
		scale_down(&o);
	if (o.scaled)
		scale_down(t);
	add(t, o.sum);
	/* add() may have scaled the tally just now, and not the other one's rest */
	t->rest += t->scaled && !o.scaled ? o.rest * DOWN : o.rest;
}

/* The sum divided by n, which is not 0. Divided before it is scaled up again: a mean may be
 * within the range when its sum is not. */
static double share(const struct tally *t, double n)
{
	double v = (t->sum + t->rest) / n;

	if (t->scaled)
		v *= UP;
	return v > DBL_MAX ? DBL_MAX : v < -DBL_MAX ? -DBL_MAX : v;
}

double tally_value(const struct tally *t, enum plan_agg agg)
{
	switch (agg) {
	case AGG_UNIQUE_USERS:
		return (double)t->users;
	case AGG_PER_USER_AVG:
		return t->users ? (double)t->count / (double)t->users : 0;
	case AGG_SUM:
		return t->numbers ? share(t, 1) : 0;
	case AGG_AVG:
		return t->numbers ? share(t, (double)t->numbers) : 0;
	case AGG_MIN:
		return t->numbers ? t->min : 0;
	case AGG_MAX:
		return t->numbers ? t->max : 0;
	case AGG_MEAN_SECONDS:
		return t->numbers ? share(t, 1000.0 * (double)t->numbers) : 0;
	case AGG_TOTAL:
	default:
		return (double)t->count;
	}
}

bool numbers_make(
	struct numbers *n, const struct batch_column *c, enum key_class class, struct arena *a)
{
	double *v = arena_array(a, c->n_entries + 1, sizeof(*v));
	uint8_t *has = arena_zalloc(a, c->n_entries + 1);

	if (!v || !has)
		return false;
	for (uint32_t i = 0; i < c->n_entries; i++)
		has[i + 1] = value_number(&c->entries[i], class, &v[i + 1]);
	*n = (struct numbers){c->codes, v, has};
	return true;
}
