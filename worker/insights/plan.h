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
#include "worker/store/intern.h"

enum plan_kind {
	PLAN_TRENDS,
	PLAN_SEGMENTATION,
	PLAN_FUNNEL,
	PLAN_RETENTION,
	PLAN_FLOW,
	PLAN_LIST,
	PLAN_PERSONS,
	PLAN_SCHEMA,
	PLAN_VALUES,
	PLAN_DAYS,
	PLAN_TOP_K, /* maps, too */
	PLAN_SESSIONS,
	PLAN_SEGMENT_USERS
};

/* Numbers of insights.v1.AggregationType. */
enum plan_agg {
	AGG_TOTAL = 1,
	AGG_UNIQUE_USERS,
	AGG_PER_USER_AVG,
	AGG_SUM,
	AGG_AVG,
	AGG_MIN,
	AGG_MAX,
	AGG_MEAN_SECONDS /* of numbers in ms; of sessions only */
};

/* What PLAN_TOP_K ranks. */
enum plan_dimension { DIMENSION_PROPERTY, DIMENSION_KIND, DIMENSION_USER, DIMENSION_COUNTRY };

/* What PLAN_SESSIONS computes of each; then events[0].agg is taken over all. */
enum plan_session { SESSION_ITSELF, SESSION_DURATION, SESSION_BOUNCE, SESSION_EVENTS };

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
	const struct tz *zone;
	struct buckets buckets;
	struct batch_need need;
	struct prop_ref *props; /* = need.props, while compiling */
	uint32_t cap_props;
	struct str *paths; /* trait paths of profile filters */
	uint32_t n_paths, cap_paths;
	struct intern prop_keys, path_keys; /* their numbers, while compiling */
	bool people;                        /* distinct_ids must be resolved to persons */
	const struct plan_event *events;
	uint32_t n_events;
	const struct plan_group *groups;
	uint32_t n_groups;
	bool any_group; /* groups combine with OR */
	struct str names[PLAN_BREAKDOWNS_MAX];
	uint32_t breakdowns[PLAN_BREAKDOWNS_MAX]; /* properties */
	uint32_t n_breakdowns, limit;
	/* PLAN_FUNNEL */
	int64_t conversion_ms; /* from the first step to the last, at most */
	bool timing;
	/* PLAN_FLOW; events[0] is the scope */
	uint32_t node; /* property that names steps; PLAN_NONE: their kind does */
	uint32_t max_hops, max_nodes, max_links;
	/* Of all the events only these. */
	const struct intern *ids; /* with one of these distinct_ids; NULL: with any */
	struct str session;       /* 16 bytes, or p == NULL */
	struct str only_kind;     /* p == NULL: every kind */
	/* PLAN_TOP_K: of the events that match events[0], ranked by its aggregation */
	enum plan_dimension dimension;
	uint32_t ranked; /* property of DIMENSION_PROPERTY and _COUNTRY */
	uint32_t n_rows; /* kept */
	bool omit_others;
	/* PLAN_SESSIONS: events of all time that match events[0] make sessions, of which those
	 * count that start in a window; buckets are those of the window */
	enum plan_session session_number;
	bool exits; /* breakdowns are of a session's last event, else of its first */
	int64_t starts_from_ms, starts_to_ms;
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
/* Leaves only the events with one of these distinct_ids. False at the arena's cap. */
bool plan_only_ids(struct plan *p, const struct str *ids, size_t n);

/* Sets kinds from the plan's events, if each names one. Only for kernels to which what
 * matches none of these events is nothing. False at the arena's cap. */
bool plan_only_events(struct plan *p);

#endif
