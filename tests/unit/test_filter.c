/* Every operator on every kind of value: the table of insights-dashboards.md 1.1. */
#include <criterion/criterion.h>
#include <stdio.h>
#include "proto/number.h"
#include "worker/insights/filter.h"

enum { MISSING, INT42, REAL, TEXT, NUMERIC, EMPTY, TRUTH, TIME, VALUES };

static const struct value values[VALUES] = {
	[INT42] = {.type = VALUE_INT, .i = 42},
	[REAL] = {.type = VALUE_DOUBLE, .d = 1.5},
	[TEXT] = {.type = VALUE_STR, .s = {"a%_b", 4}},
	[NUMERIC] = {.type = VALUE_STR, .s = {"42.0", 4}},
	[EMPTY] = {.type = VALUE_STR, .s = {"", 0}},
	[TRUTH] = {.type = VALUE_BOOL, .i = 1},
	[TIME] = {.type = VALUE_TIME, .i = 1700000000123},
};

/* One letter per value in the order above: y or n. */
static void check(enum filter_op op, const char *value, const char *second, const char *expected)
{
	struct str list[2] = {str_of(value), str_of(second ? second : "")};
	struct filter f = {.op = op, .value = list[0], .values = list, .n_values = second ? 2 : 1};
	char got[VALUES + 1] = "";

	if (filter_numeric(op)) {
		cr_assert(number_parse(list[0], &f.low));
		cr_assert(!second || number_parse(list[1], &f.high));
	}
	for (int i = 0; i < VALUES; i++)
		got[i] = filter_test(&f, i == MISSING ? NULL : &values[i]) ? 'y' : 'n';
	cr_assert_str_eq(got, expected, "op %d %s: %s", op, value, got);
}

Test(filter, text_operators)
{
	/*                                       -42 1.5 a%_b "42.0" "" true time */
	check(FILTER_EQUALS, "42", NULL, "nynnnnnn");
	check(FILTER_EQUALS, "42.0", NULL, "nnnnynnn");
	check(FILTER_EQUALS, "true", NULL, "nnnnnnyn");
	check(FILTER_EQUALS, "2023-11-14 22:13:20.123", NULL, "nnnnnnny");
	check(FILTER_NOT_EQUALS, "42.0", NULL, "yyyynyyy");
	check(FILTER_CONTAINS, "4", NULL, "nynnynny");
	check(FILTER_CONTAINS, "%_", NULL, "nnnynnnn");
	check(FILTER_CONTAINS, "ru", NULL, "nnnnnnyn");
	check(FILTER_NOT_CONTAINS, "%_", NULL, "yyynyyyy");
	check(FILTER_IS_SET, "", NULL, "nyyyynyy");
	check(FILTER_IS_NOT_SET, "", NULL, "ynnnnynn");
	check(FILTER_IN, "42", "1.5", "nyynnnnn");
	check(FILTER_IN, "42", "", "yynnnynn");
	check(FILTER_NOT_IN, "42", "1.5", "ynnyyyyy");
	check(FILTER_NOT_IN, "42", "", "nnyyynyy");
}

/* Many values are a set, which answers as the list does. */
Test(filter, many_values)
{
	enum { MANY = 1000 };
	struct arena a;
	struct str list[MANY];
	struct filter f = {.op = FILTER_IN, .values = list, .n_values = MANY};
	struct value v = {.type = VALUE_STR};

	arena_init(&a, 1 << 20);
	for (int i = 0; i < MANY; i++)
		list[i] = i ? arena_printf(&a, "v%d", i / 2) : STR("");
	cr_assert(filter_prepare(&f, &a));
	cr_assert_not_null(f.set);
	for (int i = 0; i < 2; i++) {
		bool in = f.op == FILTER_IN;

		cr_assert_eq(filter_test(&f, NULL), in, "a missing value is an empty one");
		v.s = STR("v499");
		cr_assert_eq(filter_test(&f, &v), in);
		v.s = STR("v500");
		cr_assert_eq(filter_test(&f, &v), !in);
		f.op = FILTER_NOT_IN;
	}
	arena_free(&a);
}

Test(filter, numeric_operators)
{
	check(FILTER_LT, "42", NULL, "nnynnnnn");
	check(FILTER_LTE, "42", NULL, "nyynynnn");
	check(FILTER_GT, "1.5", NULL, "nynnynnn");
	check(FILTER_GTE, "1.5", NULL, "nyynynnn");
	check(FILTER_BETWEEN, "1.5", "2", "nnynnnnn");
	check(FILTER_BETWEEN, "42", "42", "nynnynnn");
	check(FILTER_NOT_BETWEEN, "0", "10", "nynnynnn");
}

static bool promoted(const char *key, enum filter_op op, const char *value, const struct value *v)
{
	struct filter f = {.op = op, .class = value_key_class(str_of(key)), .value = str_of(value)};

	if (filter_numeric(op))
		number_parse(f.value, &f.low);
	return filter_test(&f, v);
}

Test(filter, promoted_keys)
{
	struct value one = {.type = VALUE_STR, .s = STR("1")};
	struct value maybe = {.type = VALUE_STR, .s = STR("maybe")};

	/* $mobile is never missing and has no numeric view */
	cr_assert(promoted("$mobile", FILTER_EQUALS, "false", NULL));
	cr_assert(promoted("$mobile", FILTER_EQUALS, "true", &one));
	cr_assert(promoted("$mobile", FILTER_EQUALS, "false", &maybe));
	cr_assert(promoted("$mobile", FILTER_IS_SET, "", NULL));
	cr_assert(!promoted("$mobile", FILTER_GTE, "0", &one));
	cr_assert(promoted("$verified_bot", FILTER_IS_NOT_SET, "", NULL));
	cr_assert(promoted("$verified_bot", FILTER_EQUALS, "true", &values[TRUTH]));
	cr_assert(promoted("$bot_score", FILTER_GT, "30", &values[INT42]));
	cr_assert(promoted("$browserVersion", FILTER_GT, "41", &values[NUMERIC]));
	cr_assert(promoted("$city", FILTER_EQUALS, "42", &values[INT42]));
	cr_assert(promoted("$city", FILTER_IS_NOT_SET, "", &values[TIME]));
	cr_assert(promoted("$other", FILTER_IS_SET, "", &values[TIME]));
}

Test(filter, texts_of_values)
{
	char scratch[VALUE_TEXT_MAX];
	struct value v = {.type = VALUE_DOUBLE, .d = 1e21};
	struct str s;

	s = value_text(&v, KEY_PLAIN, scratch);
	cr_assert(str_eq(s, STR("1e21")), "%.*s", STR_ARG(s));
	v.d = 1e20;
	s = value_text(&v, KEY_PLAIN, scratch);
	cr_assert(str_eq(s, STR("100000000000000000000")), "%.*s", STR_ARG(s));
	s = value_rfc3339(1700000000120, scratch);
	cr_assert(str_eq(s, STR("2023-11-14T22:13:20.12Z")), "%.*s", STR_ARG(s));
	s = value_rfc3339(1700000000000, scratch);
	cr_assert(str_eq(s, STR("2023-11-14T22:13:20Z")), "%.*s", STR_ARG(s));
	s = value_rfc3339(-1, scratch);
	cr_assert(str_eq(s, STR("1969-12-31T23:59:59.999Z")), "%.*s", STR_ARG(s));
}
