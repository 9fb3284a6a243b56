/*
 * One property condition, ready to be asked of a value (insights-dashboards.md
 * 1.1). Knows values only; which column a value comes from is the plan's business.
 */
#ifndef INSIGHTS_FILTER_H
#define INSIGHTS_FILTER_H

#include "worker/store/intern.h"
#include "worker/store/value.h"

/* Numbers of common.v1.FilterOperator. */
enum filter_op {
	FILTER_EQUALS = 1,
	FILTER_NOT_EQUALS,
	FILTER_CONTAINS,
	FILTER_NOT_CONTAINS,
	FILTER_IS_SET,
	FILTER_IS_NOT_SET,
	FILTER_LTE,
	FILTER_GTE,
	FILTER_LT,
	FILTER_GT,
	FILTER_IN,
	FILTER_NOT_IN,
	FILTER_BETWEEN,
	FILTER_NOT_BETWEEN
};

struct filter {
	enum filter_op op;
	enum key_class class;
	bool profile;    /* asks a trait of the person instead of the event */
	uint32_t source; /* number of the plan's property, or of its trait path */
	struct str value;
	const struct str *values;
	uint32_t n_values;
	const struct intern *set; /* of the values, where they are many; else NULL */
	double low, high;         /* of the numeric operators */
};

enum { FILTER_FEW = 8 }; /* values that are compared one by one */

/* Makes the set of an IN or NOT_IN of many values, which would otherwise be compared with
 * every entry of every dictionary. False at the arena's cap. */
bool filter_prepare(struct filter *f, struct arena *a);
/* v == NULL is a missing property. */
bool filter_test(const struct filter *f, const struct value *v);
/* True for the operators that compare numbers. */
bool filter_numeric(enum filter_op op);

#endif
