/*
 * An insight, compiled once from its spec: which window, columns, persons,
 * buckets, conditions and folds. One type for every insight; kernels read it,
 * nobody changes it while it runs. Lives in the query's arena.
 */
#ifndef INSIGHTS_PLAN_H
#define INSIGHTS_PLAN_H

#include "worker/insights/bucket.h"
#include "worker/insights/filter.h"
#include "worker/store/batch.h"

enum plan_kind { PLAN_TRENDS, PLAN_SEGMENTATION, PLAN_LIST, PLAN_PERSONS };

/* Numbers of insights.v1.AggregationType. */
enum plan_agg {
	AGG_TOTAL = 1,
	AGG_UNIQUE_USERS,
	AGG_PER_USER_AVG,
	AGG_SUM,
	AGG_AVG,
	AGG_MIN,
	AGG_MAX
};

enum { PLAN_BREAKDOWNS_MAX = 5 };
#define PLAN_NONE UINT32_MAX

/* Filters under one operator. */
struct plan_group {
	bool any; /* OR; else AND */
	const struct filter *filters;
	uint32_t n;
};

struct plan_event {
	struct str kind; /* empty: every kind */
	struct plan_group filters;
	enum plan_agg agg;
	uint32_t number; /* property of SUM, AVG, MIN, MAX; else PLAN_NONE */
	bool consented;  /* counts people, so cookieless events do not match (D72) */
};

struct plan {
	enum plan_kind kind;
	struct arena *a;
	int64_t from_ms, to_ms;
	struct buckets buckets;
	struct batch_need need;
	struct prop_ref *props; /* = need.props, while compiling */
	uint32_t cap_props;
	struct str *paths; /* trait paths of profile filters */
	uint32_t n_paths, cap_paths;
	bool people; /* distinct_ids must be resolved to persons */
	const struct plan_event *events;
	uint32_t n_events;
	const struct plan_group *groups;
	uint32_t n_groups;
	bool any_group; /* groups combine with OR */
	struct str names[PLAN_BREAKDOWNS_MAX];
	uint32_t breakdowns[PLAN_BREAKDOWNS_MAX]; /* properties */
	uint32_t n_breakdowns, limit;
	/* PLAN_LIST */
	struct str person;    /* only this person's, by any id; p == NULL: everybody's */
	struct str session;   /* 16 bytes, or p == NULL */
	struct str only_kind; /* p == NULL: every kind */
	/* PLAN_PERSONS: conditions on persons, not on events. A filter's source is a
	 * property of the latest event, or a trait path. */
	const struct plan_group *person_groups;
	uint32_t n_person_groups;
	bool any_person_group;
	bool dates; /* when profiles were made is wanted */
	/* Sealed events may be read in part. A kernel that says nothing gets everything. */
	bool lean;               /* it looks at frames only, never at the segment behind one */
	const struct str *kinds; /* no event of another kind matters; NULL: all do */
	uint32_t n_kinds;
};

/* Number of an event property in need.props, added when new; PLAN_NONE at the
 * arena's cap. */
uint32_t plan_property(struct plan *p, struct str key);
/* Number of a trait path, added when new. */
uint32_t plan_path(struct plan *p, struct str path);

/* Sets kinds from the plan's events, if each names one. Only for kernels to which what
 * matches none of these events is nothing. False at the arena's cap. */
bool plan_only_events(struct plan *p);

#endif
