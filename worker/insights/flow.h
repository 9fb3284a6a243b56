/*
 * User flow (D34, D77): where sessions go from step to step. A node is a label at a
 * depth; what is too light at a depth is that depth's one bucket.
 */
#ifndef INSIGHTS_FLOW_H
#define INSIGHTS_FLOW_H

#include "worker/insights/frame.h"

enum { FLOW_HOPS = 10 };

struct flow_node {
	struct str id, label;
	uint32_t depth;
	bool others;
};

struct flow_link {
	uint32_t source, target; /* numbers of nodes */
	uint64_t value;          /* sessions */
};

struct flow_answer {
	const struct flow_node *nodes;
	const struct flow_link *links;
	uint32_t n_nodes, n_links;
};

struct flow;

/* NULL at the arena's cap. */
struct flow *flow_new(const struct plan *plan);
/* Another one, of the same plan but for its arena: for a second thread. From now on each folds the
 * steps of half of the sessions, and both have to be given every frame. NULL at an arena's cap. */
struct flow *flow_twin(struct flow *of, const struct plan *plan);
/* Takes over what a twin has, before the end; its memory stays. False as flow_finish(). */
bool flow_join(struct flow *f, struct flow *other);
/* False at the arena's cap, or when flow_undecided(). */
bool flow_fold(struct flow *f, const struct frame *frame);
/* Nodes and links in the order of D34, in plan->a. False at the arena's cap. */
bool flow_finish(struct flow *f, struct flow_answer *out);
/* Why fold or finish failed: of events of one time only the ids tell an order that matters, and
 * they were not loaded (batch.h). */
bool flow_undecided(const struct flow *f);

#endif
