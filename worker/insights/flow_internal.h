/* What flow.c and flow_twin.c share. */
#ifndef INSIGHTS_FLOW_INTERNAL_H
#define INSIGHTS_FLOW_INTERNAL_H

#include "worker/insights/flow.h"
#include "worker/insights/hops.h"
#include "worker/insights/pairs.h"
#include "worker/insights/trail.h"
#include "worker/insights/uuids.h"

/* A label at a depth. */
struct node {
	uint32_t depth, label;
	uint64_t weight;
	uint32_t place; /* where it goes, once nodes are placed */
};

/* A node of the answer, or one that loses its links. */
struct place {
	uint32_t depth, label; /* PLAN_NONE: the bucket */
	bool used;
	uint32_t number; /* in the answer, if used */
};

/* Pairs of numbers, each with a sum. */
struct sums {
	struct pairs pairs;
	uint64_t *v;
	uint32_t cap;
};

/* Most steps are from the first nodes by the first labels that there were: these have a place
 * each, 1 MB in all. */
enum { NEAR_NODES = 1024, NEAR_LABELS = 128 };

struct near {
	uint32_t next;     /* as `at` below; 0: nobody went there yet */
	uint32_t sessions; /* who did; steps that lead nowhere are counted, too */
};

struct flow {
	const struct plan *plan;
	struct uuids sessions;
	struct intern labels;
	struct trails trails;  /* by session; values are labels */
	struct chunks at;      /* uint32_t node + 1 by session; 0: before the first step */
	struct chunks node_of; /* uint32_t node + 1 for each depth, by label */
	struct node *nodes;
	uint32_t n_nodes, cap_nodes;
	struct hops hops;
	/* one of two: those that both know from before are the first one's; or NULL */
	const struct uuids *kept;
	bool second;
	struct near *near; /* [at][label]; hops at the end */
	/* at the end */
	struct sums links; /* between places */
	struct place *places;
	uint32_t n_places;
};

/* The number of a label at a depth. PLAN_NONE at the arena's cap. */
uint32_t flow_number(struct flow *f, uint32_t depth, uint32_t label);
/* Makes hops of all that was counted by place. False at the arena's cap. */
bool flow_count_near(struct flow *f);

#endif
