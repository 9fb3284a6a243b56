/*
 * What the compilers of the kinds of insights share. Each returns 0, or -1 with
 * *why (NULL: the arena is full).
 */
#ifndef INSIGHTS_COMPILE_INTERNAL_H
#define INSIGHTS_COMPILE_INTERNAL_H

#include "worker/insights/compile.h"

/* A message's string; empty when it is absent. */
struct str compile_text(const char *z);
int compile_group(struct plan *p, struct plan_group *g, Common__V1__PropertyFilter **in, size_t n,
	bool any, const char **why);
/* The half-open window, cut to the millisecond. */
int compile_window(struct plan *p, const Common__V1__TimeRange *range, const char **why);
/* A late rejection (2.6) in the words of rules that were broken (proto/validate.h):
 * "field: text"; NULL when the arena is full. `list` is the request's own path to a list. */
const char *compile_wrong(
	struct plan *p, const char *list, size_t i, const char *field, const char *text);
/* Whether a list of events that are joined with OR cannot be asked for (2.6); then *why says
 * which one, as compile_wrong() does. `list`: its path in the request. */
bool compile_refused(struct plan *p, const char *list, Insights__V1__EventQuery *const *events,
	size_t n, const char **why);
/* The query's filter groups into p->groups. */
int compile_groups(
	struct plan *p, Insights__V1__FilterGroup **in, size_t n, bool any, const char **why);
/* `in` NULL: any event. Aggregation: total. */
int compile_event(
	struct plan *p, struct plan_event *ev, const Common__V1__EventFilter *in, const char **why);
/* Sets what is computed from an event; `property` is of SUM, AVG, MIN, MAX. -1: the arena is full.
 */
int compile_aggregation(struct plan *p, struct plan_event *ev, Insights__V1__AggregationType type,
	const char *property, bool cookieless);
int compile_breakdowns(
	struct plan *p, const Insights__V1__InsightQuerySpec *spec, const char **why);

/* The kinds in compile_points.c. */
int compile_top_k(struct plan *p, const Insights__V1__QueryRequest *in, const char **why);
int compile_map(struct plan *p, const Insights__V1__QueryRequest *in, const char **why);
int compile_sessions(struct plan *p, const Insights__V1__QueryRequest *in, const char **why);
/* compile_paths.c: what follows persons and sessions through their events. */
int compile_funnel(struct plan *p, const Insights__V1__QueryRequest *in, const char **why);
int compile_retention(struct plan *p, const Insights__V1__QueryRequest *in, const char **why);
int compile_flow(struct plan *p, const Insights__V1__QueryRequest *in, const char **why);

#endif
