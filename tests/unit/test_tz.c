/* Zones and buckets (D71, D90): odd changes of clocks, from the system's tz database. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>
#include "worker/insights/bucket.h"

static struct arena a;

static void setup(void)
{
	arena_init(&a, 64 << 20);
}

static void teardown(void)
{
	arena_free(&a);
}

TestSuite(tz, .init = setup, .fini = teardown);

static int64_t at(const char *text)
{
	struct tm tm = {0};

	cr_assert(strptime(text, "%Y-%m-%dT%H:%M:%S", &tm), "%s", text);
	return (int64_t)timegm(&tm);
}

/* Starts of all buckets of a window, as "MM-DDTHH:MM ..." in UTC. */
static const char *starts(const char *zone, enum bucket_unit unit, const char *from, const char *to)
{
	static char text[8192];
	struct tz *z = tz_open(str_of(zone), &a);
	struct buckets b;
	size_t n = 0;

	cr_assert(z, "%s", zone);
	cr_assert(buckets_make(&b, z, unit, at(from) * 1000, at(to) * 1000, &a));
	text[0] = '\0';
	for (uint32_t i = 0; i < b.n; i++) {
		time_t s = (time_t)(b.starts[i] / 1000);
		struct tm tm;

		gmtime_r(&s, &tm);
		n += strftime(text + n, sizeof(text) - n, i ? " %m-%dT%H:%M" : "%m-%dT%H:%M", &tm);
		cr_assert(i == 0 || b.starts[i] > b.starts[i - 1], "%s: order", zone);
	}
	return text;
}

/* Walking through a window, and jumping in it, finds what searching finds. */
static void check_near(const struct buckets *b, int64_t from, int64_t to)
{
	struct buckets_near near = {0};

	for (int64_t ms = from; ms < to; ms += 419999) {
		cr_assert_eq(buckets_find_near(b, &near, ms), buckets_find(b, ms));
		if (ms % 5 == 0)
			cr_assert_eq(buckets_find_near(b, &near, from), buckets_find(b, from));
	}
}

