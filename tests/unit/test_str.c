/* shm/base/str.c, table by table. */
#include <criterion/criterion.h>

#include "shm/base/str.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

Test(str, compare)
{
	static const struct {
		struct str a, b;
		int sign;
	} rows[] = {
		{{"", 0}, {NULL, 0}, 0},
		{{"a", 1}, {"b", 1}, -1},
		{{"ab", 2}, {"a", 1}, 1},
		{{"a\0b", 3}, {"a\0c", 3}, -1},
		{{"\xff", 1}, {"a", 1}, 1},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		int d = str_cmp(rows[i].a, rows[i].b);

		cr_expect_eq((d > 0) - (d < 0), rows[i].sign, "row %zu", i);
		cr_expect_eq(str_eq(rows[i].a, rows[i].b), rows[i].sign == 0, "row %zu", i);
		cr_expect_eq(str_secret_eq(rows[i].a, rows[i].b), rows[i].sign == 0, "row %zu", i);
	}
	cr_expect(str_case_eq(STR("Content-TYPE"), STR("content-type")));
	cr_expect_not(str_case_eq(STR("a[b"), STR("a{b")));
	cr_expect(str_starts(STR("Bearer x"), STR("Bearer ")));
	cr_expect_not(str_starts(STR("Bea"), STR("Bearer ")));
	cr_expect_eq(str_find(STR("a=b"), '='), 1);
	cr_expect_eq(str_find((struct str){NULL, 0}, '='), -1);
	cr_expect(str_eq(str_trim(STR(" \t a b\t ")), STR("a b")));
	cr_expect_eq(str_trim(STR(" \t ")).n, 0);
}

Test(str, numbers)
{
	static const struct {
		const char *text;
		bool u, i;
		uint64_t u_value;
		int64_t i_value;
	} rows[] = {
		{"0", true, true, 0, 0},
		{"007", true, true, 7, 7},
		{"", false, false, 0, 0},
		{"-", false, false, 0, 0},
		{"+5", false, true, 0, 5},
		{"-5", false, true, 0, -5},
		{"--5", false, false, 0, 0},
		{"1 ", false, false, 0, 0},
		{"1e3", false, false, 0, 0},
		{"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
		{"9223372036854775808", true, false, (uint64_t)INT64_MAX + 1, 0},
		{"-9223372036854775808", false, true, 0, INT64_MIN},
		{"-9223372036854775809", false, false, 0, 0},
		{"18446744073709551615", true, false, UINT64_MAX, 0},
		{"18446744073709551616", false, false, 0, 0},
		{"99999999999999999999", false, false, 0, 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t u = 0;
		int64_t n = 0;

		cr_expect_eq(str_u64(str_of(rows[i].text), &u), rows[i].u, "%s", rows[i].text);
		cr_expect_eq(str_i64(str_of(rows[i].text), &n), rows[i].i, "%s", rows[i].text);
		cr_expect_eq(u, rows[i].u_value, "%s", rows[i].text);
		cr_expect_eq(n, rows[i].i_value, "%s", rows[i].text);
	}
}

Test(str, utf8)
{
	static const struct {
		const char *text;
		bool ok;
		size_t len;
	} rows[] = {
		{"", true, 0},
		{"plain ascii, longer than a word", true, 31},
		{"h\xc3\xa9llo w\xc3\xb6rld", true, 11},
		{"\xe2\x82\xac", true, 1},
		{"\xf0\x9f\x98\x80", true, 1},
		{"\xf4\x8f\xbf\xbf", true, 1},
		{"\xf4\x90\x80\x80", false, 0}, /* U+110000 */
		{"\xed\xa0\x80", false, 0},     /* a surrogate */
		{"\xed\x9f\xbf", true, 1},
		{"\xc0\xaf", false, 0}, /* overlong */
		{"\xc1\xbf", false, 0},
		{"\xe0\x9f\xbf", false, 0},
		{"\xf0\x8f\xbf\xbf", false, 0},
		{"\x80", false, 0},
		{"\xe2\x82", false, 0}, /* cut off */
		{"12345678\xff", false, 0},
		{"\xf8\x88\x80\x80\x80", false, 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct str s = str_of(rows[i].text);

		cr_expect_eq(str_utf8_ok(s), rows[i].ok, "row %zu", i);
		if (rows[i].ok)
			cr_expect_eq(str_utf8_len(s), rows[i].len, "row %zu", i);
	}
}

Test(str, hex)
{
	uint8_t bytes[4] = {0};
	char text[9];

	str_hex("\x00\xab\xcd\xef", 4, text);
	cr_expect_str_eq(text, "00abcdef");
	cr_expect(str_unhex(STR("00aBCdeF"), bytes, 4));
	cr_expect_arr_eq(bytes, "\x00\xab\xcd\xef", 4);
	cr_expect_not(str_unhex(STR("00abcde"), bytes, 4));
	cr_expect_not(str_unhex(STR("00abcdeg"), bytes, 4));
	cr_expect_not(str_unhex(STR("00abcdef00"), bytes, 4));
}

Test(str, uuid)
{
	static const char *const bad[] = {
		"",
		"0190163d-8694-739b-aea5-966c26f8ad9",
		"0190163d8694739baea5966c26f8ad91",
		"0190163d-8694-739b-aea5-966c26f8ad9g",
		"{0190163d-8694-739b-aea5-966c26f8ad}",
		"0190163d-8694-739b-aea5_966c26f8ad91",
		"0190163-d8694-739b-aea5-966c26f8ad91",
	};
	uint8_t uuid[16];
	char text[37];

	cr_assert(str_uuid(STR("0190163D-8694-739b-aea5-966c26f8ad91"), uuid));
	str_uuid_text(uuid, text);
	cr_expect_str_eq(text, "0190163d-8694-739b-aea5-966c26f8ad91");
	for (size_t i = 0; i < COUNT(bad); i++)
		cr_expect_not(str_uuid(str_of(bad[i]), uuid), "%s", bad[i]);
}
