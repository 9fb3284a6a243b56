/* What sessions.c (folding) and sessions_count.c (counting, the answer) share. */
#ifndef INSIGHTS_SESSIONS_INTERNAL_H
#define INSIGHTS_SESSIONS_INTERNAL_H

#include <stdatomic.h>

#include "worker/insights/codes.h"
#include "worker/insights/edge.h"
#include "worker/insights/sessions.h"
#include "worker/insights/records.h"
#include "worker/insights/trends_internal.h"
#include "worker/insights/visits.h"

/* A session, or a part of one that other parts may follow. No metric asks for both its last event
 * and their number. */
struct session {
	int64_t first_ms; /* INT64_MAX: no event yet */
	union {
		int64_t last_ms;
		uint64_t n;
	};
};

/* With breakdowns. */
struct session_edge {
	struct session session;
	struct edge edge; /* its first or last event; texts and tuples are those of the trend */
};

/* What was counted of the bucket at hand, by tuple. */
struct session_bin {
	int64_t n;
	double sum;    /* of whole numbers, and small enough to be one */
	uint32_t line; /* + 1; 0: not asked for yet */
	uint32_t next; /* tuple + 1 of another bin that something is in, UINT32_MAX: of none; 0:
			  there is nothing in this one */
};

#define SESSIONS_NO_BASE INT64_MIN

struct sessions {
	const struct plan *plan;
	struct trends *trends; /* where texts and tuples live */
	bool counts;           /* the events of each are counted */
	bool lasts;            /* the last one is asked for */
	/* the sessions met lately */
	struct visits visits;
	int64_t settled_ms; /* of the frame before */
	/* what was put away, and counted: records are merged from so many on */
	struct records records;
	struct chunks wide; /* struct session: times that do not fit into a record */
	uint32_t n_wide;
	int64_t base_ms;
	/* base_ms of both of two, which whoever needs it first chooses */
	_Atomic int64_t *agreed, agreed_ms;
	uint64_t merge_at;
	bool unsure;     /* one may be: its edge is EDGE_UNSURE */
	bool taken_back; /* what was counted once is not any more: lines may be empty */
	/* counting */
	uint32_t kind, none; /* none: the tuple of all where there are no breakdowns */
	struct session_bin *bins;
	uint32_t n_bins, listed; /* listed: tuple + 1 of the first bin that something is in */
	uint32_t bucket;
	struct buckets_near near;
	struct tally total; /* where there are no buckets */
	bool undecided;     /* only ids tell which event of a session is the edge */
	/* of the frame at hand */
	struct codes columns[PLAN_BREAKDOWNS_MAX];
	uint32_t source;  /* its number */
	uint32_t *tuples; /* of one breakdown: by code, INTERN_FULL: not known yet */
};

static inline struct edge *session_edge(struct session *one)
{
	return &((struct session_edge *)one)->edge;
}

/* Counts what visits holds, and puts it away. False at the arena's cap, or when nobody waits. */
bool sessions_put_away(struct sessions *s);

#endif
