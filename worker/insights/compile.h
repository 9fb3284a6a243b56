/*
 * From request messages to plans. Shapes were validated before; what only shows
 * here is a late rejection (insights-dashboards.md 2.6).
 */
#ifndef INSIGHTS_COMPILE_H
#define INSIGHTS_COMPILE_H

#include "proto/activity/v1/activity.pb-c.h"
#include "proto/insights/v1/insights.pb-c.h"
#include "proto/profiles/v1/profiles.pb-c.h"
#include "worker/insights/plan.h"

/* 0, or -1 with *why (NULL: the arena is full). The plan refers to the message. */
int compile_query(struct plan *p, const Insights__V1__QueryRequest *in, struct str zone,
	struct arena *a, const char **why);
/* What lists of events ask for, whichever message it came in. */
struct feed_query {
	const struct str *ids; /* only events with these distinct_ids; NULL: with any */
	size_t n_ids;
	struct str kind, session;           /* empty: every */
	const Common__V1__TimeRange *range; /* or NULL */
	Common__V1__PropertyFilter **filters;
	size_t n_filters;
	Common__V1__EventFilter **events;
	size_t n_events;
};

int compile_feed(struct plan *p, const struct feed_query *q, struct arena *a, const char **why);
int compile_segment_users(struct plan *p, const Insights__V1__SegmentUsersRequest *in,
	struct arena *a, const char **why);
/* Every event of everybody; `groups` become conditions on persons. */
int compile_persons(struct plan *p, Profiles__V1__FilterGroup *const *groups, size_t n, bool any,
	struct arena *a, const char **why);

/* compile_activity.c: all events, of which a kernel asks for the columns itself. */
void compile_schema(struct plan *p, struct arena *a);
/* Which values a property takes; from_ms and kind (empty: any) matter for properties of
 * events. False when the arena is full. */
bool compile_values(struct plan *p, struct str key, bool trait, struct str kind, int64_t from_ms,
	struct arena *a);

/* Events per day of [from_ms, to_ms), which must not be empty, and with keys these properties
 * of all events, whenever they were. False when the arena is full. */
bool compile_days(struct plan *p, const struct tz *zone, int64_t from_ms, int64_t to_ms,
	const char *const *keys, size_t n_keys, struct arena *a);

#endif
