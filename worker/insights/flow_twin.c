/* Two kernels of one flow, each with half of the sessions; see flow.h. */
#include "worker/insights/flow_internal.h"
#include "worker/insights/watch.h"

/* Sessions that `of` has met already stay its own, because their steps are in its trails. Nobody
 * changes the table of these any more: both threads read it. `of` is told last, when nothing can
 * fail: without a twin it goes on with all sessions. */
struct flow *flow_twin(struct flow *of, const struct plan *plan)
{
	struct flow *f = flow_new(plan);
	struct uuids *kept = arena_alloc(plan->a, sizeof(*kept));

	if (!f || !kept || !uuids_copy(kept, &of->sessions, plan->a))
		return NULL;
	memcpy(f->sessions.key, of->sessions.key, sizeof(f->sessions.key));
	f->kept = of->kept = kept;
	f->second = true;
	return f;
}

/* Numbers of its nodes here, by number there. Labels go by their text: each kernel has numbered
 * them as they appeared to it. NULL at the arena's cap. */
static uint32_t *map_nodes(struct flow *f, const struct flow *other)
{
	uint32_t *labels = arena_alloc(f->plan->a, ((size_t)other->labels.n + 1) * sizeof(*labels));
	uint32_t *nodes = arena_alloc(f->plan->a, ((size_t)other->n_nodes + 1) * sizeof(*nodes));

	if (!labels || !nodes)
		return NULL;
	for (uint32_t i = 0; i < other->labels.n; i++) {
		labels[i] = intern_add(&f->labels, other->labels.strings[i]);
		if (labels[i] == INTERN_FULL)
			return NULL;
	}
	for (uint32_t i = 0; i < other->n_nodes; i++) {
		const struct node *node = &other->nodes[i];

		nodes[i] = flow_number(f, node->depth, labels[node->label]);
		if (nodes[i] == PLAN_NONE)
			return NULL;
	}
	return nodes;
}

/* All of the other's steps are counted before its nodes are mapped: its last days may make more
 * of these. */
bool flow_join(struct flow *f, struct flow *other)
{
	const struct hop *hop;
	uint32_t *nodes;

	if (!trails_settle(&other->trails, INT64_MAX)) {
		f->trails.undecided |= other->trails.undecided;
		return false;
	}
	if (!hops_count(&other->hops) || !flow_count_near(other))
		return false;
	nodes = map_nodes(f, other);
	for (uint32_t at = 0; nodes && (hop = hops_next(&other->hops, &at));) {
		if (watch_due(at) ||
			!hops_add(&f->hops, nodes[hop->from], nodes[hop->to], hop->sessions))
			return false;
	}
	return nodes != NULL;
}
