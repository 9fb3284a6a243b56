/* Timestamps, durations and field masks as text. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "proto/wkt.h"

Test(wkt, timestamps_are_read)
{
	static const struct {
		const char *text;
		int64_t s;
		int32_t ns;
	} t[] = {
		{"1970-01-01T00:00:00Z", 0, 0},
		{"1970-01-01T00:00:00.5Z", 0, 500000000},
		{"1969-12-31T23:59:59.999999999Z", -1, 999999999},
		{"2026-06-09T20:10:00Z", 1781035800, 0},
		{"2026-06-10T01:40:00+05:30", 1781035800, 0},
		{"2024-02-29T12:00:00-00:30", 1709209800, 0},
		{"0001-01-01T00:00:00Z", -62135596800, 0},
		{"9999-12-31T23:59:59.999999999Z", 253402300799, 999999999},
		{"0001-01-01T01:00:00+01:00", -62135596800, 0},
		{"2000-02-29T00:00:00+00:00", 951782400, 0},
		{"1970-01-01T00:00:00.000000001Z", 0, 1},
	};
	int64_t s;
	int32_t ns;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		cr_expect(wkt_timestamp_parse(str_of(t[i].text), &s, &ns), "%s", t[i].text);
		cr_expect(s == t[i].s && ns == t[i].ns, "%s: %lld %d", t[i].text, (long long)s, ns);
	}
}

Test(wkt, wrong_timestamps_are_refused)
{
	static const char *const bad[] = {"", "2026", "2026-06-09", "2026-06-09T20:10:00",
		"2026-06-09 20:10:00Z", "2026-06-09t20:10:00Z", "2026-06-09T20:10:00z",
		"2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-01-00T00:00:00Z",
		"2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z",
		"2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567890Z",
		"2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60",
		"2026-01-01T00:00:00+0530", "2026-01-01T00:00:00+05", "2026-01-01T00:00:00Z ",
		" 2026-01-01T00:00:00Z", "2026-1-1T0:0:0Z", "0000-01-01T00:00:00Z",
		"0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "+2026-01-01T00:00:00Z",
		"12026-01-01T00:00:00Z", "2026-01-01T00:00:00,5Z"};
	int64_t s;
	int32_t ns;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(wkt_timestamp_parse(str_of(bad[i]), &s, &ns), "%s", bad[i]);
}

Test(wkt, timestamps_are_written_with_0_3_6_or_9_digits)
{
	static const struct {
		int64_t s;
		int32_t ns;
		const char *want;
	} t[] = {
		{0, 0, "1970-01-01T00:00:00Z"},
		{-1, 0, "1969-12-31T23:59:59Z"},
		{1781035800, 120000000, "2026-06-09T20:10:00.120Z"},
		{0, 1000, "1970-01-01T00:00:00.000001Z"},
		{0, 1, "1970-01-01T00:00:00.000000001Z"},
		{-62135596800, 0, "0001-01-01T00:00:00Z"},
		{253402300799, 999999999, "9999-12-31T23:59:59.999999999Z"},
		{951782400, 0, "2000-02-29T00:00:00Z"},
		{-62135596801, 0, ""},
		{253402300800, 0, ""},
		{0, -1, ""},
		{0, 1000000000, ""},
		{INT64_MAX, 0, ""},
		{INT64_MIN, 0, ""},
	};
	char out[WKT_TEXT];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		size_t n = wkt_timestamp_text(t[i].s, t[i].ns, out);

		cr_expect_eq(n, strlen(t[i].want), "%s", t[i].want);
		if (n > 0)
			cr_expect_str_eq(out, t[i].want);
	}
}

/* Any time as the C library prints it, and back. */
Test(wkt, timestamps_are_written_as_by_printf)
{
	static const int32_t units[] = {1, 1000, 1000000, 1000000000};
	uint64_t rng = 23;

	for (uint32_t i = 0; i < 200000; i++) {
		char out[WKT_TEXT], want[128], *p = want;
		int64_t s, back_s;
		int32_t ns, back_ns;
		struct tm tm;
		time_t t;

		rng = rng * 6364136223846793005u + 1442695040888963407u;
		s = WKT_MIN_SECONDS +
		    (int64_t)(rng >> 16) % (WKT_MAX_SECONDS - WKT_MIN_SECONDS + 1);
		ns = (int32_t)(rng >> 33) % 1000000000 / units[i % 4] * units[i % 4];
		t = (time_t)s;
		gmtime_r(&t, &tm);
		p += sprintf(p, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
			tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
		if (ns)
			p += sprintf(p, ".%0*d",
				ns % 1000      ? 9
				: ns % 1000000 ? 6
					       : 3,
				ns / (ns % 1000             ? 1
					     : ns % 1000000 ? 1000
							    : 1000000));
		strcpy(p, "Z");
		cr_assert_eq(wkt_timestamp_text(s, ns, out), strlen(want));
		cr_assert_str_eq(out, want);
		cr_assert(wkt_timestamp_parse(str_of(out), &back_s, &back_ns));
		cr_assert(back_s == s && back_ns == ns);
	}
}

/* Every day of ten thousand years there and back. */
Test(wkt, calendar_is_its_own_inverse)
{
	int64_t year, before = wkt_days(0, 12, 31);
	unsigned month, day;

	cr_assert_eq(wkt_days(1970, 1, 1), 0);
	cr_assert_eq(wkt_days(2000, 3, 1), 11017);
	for (int64_t d = before + 1; d < wkt_days(10000, 1, 1); d++) {
		wkt_date(d, &year, &month, &day);
		cr_assert_eq(wkt_days(year, month, day), d);
	}
	cr_assert_eq(year, 9999);
	cr_assert(month == 12 && day == 31);
}

Test(wkt, durations)
{
	static const struct {
		const char *text;
		int64_t s;
		int32_t ns;
		const char *back; /* NULL: the same */
	} t[] = {
		{"0s", 0, 0, NULL},
		{"1s", 1, 0, NULL},
		{"1.5s", 1, 500000000, "1.500s"},
		{"-1.5s", -1, -500000000, "-1.500s"},
		{"-0.5s", 0, -500000000, "-0.500s"},
		{"0.000000001s", 0, 1, NULL},
		{"315576000000s", 315576000000, 0, NULL},
		{"-315576000000s", -315576000000, 0, NULL},
		{"-0s", 0, 0, "0s"},
		{"007s", 7, 0, "7s"},
	};
	static const char *const bad[] = {"", "s", "1", "1.s", ".5s", "1.5", "1m", "1 s", "+1s",
		"--1s", "1.1234567890s", "315576000001s", "315576000000.1s", "1e3s",
		"99999999999999999999s"};
	char out[WKT_TEXT];
	int64_t s;
	int32_t ns;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		cr_expect(wkt_duration_parse(str_of(t[i].text), &s, &ns), "%s", t[i].text);
		cr_expect(s == t[i].s && ns == t[i].ns, "%s", t[i].text);
		cr_expect_gt(wkt_duration_text(s, ns, out), 0);
		cr_expect_str_eq(out, t[i].back ? t[i].back : t[i].text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(wkt_duration_parse(str_of(bad[i]), &s, &ns), "%s", bad[i]);
	cr_expect_eq(wkt_duration_text(1, -1, out), 0);
	cr_expect_eq(wkt_duration_text(-1, 1, out), 0);
	cr_expect_eq(wkt_duration_text(INT64_MIN, 0, out), 0);
}

static void path_is(const char *camel, const char *snake)
{
	struct buf b = {0};

	cr_expect(wkt_path_to_snake(str_of(camel), &b));
	cr_expect(str_eq((struct str){b.p, b.n}, str_of(snake)), "%.*s", (int)b.n, b.p);
	b.n = 0;
	cr_expect(wkt_path_to_camel(str_of(snake), &b));
	cr_expect(str_eq((struct str){b.p, b.n}, str_of(camel)), "%.*s", (int)b.n, b.p);
	buf_free(&b);
}

Test(wkt, field_mask_paths)
{
	struct buf b = {0};

	path_is("user", "user");
	path_is("user.displayName", "user.display_name");
	path_is("fooBarBaz", "foo_bar_baz");
	cr_expect_not(wkt_path_to_snake(str_of("foo_bar"), &b));
	cr_expect_not(wkt_path_to_snake(str_of(""), &b));
	cr_expect_not(wkt_path_to_camel(str_of("foo__bar"), &b));
	cr_expect_not(wkt_path_to_camel(str_of("foo_"), &b));
	cr_expect_not(wkt_path_to_camel(str_of("fooBar"), &b));
	cr_expect_not(wkt_path_to_camel(str_of("foo_1"), &b));
	buf_free(&b);
}
