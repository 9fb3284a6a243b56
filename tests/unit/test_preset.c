/* Windows of presets (insights-dashboards.md 4.1, D39) at a fixed clock, around changes of
 * clocks. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>
#include "worker/insights/preset.h"

#define PRESET(name) COMMON__V1__TIME_RANGE_PRESET__TIME_RANGE_PRESET_##name

static struct arena a;

static void setup(void)
{
	arena_init(&a, 16 << 20);
}

static void teardown(void)
{
	arena_free(&a);
}

TestSuite(preset, .init = setup, .fini = teardown);

static int64_t at(const char *text)
{
	struct tm tm = {0};

	cr_assert(strptime(text, "%Y-%m-%dT%H:%M:%S", &tm), "%s", text);
	return (int64_t)timegm(&tm) * 1000;
}

static const char *from(Common__V1__TimeRangePreset preset, const char *zone, const char *now)
{
	static char text[40];
	struct tz *z = tz_open(str_of(zone), &a);
	int64_t ms;
	time_t s;
	struct tm tm;

	cr_assert(z, "%s", zone);
	ms = preset_from(preset, at(now), z);
	cr_assert_eq(ms % 1000, 0);
	s = (time_t)(ms / 1000);
	gmtime_r(&s, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M", &tm);
	return text;
}

/* The worked examples of 7.4, and all presets. */
Test(preset, windows)
{
	static const struct {
		Common__V1__TimeRangePreset preset;
		const char *zone, *want;
	} all[] = {
		{PRESET(LAST_7_DAYS), "Asia/Kolkata", "2026-06-03T18:30"},
		{PRESET(LAST_7_DAYS), "UTC", "2026-06-04T00:00"},
		{PRESET(LAST_1_HOUR), "Asia/Kolkata", "2026-06-10T11:00"},
		{PRESET(LAST_6_HOURS), "", "2026-06-10T06:00"},
		{PRESET(LAST_24_HOURS), "America/New_York", "2026-06-09T12:00"},
		{PRESET(LAST_14_DAYS), "UTC", "2026-05-28T00:00"},
		{PRESET(LAST_30_DAYS), "UTC", "2026-05-12T00:00"},
		{PRESET(LAST_90_DAYS), "UTC", "2026-03-13T00:00"},
		{PRESET(LAST_180_DAYS), "UTC", "2025-12-13T00:00"},
		{PRESET(LAST_365_DAYS), "UTC", "2025-06-11T00:00"},
		{PRESET(UNSPECIFIED), "UTC", "2026-05-12T00:00"},
		{(Common__V1__TimeRangePreset)99, "UTC", "2026-05-12T00:00"},
		/* it is the 11th there already */
		{PRESET(LAST_7_DAYS), "Pacific/Kiritimati", "2026-06-04T10:00"},
		/* summer time there, and winter time when the window began */
		{PRESET(LAST_180_DAYS), "America/New_York", "2025-12-13T05:00"},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		cr_expect_str_eq(from(all[i].preset, all[i].zone, "2026-06-10T12:00:00"),
			all[i].want, "%zu", i);
}

/* Milliseconds count for hours and only there. */
Test(preset, milliseconds)
{
	struct tz *z = tz_open(STR("UTC"), &a);
	int64_t now = at("2026-06-10T00:00:00") + 7;

	cr_expect_eq(preset_from(PRESET(LAST_1_HOUR), now, z), now - 3600000);
	cr_expect_eq(preset_from(PRESET(LAST_7_DAYS), now, z), at("2026-06-04T00:00:00"));
	cr_expect_eq(preset_from(PRESET(LAST_7_DAYS), at("2026-06-10T00:00:00"), z),
		at("2026-06-04T00:00:00"));
	cr_expect_eq(preset_from(PRESET(LAST_7_DAYS), at("2026-06-10T00:00:00") - 1, z),
		at("2026-06-03T00:00:00"));
}

/* A day of 25 hours makes the window longer than n times 24 hours, by the slack at most. */
Test(preset, clocks_set_back)
{
	const char *now = "2026-11-14T04:59:59"; /* a second before midnight in New York */
	struct tz *z = tz_open(STR("America/New_York"), &a);
	int64_t length = at(now) - preset_from(PRESET(LAST_14_DAYS), at(now), z);

	cr_expect_str_eq(from(PRESET(LAST_14_DAYS), "America/New_York", now), "2026-10-31T04:00");
	cr_expect_gt(length, INT64_C(336) * 3600000);
	cr_expect_leq(length, INT64_C(336) * 3600000 + PRESET_SLACK_MS);
}

/* Days of 23 hours, days without a midnight (Beirut), days that were skipped (Apia). */
Test(preset, clocks_set_forward)
{
	cr_expect_str_eq(from(PRESET(LAST_7_DAYS), "Europe/Berlin", "2026-03-31T10:00:00"),
		"2026-03-24T23:00");
	cr_expect_str_eq(from(PRESET(LAST_7_DAYS), "Asia/Beirut", "2026-04-04T10:00:00"),
		"2026-03-28T22:00");
	cr_expect_str_eq(from(PRESET(LAST_7_DAYS), "Pacific/Apia", "2012-01-05T00:00:00"),
		"2011-12-30T10:00");
}

/* An hour that comes twice is two hours ago and not one. */
Test(preset, hours_are_hours)
{
	cr_expect_str_eq(from(PRESET(LAST_1_HOUR), "America/New_York", "2026-11-01T06:30:00"),
		"2026-11-01T05:30");
}
