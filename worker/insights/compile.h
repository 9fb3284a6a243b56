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
int compile_list(
	struct plan *p, const Activity__V1__ListRequest *in, struct arena *a, const char **why);
int compile_segment_users(struct plan *p, const Insights__V1__SegmentUsersRequest *in,
	struct arena *a, const char **why);
/* Every event of everybody; `groups` become conditions on persons. */
int compile_persons(struct plan *p, Profiles__V1__FilterGroup *const *groups, size_t n, bool any,
	struct arena *a, const char **why);

#endif
