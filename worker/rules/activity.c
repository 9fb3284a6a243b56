/* Rules of activity lists and of what pickers ask. One empty event filter means every
 * event, but among several it would make the others pointless, so it is taken for a
 * mistake. */
#include <stdio.h>

#include "proto/activity/v1/activity.pb-c.h"
#include "proto/insights/v1/insights.pb-c.h"
#include "proto/validate.h"
#include "rules.h"

static bool is_empty(const Common__V1__EventFilter *filter)
{
	return filter->n_filters == 0 && (!filter->kind || !*filter->kind);
}

static void check_events(struct pb_check *check, Common__V1__EventFilter *const *events, size_t n)
{
	char place[64];

	if (n < 2)
		return;
	for (size_t i = 0; i < n; i++) {
		if (!is_empty(events[i]))
			continue;
		snprintf(place, sizeof(place), "events[%zu]", i);
		pb_violation(check, place, "each of several events must have a kind or a filter");
	}
}

void rule_activity_list(struct pb_check *check, const ProtobufCMessage *message)
{
	const Activity__V1__ListRequest *request = (const Activity__V1__ListRequest *)message;

	check_events(check, request->events, request->n_events);
}

void rule_activity_feed(struct pb_check *check, const ProtobufCMessage *message)
{
	const Activity__V1__GetActivityFeedRequest *request =
		(const Activity__V1__GetActivityFeedRequest *)message;

	check_events(check, request->events, request->n_events);
}

void rule_event_explorer(struct pb_check *check, const ProtobufCMessage *message)
{
	const Activity__V1__GetEventExplorerRequest *request =
		(const Activity__V1__GetEventExplorerRequest *)message;

	check_events(check, request->events, request->n_events);
}

/* Where a key lives shows in its first character. Traits may begin with either
 * (events-profiles.md 4.2). */
static void check_source(struct pb_check *check, const char *key, Common__V1__PropertySource source)
{
	bool automatic = key && *key == '$';

	if (source == COMMON__V1__PROPERTY_SOURCE__PROPERTY_SOURCE_AUTO && key && !automatic)
		pb_violation(check, "property_key",
			"property_key must start with $ for PROPERTY_SOURCE_AUTO");
	if (source == COMMON__V1__PROPERTY_SOURCE__PROPERTY_SOURCE_CUSTOM && automatic)
		pb_violation(check, "property_key",
			"property_key must not start with $ for PROPERTY_SOURCE_CUSTOM");
}

void rule_activity_property_values(struct pb_check *check, const ProtobufCMessage *message)
{
	const Activity__V1__GetPropertyValuesRequest *request =
		(const Activity__V1__GetPropertyValuesRequest *)message;

	check_source(check, request->property_key, request->source);
}

void rule_property_values(struct pb_check *check, const ProtobufCMessage *message)
{
	const Insights__V1__GetPropertyValuesRequest *request =
		(const Insights__V1__GetPropertyValuesRequest *)message;

	check_source(check, request->property_key, request->source);
}
