/* Numbers as text (D70): shortest text, strict reading, exact integers. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/number.h"

static void text_is(double v, const char *want)
{
	char got[NUMBER_TEXT];
	size_t n = number_text(v, got);

	cr_expect_str_eq(got, want, "%.17g: %s, want %s", v, got, want);
	cr_expect_eq(n, strlen(want));
}

Test(number, text_has_one_form)
{
	static const struct {
		double v;
		const char *want;
	} t[] = {
		{0, "0"},
		{-0.0, "0"},
		{1, "1"},
		{-1, "-1"},
		{1.5, "1.5"},
		{0.1, "0.1"},
		{100, "100"},
		{0.1 + 0.2, "0.30000000000000004"},
		{1.0 / 3, "0.3333333333333333"},
		{1e-6, "0.000001"},
		{1.5e-6, "0.0000015"},
		{9.99e-7, "9.99e-7"},
		{1e-7, "1e-7"},
		{-1e-7, "-1e-7"},
		{1e20, "100000000000000000000"},
		{1e21, "1e21"},
		{-1.5e21, "-1.5e21"},
		{123456789012345680.0, "123456789012345680"},
		{1e15, "1000000000000000"},
		{999999999999999.0, "999999999999999"},
		{9007199254740993.0, "9007199254740992"},
		{5e-324, "5e-324"},
		{DBL_MAX, "1.7976931348623157e308"},
		{DBL_MIN, "2.2250738585072014e-308"},
		{4.35, "4.35"},
		{2.5e-5, "0.000025"},
		{9007199254740992.0 * 2, "18014398509481984"},
		{1e300, "1e300"},
		{1e-300, "1e-300"},
		{123.456, "123.456"},
		{9.5367431640625e-07, "9.5367431640625e-7"},
		{2.0 / 3 * 1e21, "666666666666666600000"},
		/* a power of two whose nearest 16 digits read back as its neighbour */
		{0x1p-30, "9.313225746154785e-10"},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		text_is(t[i].v, t[i].want);
	text_is((double)NAN, "NaN");
	text_is((double)INFINITY, "Infinity");
	text_is(-(double)INFINITY, "-Infinity");
}

Test(number, text_of_floats_is_shortest_for_floats)
{
	static const struct {
		float v;
		const char *want;
	} t[] = {{0.1f, "0.1"}, {16777216.0f, "16777216"}, {3.4028235e38f, "3.4028235e38"},
		{1e-45f, "1e-45"}, {1.5f, "1.5"}, {1234567.0f, "1234567"}, {1e10f, "10000000000"},
		{0x1p-40f, "9.094947e-13"}};
	char got[NUMBER_TEXT];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		number_text_float(t[i].v, got);
		cr_expect_str_eq(got, t[i].want, "%s, want %s", got, t[i].want);
		cr_expect(strtof(got, NULL) == t[i].v);
	}
}

/* Deterministic bits, so that a failure repeats. */
static uint64_t next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

Test(number, text_reads_back_as_the_same_double)
{
	uint64_t seed = 88172645463325252u, bits;
	char text[NUMBER_TEXT];
	double v, back;

	for (int i = 0; i < 100000; i++) {
		bits = next(&seed);
		if (i % 4 == 0)
			bits &= 0xfff0000000000000u; /* powers of two */
		memcpy(&v, &bits, sizeof(v));
		if (!isfinite(v))
			continue;
		number_text(v, text);
		cr_assert(number_parse(str_of(text), &back), "%s", text);
		cr_assert(v == back, "%.17g %s", v, text);
	}
}

/* No text with fewer digits may read back as v. */
Test(number, text_of_powers_of_two_is_shortest)
{
	char text[NUMBER_TEXT], fewer[64];
	int digits;

	for (int e = -1074; e < 1024; e++) {
		double v = ldexp(1, e);

		number_text(v, text);
		digits = 0;
		for (const char *p = text; *p && *p != 'e'; p++)
			digits += *p != '.' && (digits > 0 || *p != '0');
		if (strchr(text, '.') || strchr(text, 'e')) {
			snprintf(fewer, sizeof(fewer), "%.*e", digits - 2 < 0 ? 0 : digits - 2, v);
			if (digits > 1)
				cr_expect(strtod(fewer, NULL) != v, "%s for %s", fewer, text);
		}
	}
}

