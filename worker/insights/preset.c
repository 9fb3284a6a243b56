/* Windows of time presets: see preset.h. */
#include "worker/insights/preset.h"

#define PRESET(name) COMMON__V1__TIME_RANGE_PRESET__TIME_RANGE_PRESET_LAST_##name

enum { DAY_S = 86400, HOUR_MS = 3600000 };

/* By their numbers on the wire; 0 is none of them. */
static const struct {
	int hours, days; /* one of them */
} presets[] = {
	[PRESET(1_HOUR)] = {1, 0},
	[PRESET(6_HOURS)] = {6, 0},
	[PRESET(24_HOURS)] = {24, 0},
	[PRESET(7_DAYS)] = {0, 7},
	[PRESET(14_DAYS)] = {0, 14},
	[PRESET(30_DAYS)] = {0, 30},
	[PRESET(90_DAYS)] = {0, 90},
	[PRESET(180_DAYS)] = {0, 180},
	[PRESET(365_DAYS)] = {0, 365},
};

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

int64_t preset_from(Common__V1__TimeRangePreset preset, int64_t now_ms, const struct tz *z)
{
	unsigned i = (unsigned)preset;
	int64_t now = floor_div(now_ms, 1000), today;

	if (i == 0 || i >= sizeof(presets) / sizeof(presets[0]))
		i = PRESET(30_DAYS);
	if (presets[i].hours > 0)
		return now_ms - (int64_t)presets[i].hours * HOUR_MS;
	/* dates are counted back, not hours: a day may have 23 or 25 */
	today = floor_div(now + tz_at(z, now).offset, DAY_S);
	return tz_day_start(z, today - (presets[i].days - 1)) * 1000;
}
