/*
 * The operator table; see filter.h. Text operators look at the text of a value,
 * where a missing one is empty; numeric ones at its numeric view, and without
 * one they are false, NOT_BETWEEN included.
 */
#include "worker/insights/filter.h"

static bool contains(struct str text, struct str part)
{
	return part.n == 0 || (text.n >= part.n && memmem(text.p, text.n, part.p, part.n));
}

/* Nothing changes the set from then on: a second thread asks the same filters (scan.c). */
bool filter_prepare(struct filter *f, struct arena *a)
{
	struct intern *set;

	if (f->n_values <= FILTER_FEW || (f->op != FILTER_IN && f->op != FILTER_NOT_IN))
		return true;
	set = arena_alloc(a, sizeof(*set));
	if (!set)
		return false;
	intern_init(set, a);
	for (uint32_t i = 0; i < f->n_values; i++)
		if (intern_add(set, f->values[i]) == INTERN_FULL)
			return false;
	f->set = set;
	return true;
}

static bool among(const struct filter *f, struct str text)
{
	if (f->set)
		return intern_find(f->set, text) != INTERN_FULL;
	for (uint32_t i = 0; i < f->n_values; i++)
		if (str_eq(f->values[i], text))
			return true;
	return false;
}

/* The four comparisons are neighbours among the proto's numbers. */
bool filter_numeric(enum filter_op op)
{
	return (op >= FILTER_LTE && op <= FILTER_GT) || op == FILTER_BETWEEN ||
	       op == FILTER_NOT_BETWEEN;
}

/* As doubles, whatever was stored (D70): integers beyond 2^53 are rounded first. */
static bool test_number(const struct filter *f, double n)
{
	switch ((int)f->op) {
	case FILTER_LTE:
		return n <= f->low;
	case FILTER_GTE:
		return n >= f->low;
	case FILTER_LT:
		return n < f->low;
	case FILTER_GT:
		return n > f->low;
	case FILTER_BETWEEN:
		return f->low <= n && n <= f->high;
	default:
		return n < f->low || n > f->high;
	}
}

/* The negative ones are true of what is missing, whose text is empty, except NOT_IN with "" among
 * its values (1.1). */
static bool test_text(const struct filter *f, struct str text)
{
	switch ((int)f->op) {
	case FILTER_EQUALS:
		return str_eq(text, f->value);
	case FILTER_NOT_EQUALS:
		return !str_eq(text, f->value);
	case FILTER_CONTAINS:
		return contains(text, f->value);
	case FILTER_NOT_CONTAINS:
		return !contains(text, f->value);
	case FILTER_IS_SET:
		return text.n > 0;
	case FILTER_IS_NOT_SET:
		return text.n == 0;
	case FILTER_IN:
		return among(f, text);
	case FILTER_NOT_IN:
		return !among(f, text);
	default:
		return false;
	}
}

bool filter_test(const struct filter *f, const struct value *v)
{
	static const struct value missing = {.type = VALUE_NONE};
	char scratch[VALUE_TEXT_MAX];
	double n;

	if (!v)
		v = &missing;
	if (filter_numeric(f->op))
		return value_number(v, f->class, &n) && test_number(f, n);
	return test_text(f, value_text(v, f->class, scratch));
}
