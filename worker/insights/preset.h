/* Windows of time presets (insights-dashboards.md 4.1). */
#ifndef INSIGHTS_PRESET_H
#define INSIGHTS_PRESET_H

#include "proto/common/v1/common.pb-c.h"
#include "worker/insights/tz.h"

/* A day on which clocks are set back has an hour more than the caps of windows allow for:
 * so much longer may a window be that a preset has chosen (D39). */
#define PRESET_SLACK_MS INT64_C(3600000)

/* First instant (ms) of the preset's window, whose end is now_ms. Hours are counted back
 * from now; n days begin at midnight of the zone n - 1 days ago, so that they are n
 * buckets, the last one partial. Unknown presets are the last 30 days. */
int64_t preset_from(Common__V1__TimeRangePreset preset, int64_t now_ms, const struct tz *z);

#endif
