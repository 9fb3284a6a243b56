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
/* The query's filter groups into p->groups. */
int compile_groups(
	struct plan *p, Insights__V1__FilterGroup **in, size_t n, bool any, const char **why);
/* `in` NULL: any event. Aggregation: total. */
int compile_event(
	struct plan *p, struct plan_event *ev, const Common__V1__EventFilter *in, const char **why);
int compile_breakdowns(
	struct plan *p, const Insights__V1__InsightQuerySpec *spec, const char **why);

/* compile_paths.c: what follows persons and sessions through their events. */
int compile_funnel(struct plan *p, const Insights__V1__QueryRequest *in, const char **why);
int compile_retention(struct plan *p, const Insights__V1__QueryRequest *in, const char **why);
int compile_flow(struct plan *p, const Insights__V1__QueryRequest *in, const char **why);

#endif