/* Start of the bucket that holds one instant. */
static const char *start_of(const char *zone, enum bucket_unit unit, const char *when)
{
	static char text[40];
	struct tz *z = tz_open(str_of(zone), &a);
	struct buckets b;
	int64_t ms = at(when) * 1000;
	time_t s;
	struct tm tm;

	cr_assert(z && buckets_make(&b, z, unit, ms - 5 * 3600000, ms + 5 * 3600000, &a));
	check_near(&b, ms - 5 * 3600000, ms + 5 * 3600000);
	s = (time_t)(b.starts[buckets_find(&b, ms)] / 1000);
	gmtime_r(&s, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M", &tm);
	return text;
}

#define check_start(zone, unit, when, expected) \
	cr_assert_str_eq(start_of(zone, unit, when), expected, "got %s", start_of(zone, unit, when))

Test(tz, kolkata)
{
	check_start("Asia/Kolkata", BUCKET_DAY, "2026-06-09T20:10:00", "2026-06-09T18:30");
	check_start("Asia/Kolkata", BUCKET_HOUR, "2026-06-09T20:10:00", "2026-06-09T19:30");
	check_start("Asia/Kolkata", BUCKET_WEEK, "2026-06-09T20:10:00", "2026-06-06T18:30");
	check_start("Asia/Kolkata", BUCKET_MONTH, "2026-06-09T20:10:00", "2026-05-31T18:30");
}

Test(tz, new_york_repeats_an_hour)
{
	check_start("America/New_York", BUCKET_HOUR, "2024-11-03T05:30:00", "2024-11-03T05:00");
	check_start("America/New_York", BUCKET_HOUR, "2024-11-03T06:30:00", "2024-11-03T06:00");
	check_start("America/New_York", BUCKET_DAY, "2024-11-03T06:30:00", "2024-11-03T04:00");
	cr_assert_str_eq(starts("America/New_York", BUCKET_DAY, "2024-03-09T05:00:00",
				 "2024-03-12T04:00:00"),
		"03-09T05:00 03-10T05:00 03-11T04:00");
	/* by the footer rule, far beyond the file's transitions */
	cr_assert_str_eq(starts("America/New_York", BUCKET_DAY, "2150-03-07T05:00:00",
				 "2150-03-10T04:00:00"),
		"03-07T05:00 03-08T05:00 03-09T04:00");
}

Test(tz, lord_howe_moves_half_an_hour)
{
	/* 2024-04-06T15:00Z: 02:00+11 becomes 01:30+10:30 */
	check_start("Australia/Lord_Howe", BUCKET_HOUR, "2024-04-06T14:59:00", "2024-04-06T14:00");
	check_start("Australia/Lord_Howe", BUCKET_HOUR, "2024-04-06T15:10:00", "2024-04-06T14:30");
	check_start("Australia/Lord_Howe", BUCKET_HOUR, "2024-04-06T15:40:00", "2024-04-06T15:30");
}

Test(tz, apia_skips_a_day)
{
	/* 30 December 2011 did not exist */
	cr_assert_str_eq(
		starts("Pacific/Apia", BUCKET_DAY, "2011-12-29T10:00:00", "2011-12-31T10:00:00"),
		"12-29T10:00 12-30T10:00");
	check_start("Pacific/Apia", BUCKET_MONTH, "2011-12-31T09:00:00", "2011-12-01T10:00");
}

Test(tz, sao_paulo_has_no_midnight)
{
	/* 2018-11-04: midnight becomes 01:00 */
	check_start("America/Sao_Paulo", BUCKET_DAY, "2018-11-04T05:00:00", "2018-11-04T03:00");
	/* 2018-02-18: 24:00 becomes 23:00 of the day before, once more */
	cr_assert_str_eq(starts("America/Sao_Paulo", BUCKET_DAY, "2018-02-17T02:00:00",
				 "2018-02-19T03:00:00"),
		"02-17T02:00 02-18T03:00");
}

Test(tz, two_midnights)
{
	/* St John's fell back at 00:01, so 2006-10-29 began twice */
	check_start("America/St_Johns", BUCKET_DAY, "2006-10-29T02:30:30", "2006-10-29T02:30");
	check_start("America/St_Johns", BUCKET_DAY, "2006-10-29T02:45:00", "2006-10-28T02:30");
	check_start("America/St_Johns", BUCKET_DAY, "2006-10-29T12:00:00", "2006-10-29T02:30");
	/* the window begins in the stretch that belongs to the later day */
	cr_assert_str_eq(starts("America/St_Johns", BUCKET_DAY, "2006-10-29T02:30:30",
				 "2006-10-29T05:00:00"),
		"10-28T02:30 10-29T02:30");
}

Test(tz, weeks_start_on_sunday)
{
	check_start("", BUCKET_WEEK, "2024-01-06T23:00:00", "2023-12-31T00:00");
	check_start("UTC", BUCKET_WEEK, "2024-01-07T00:00:00", "2024-01-07T00:00");
	check_start("UTC", BUCKET_WEEK, "1969-12-27T12:00:00", "1969-12-21T00:00");
}

Test(tz, months)
{
	cr_assert_str_eq(starts("UTC", BUCKET_MONTH, "2023-12-15T00:00:00", "2024-04-01T00:00:00"),
		"12-01T00:00 01-01T00:00 02-01T00:00 03-01T00:00");
	check_start("UTC", BUCKET_MONTH, "1900-03-01T00:00:00", "1900-03-01T00:00");
	check_start("UTC", BUCKET_MONTH, "2000-02-29T12:00:00", "2000-02-01T00:00");
}

Test(tz, names_that_are_no_zones)
{
	static const char *const bad[] = {"../etc/passwd", "/etc/localtime", "No/Such", "America",
		"Europe/Berlin\n", "tzdata.zi", "A/../../x"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_null(tz_open(str_of(bad[i]), &a), "%s", bad[i]);
}

Test(tz, broken_files)
{
	char file[200] = "TZif2";

	cr_assert_null(tz_parse((struct str){file, 5}, &a));
	cr_assert_null(tz_parse((struct str){file, sizeof(file)}, &a));
	memset(file + 20, 0xff, 24);
	cr_assert_null(tz_parse((struct str){file, sizeof(file)}, &a));
}

/* Our offsets against the C library's, over zones and 70 years. */
Test(tz, agrees_with_the_c_library)
{
	static const char *const zones[] = {"Europe/Berlin", "Europe/Dublin", "America/New_York",
		"Asia/Kathmandu", "Africa/Casablanca", "Australia/Lord_Howe", "Pacific/Apia",
		"America/Nuuk", "Asia/Tehran", "Antarctica/Troll", "America/St_Johns"};

	for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
		struct tz *z = tz_open(str_of(zones[i]), &a);

		cr_assert(z, "%s", zones[i]);
		setenv("TZ", zones[i], 1);
		tzset();
		for (int64_t t = 0; t < 4000000000; t += 86400 * 5 + 3601) {
			time_t when = (time_t)t;
			struct tz_span span = tz_at(z, t);
			struct tm tm;

			localtime_r(&when, &tm);
			cr_assert_eq(
				span.offset, tm.tm_gmtoff, "%s at %lld", zones[i], (long long)t);
			cr_assert(span.begin <= t && t < span.end);
		}
	}
}
