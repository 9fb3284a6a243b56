/*
 * Aggregation arithmetic; see tally.h. Sums are Neumaier's: the result is the same
 * to the last digit or two whatever order segments arrive in.
 */
#include "worker/insights/tally.h"

static void add(struct tally *t, double v)
{
	double sum = t->sum + v;
	double big = t->sum < 0 ? -t->sum : t->sum, small = v < 0 ? -v : v;

	/* infinities would turn into NaN here */
	if (sum - sum == 0)
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
	add(t, v);
}

void tally_merge(struct tally *t, const struct tally *other)
{
	t->count += other->count;
	if (other->numbers == 0)
		return;
	if (t->numbers == 0 || other->min < t->min)
		t->min = other->min;
	if (t->numbers == 0 || other->max > t->max)
		t->max = other->max;
	t->numbers += other->numbers;
	add(t, other->sum);
	t->rest += other->rest;
}

double tally_value(const struct tally *t, enum plan_agg agg)
{
	switch (agg) {
	case AGG_UNIQUE_USERS:
		return (double)t->users;
	case AGG_PER_USER_AVG:
		return t->users ? (double)t->count / (double)t->users : 0;
	case AGG_SUM:
		return t->numbers ? t->sum + t->rest : 0;
	case AGG_AVG:
		return t->numbers ? (t->sum + t->rest) / (double)t->numbers : 0;
	case AGG_MIN:
		return t->numbers ? t->min : 0;
	case AGG_MAX:
		return t->numbers ? t->max : 0;
	case AGG_MEAN_SECONDS:
		return t->numbers ? (t->sum + t->rest) / (1000.0 * (double)t->numbers) : 0;
	case AGG_TOTAL:
	default:
		return (double)t->count;
	}
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0x9e3779b97f4a7c15u;
	return x ^ x >> 29;
}

static bool pairs_grow(struct pairs *p)
{
	uint64_t size = p->v ? (p->mask + 1) * 2 : 1024, *old = p->v, old_mask = p->mask;

	p->v = arena_array(p->a, size, sizeof(*p->v));
	if (!p->v)
		return false;
	p->mask = size - 1;
	for (uint64_t i = 0; old && i <= old_mask; i++) {
		uint64_t k = mix(old[i]) & p->mask;

		if (!old[i])
			continue;
		while (p->v[k])
			k = (k + 1) & p->mask;
		p->v[k] = old[i];
	}
	return true;
}

int pairs_add(struct pairs *p, uint32_t a, uint32_t b)
{
	uint64_t key = ((uint64_t)a << 32 | b) + 1, k;

	if ((!p->v || p->n * 2 > p->mask) && !pairs_grow(p))
		return -1;
	for (k = mix(key) & p->mask; p->v[k]; k = (k + 1) & p->mask)
		if (p->v[k] == key)
			return 0;
	p->v[k] = key;
	p->n++;
	return 1;
}

bool counted_make(struct counted *c, const struct batch_column *distinct, struct arena *a)
{
	c->cell = arena_zalloc(a, ((size_t)distinct->n_entries + 1) * sizeof(*c->cell));
	return c->cell != NULL;
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
