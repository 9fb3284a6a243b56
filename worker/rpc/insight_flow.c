/* User flow: runs the kernel, writes the answer down. */
#include "worker/insights/flow.h"
#include "worker/rpc/insight.h"

struct answer {
	struct flow *kernel;
	struct flow_answer flow;
};

static bool fold(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	struct answer *a = s->kernel;
	bool folded = flow_fold(a->kernel, f);

	(void)seg;
	s->undecided = !folded && flow_undecided(a->kernel);
	return folded;
}

/* On the scan thread, before the second one begins. `s` is the second kernel's scan, so all of
 * this is in its memory, which goes over to the first one's with the join (scan.c). */
static void *twin(struct scan *s, void *kernel)
{
	struct answer *a = arena_zalloc(s->plan->a, sizeof(*a));

	if (a)
		a->kernel = flow_twin(((struct answer *)kernel)->kernel, s->plan);
	return a && a->kernel ? a : NULL;
}

/* When both threads are done. What either was in doubt about while folding is noted by then:
 * hence |=. */
static bool join(struct scan *s, void *other)
{
	struct answer *a = s->kernel;
	bool joined = flow_join(a->kernel, ((struct answer *)other)->kernel);

	s->undecided |= !joined && flow_undecided(a->kernel);
	return joined;
}

static bool finish(struct scan *s)
{
	struct answer *a = s->kernel;
	bool finished = flow_finish(a->kernel, &a->flow);

	s->undecided = !finished && flow_undecided(a->kernel);
	return finished;
}

/* is_others is absent on real nodes, not false (insights-dashboards.md 5). */
static int put_nodes(
	struct call *c, Insights__V1__UserFlowResult *out, const struct flow_answer *flow)
{
	Insights__V1__UserFlowNode *all = call_alloc(c, (flow->n_nodes + 1) * sizeof(*all));

	out->nodes = call_alloc(c, (flow->n_nodes + 1) * sizeof(all));
	if (!all || !out->nodes)
		return -1;
	for (uint32_t i = 0; i < flow->n_nodes; i++) {
		const struct flow_node *node = &flow->nodes[i];

		insights__v1__user_flow_node__init(&all[i]);
		all[i].id = call_str(c, node->id);
		all[i].label = call_str(c, node->label);
		if (!all[i].id || !all[i].label)
			return -1;
		all[i].has_depth = true;
		all[i].depth = (int32_t)node->depth;
		all[i].has_is_others = all[i].is_others = node->others;
		out->nodes[i] = &all[i];
	}
	out->n_nodes = flow->n_nodes;
	return 0;
}

/* After the nodes, whose ids they share. */
static int put_links(
	struct call *c, Insights__V1__UserFlowResult *out, const struct flow_answer *flow)
{
	Insights__V1__UserFlowLink *all = call_alloc(c, (flow->n_links + 1) * sizeof(*all));

	out->links = call_alloc(c, (flow->n_links + 1) * sizeof(all));
	if (!all || !out->links)
		return -1;
	for (uint32_t i = 0; i < flow->n_links; i++) {
		insights__v1__user_flow_link__init(&all[i]);
		all[i].source = out->nodes[flow->links[i].source]->id;
		all[i].target = out->nodes[flow->links[i].target]->id;
		all[i].has_value = true;
		all[i].value = (int64_t)flow->links[i].value;
		out->links[i] = &all[i];
	}
	out->n_links = flow->n_links;
	return 0;
}

int insight_flow(struct call *c, struct scan *s, Insights__V1__QueryResponse *out)
{
	struct answer answer = {.kernel = flow_new(s->plan)};
	Insights__V1__UserFlowResult *result;

	s->twin = twin;
	/* halves are of sessions, not of days: each kernel walks all that a session did */
	s->twin_all = true;
	s->join = join;
	if (insight_run(c, s, &answer, answer.kernel != NULL, fold, finish) < 0)
		return -1;
	result = call_alloc(c, sizeof(*result));
	if (!result)
		return -1;
	insights__v1__user_flow_result__init(result);
	if (put_nodes(c, result, &answer.flow) < 0 || put_links(c, result, &answer.flow) < 0)
		return -1;
	out->result_case = INSIGHTS__V1__QUERY_RESPONSE__RESULT_USER_FLOW;
	out->user_flow = result;
	return 0;
}