Test(number, parse_follows_d70)
{
	static const struct {
		const char *text;
		double want;
	} ok[] = {
		{"0", 0},
		{"1", 1},
		{"+1", 1},
		{"-1", -1},
		{".5", .5},
		{"5.", 5},
		{"-.5", -.5},
		{"00012", 12},
		{"1e3", 1000},
		{"1E5", 1e5},
		{"1e+5", 1e5},
		{"1e-2", .01},
		{"5.e1", 50},
		{"123456789012345678901234567890", 123456789012345678901234567890.0},
		{"0.1", 0.1},
		{"1e-400", 0},
		{"-1e-400", 0},
		{"0e99999999999999999999", 0},
		{"2.2250738585072011e-308", 2.2250738585072011e-308},
		{"179769313486231570000000000000000000000e270", 1.7976931348623157e308},
		{"9007199254740993", 9007199254740992.0},
		{"9007199254740993.0000000001", 9007199254740994.0},
		{"1e22", 1e22},
		{"1e23", 1e23},
		{"123456789012345e-22", 123456789012345e-22},
	};
	static const char *const bad[] = {"", " 1", "1 ", "+", "-", ".", "e5", "1e", "1e+", "0x10",
		"1,000", "true", "inf", "-inf", "Infinity", "nan", "NaN", "1e309", "-1e309",
		"1.2.3", "--1", "+-1", "1e5.0", "1f", "1d", "\xd9\xa1", "1e99999999999999999999",
		"1_000"};
	double got;

	for (size_t i = 0; i < sizeof(ok) / sizeof(ok[0]); i++) {
		cr_expect(number_parse(str_of(ok[i].text), &got), "%s", ok[i].text);
		cr_expect(got == ok[i].want, "%s: %.17g", ok[i].text, got);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(number_parse(str_of(bad[i]), &got), "%s", bad[i]);
	cr_expect_not(number_parse((struct str){"1\0", 2}, &got));
}

/* Digits beyond those kept still decide a tie. */
Test(number, parse_rounds_long_texts_correctly)
{
	static char text[2000];
	double got;

	memset(text, '0', sizeof(text));
	memcpy(text, "9007199254740993.", 17);
	cr_expect(
		number_parse((struct str){text, sizeof(text)}, &got) && got == 9007199254740992.0);
	text[sizeof(text) - 1] = '1';
	cr_expect(
		number_parse((struct str){text, sizeof(text)}, &got) && got == 9007199254740994.0);
	memset(text, '0', sizeof(text));
	text[1] = '.';
	text[sizeof(text) - 1] = '1';
	cr_expect(number_parse((struct str){text, sizeof(text)}, &got) && got == 0);
	memset(text, '9', sizeof(text));
	cr_expect_not(number_parse((struct str){text, sizeof(text)}, &got));
}

Test(number, parse_agrees_with_the_library)
{
	uint64_t seed = 1234567, bits;
	char text[64];
	double got;

	for (int i = 0; i < 50000; i++) {
		bits = next(&seed);
		snprintf(text, sizeof(text), "%llu.%llue%d", (unsigned long long)(bits >> 40),
			(unsigned long long)(bits & 0xffffff), (int)(bits >> 24 & 127) - 64);
		cr_assert(number_parse(str_of(text), &got));
		cr_assert(got == strtod(text, NULL), "%s", text);
	}
}

Test(number, json_grammar_is_strict)
{
	static const struct {
		const char *text;
		size_t n;
	} t[] = {{"0", 1}, {"-0", 2}, {"12", 2}, {"1.5", 3}, {"1e5", 3}, {"1E+5", 4},
		{"-1.5e-7,", 7}, {"01", 0}, {"-01", 0}, {"+1", 0}, {".5", 0}, {"5.", 0}, {"-", 0},
		{"", 0}, {"1e", 0}, {"1.e5", 0}, {"e5", 0}, {"1 2", 1}, {"0x1", 1}, {"NaN", 0}};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		cr_expect_eq(number_json_span(str_of(t[i].text)), t[i].n, "%s", t[i].text);
}

Test(number, integers_are_exact)
{
	static const struct {
		const char *text;
		bool ok, negative;
		uint64_t v;
	} t[] = {
		{"0", true, false, 0},
		{"-0", true, true, 0},
		{"1.0", true, false, 1},
		{"1e3", true, false, 1000},
		{"1.50e2", true, false, 150},
		{"-12e1", true, true, 120},
		{"18446744073709551615", true, false, UINT64_MAX},
		{"18446744073709551616", false, 0, 0},
		{"1844674407370955161.5e1", true, false, UINT64_MAX},
		{"9223372036854775808", true, false, 1ull << 63},
		{"10000000000000000000000e-4", true, false, 1000000000000000000},
		{"1e19", true, false, 10000000000000000000u},
		{"1e20", false, 0, 0},
		{"1.5", false, 0, 0},
		{"1e-1", false, 0, 0},
		{"0e999999999999", true, false, 0},
		{"0.000e-5", true, false, 0},
		{"100e-2", true, false, 1},
		{"1e99999999999999999999", false, 0, 0},
		{"1e-999999", false, 0, 0},
	};
	bool negative;
	uint64_t v;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		bool ok = number_json_integer(str_of(t[i].text), &negative, &v);

		cr_expect_eq(ok, t[i].ok, "%s", t[i].text);
		if (ok)
			cr_expect(v == t[i].v && negative == t[i].negative, "%s", t[i].text);
	}
}
