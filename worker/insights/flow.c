/*
 * See flow.h. Sessions are walked in order, a day at a time: of each only its last step is
 * kept. At the end light nodes become buckets, and links are merged.
 */
#include "worker/insights/codes.h"
#include "worker/insights/flow_internal.h"
#include "worker/insights/hits.h"
#include "worker/insights/watch.h"

static bool visit(void *kernel, int64_t day_ms, const struct trail_event *v, uint32_t n);

struct flow *flow_new(const struct plan *plan)
{
	struct flow *f = arena_zalloc(plan->a, sizeof(*f));

	if (!f || !trails_init(&f->trails, plan->a, plan->from_ms, plan->to_ms))
		return NULL;
	f->plan = plan;
	f->trails.visit = visit;
	f->trails.kernel = f;
	uuids_init(&f->sessions, plan->a);
	intern_init(&f->labels, plan->a);
	chunks_init(&f->at, plan->a, sizeof(uint32_t));
	chunks_init(&f->node_of, plan->a, (plan->max_hops + 1) * sizeof(uint32_t));
	f->links.pairs.a = plan->a;
	hops_init(&f->hops, plan->a);
	f->near = arena_array(plan->a, NEAR_NODES * NEAR_LABELS, sizeof(*f->near));
	return f->near ? f : NULL;
}

/* ---- events into sessions ---- */

/* The steps of one frame. */
struct steps {
	struct picked p;
	const uint32_t *sessions; /* codes, by place in what was picked */
	uint32_t *labels;         /* as well; NULL: all are rows.value */
	struct trail_rows rows;
};

/* Numbers of the labels of what was picked, which is not nothing. False at an arena's cap. */
static bool find_labels(struct flow *f, const struct frame *frame, struct steps *s)
{
	const struct plan *plan = f->plan;
	const struct batch *b = frame->batch;
	bool by_kind = plan->node == PLAN_NONE;
	struct codes codes;

	if (!codes_init(&codes, &f->labels, by_kind ? &b->kind : &b->props[plan->node],
		    by_kind ? KEY_PLAIN : plan->need.props[plan->node].class, frame->a))
		return false;
	if (by_kind && b->one_kind) {
		s->rows.value = codes_at(&codes, hits_row(&s->p, 0));
		return s->rows.value != INTERN_FULL;
	}
	s->labels = arena_alloc(frame->a, (size_t)s->p.n * sizeof(*s->labels));
	for (uint32_t k = 0; s->labels && k < s->p.n; k++) {
		s->labels[k] = codes_at(&codes, hits_row(&s->p, k));
		if (s->labels[k] == INTERN_FULL)
			return false;
	}
	s->rows.values = s->labels;
	return s->labels != NULL;
}

/* Blank labels are no steps, whatever comes before and after (D34). */
static bool is_step(const struct flow *f, const struct steps *s, uint32_t k)
{
	uint32_t label = s->labels ? s->labels[k] : s->rows.value;

	return s->sessions[k] != 0 && f->labels.strings[label].n > 0;
}

/* Mostly there is one label, and everything has a session. */
static bool are_steps(const struct flow *f, const struct steps *s)
{
	const uint32_t *sessions = s->sessions, n = s->p.n;
	uint32_t without = 0;

	for (uint32_t k = 0; k < n; k++)
		without |= sessions[k] == 0;
	if (!s->labels)
		return !without && f->labels.strings[s->rows.value].n > 0;
	for (uint32_t k = 0; k < n; k++)
		without |= f->labels.strings[s->labels[k]].n == 0;
	return !without;
}

/* Leaves only steps. Labels are moved in place; sessions are not, which may be the batch's own
 * column. False when the frame's arena is full. */
static bool keep_steps(const struct flow *f, const struct frame *frame, struct steps *s)
{
	uint32_t n = s->p.n, *rows, *sessions;

	s->rows.rows = s->p.rows;
	s->rows.n = n;
	if (are_steps(f, s))
		return true;
	rows = arena_alloc(frame->a, (size_t)n * sizeof(*rows));
	sessions = arena_alloc(frame->a, (size_t)n * sizeof(*sessions));
	if (!rows || !sessions)
		return false;
	s->rows.n = 0;
	for (uint32_t k = 0; k < n; k++) {
		uint32_t at = s->rows.n;

		rows[at] = hits_row(&s->p, k);
		sessions[at] = s->sessions[k];
		s->rows.n += is_step(f, s, k);
		if (s->labels)
			s->labels[at] = s->labels[k];
	}
	s->rows.rows = rows;
	s->sessions = sessions;
	return true;
}

/* By place: rows, owners and, if there are any, labels of the steps of sessions that are wanted;
 * how many. What the loop needs is not read through pointers. */
static inline __attribute__((always_inline)) uint32_t take_wanted(const struct steps *s,
	const uint8_t *wanted, const uint32_t *numbers, const uint32_t *from, uint32_t *rows,
	uint32_t *owners, uint32_t *labels)
{
	const uint32_t *sessions = s->sessions;
	uint32_t at = 0;

	for (uint32_t k = 0, n = s->rows.n; k < n; k++) {
		uint32_t session = sessions[k];

		rows[at] = from ? from[k] : k;
		owners[at] = numbers[session];
		if (labels)
			labels[at] = labels[k];
		at += wanted[session];
	}
	return at;
}

/* Leaves the steps of sessions that are wanted. False when the frame's arena is full. */
static bool keep_half(const struct frame *frame, const uint8_t *wanted, const uint32_t *numbers,
	struct steps *s, uint32_t *owners)
{
	uint32_t *rows = arena_alloc(frame->a, (size_t)s->rows.n * sizeof(*rows));

	if (!rows)
		return false;
	if (s->rows.rows || s->labels)
		s->rows.n = take_wanted(s, wanted, numbers, s->rows.rows, rows, owners, s->labels);
	else
		s->rows.n = take_wanted(s, wanted, numbers, NULL, rows, owners, NULL);
	s->rows.rows = rows;
	return true;
}

/* Numbers of the sessions of steps. False at an arena's cap. */
static bool find_sessions(struct flow *f, const struct frame *frame, struct steps *s)
{
	const struct batch_column *c = &frame->batch->session;
	const uint32_t *sessions = s->sessions, n = s->rows.n;
	size_t codes = (size_t)c->n_entries + 1;
	uint8_t *wanted = arena_alloc(frame->a, codes);
	uint32_t *numbers = arena_array(frame->a, codes, sizeof(*numbers));
	uint32_t *owners = arena_alloc(frame->a, (size_t)n * sizeof(*owners));
	bool every = n == frame->batch->n; /* there is no session without an event */

	if (!wanted || !numbers || !owners)
		return false;
	memset(wanted, every, codes);
	for (uint32_t k = 0; k < n && !every; k++)
		wanted[sessions[k]] = 1;
	/* sessions of the other kernel get no number: keep_half() leaves out their steps */
	if (f->kept)
		uuids_half(f->kept, f->second, c, wanted);
	s->rows.owners = owners;
	if (!uuids_add(&f->sessions, c, wanted, numbers))
		return false;
	if (f->kept)
		return keep_half(frame, wanted, numbers, s, owners);
	for (uint32_t k = 0; k < n; k++)
		owners[k] = numbers[sessions[k]];
	return true;
}

bool flow_fold(struct flow *f, const struct frame *frame)
{
	struct steps s = {.rows = {.n = 0}};

	if (!hits_pick(&s.p, frame, frame->match[0], f->plan->events[0].consented) ||
		!trails_settle(&f->trails, frame->settled_ms))
		return false;
	if (s.p.n == 0)
		return true;
	s.sessions = hits_column(&s.p, frame->batch->session.codes);
	return s.sessions && hits_rows(&s.p) && find_labels(f, frame, &s) &&
	       keep_steps(f, frame, &s) && find_sessions(f, frame, &s) &&
	       trails_add(&f->trails, frame->batch, &s.rows);
}

/* ---- sessions into links between nodes ---- */

static bool node_new(struct flow *f, uint32_t depth, uint32_t label)
{
	if (f->n_nodes == f->cap_nodes) {
		uint32_t cap = f->cap_nodes ? f->cap_nodes * 2 : 64;
		struct node *v = arena_grow(
			f->plan->a, f->nodes, f->cap_nodes * sizeof(*v), cap * sizeof(*v));

		/* a node's number + 1 is kept, and PLAN_NONE is no number */
		if (!v || cap >= PLAN_NONE / 2)
			return false;
		f->nodes = v;
		f->cap_nodes = cap;
	}
	f->nodes[f->n_nodes++] = (struct node){.depth = depth, .label = label};
	return true;
}

uint32_t flow_number(struct flow *f, uint32_t depth, uint32_t label)
{
	uint32_t *of = chunks_make(&f->node_of, label);

	if (!of)
		return PLAN_NONE;
	if (of[depth] == 0) {
		if (!node_new(f, depth, label))
			return PLAN_NONE;
		of[depth] = f->n_nodes;
	}
	return of[depth] - 1;
}

/* Once for a kernel: what was counted by place stays there. Who stays at a node (next == at) has
 * made no hop. */
bool flow_count_near(struct flow *f)
{
	uint32_t end = f->n_nodes + 1 < NEAR_NODES ? f->n_nodes + 1 : NEAR_NODES;

	for (uint32_t at = 1; at < end; at++)
		for (uint32_t label = 0; label < NEAR_LABELS; label++) {
			const struct near *near = &f->near[at * NEAR_LABELS + label];

			if (near->sessions > 0 && near->next != at &&
				!hops_add(&f->hops, at - 1, near->next - 1, near->sessions))
				return false;
		}
	return true;
}

/* Where a session gets by a label: nowhere when it is repeated, or behind the last hop. 0 at the
 * arena's cap. */
static uint32_t next_of(struct flow *f, uint32_t at, uint32_t label)
{
	const struct node *node = at ? &f->nodes[at - 1] : NULL;
	uint32_t depth = node ? node->depth + 1 : 0;

	if (node && (node->label == label || depth > f->plan->max_hops))
		return at;
	return flow_number(f, depth, label) + 1;
}

/* One more step. A link joins two depths, so one session makes it once at most. Where a label leads
 * to from a node never changes, so near->next is asked for once. */
static inline bool walk(struct flow *f, uint32_t *session, uint32_t label)
{
	uint32_t at = *session;

	/* before the first step `at - 1` is no node, but then it is no hop, either */
	if (at >= NEAR_NODES || label >= NEAR_LABELS) {
		*session = next_of(f, at, label);
		return *session &&
		       hops_note(&f->hops, at - 1, *session - 1, at > 0 && *session != at);
	}
	struct near *near = &f->near[at * NEAR_LABELS + label];

	if (near->next == 0)
		near->next = next_of(f, at, label);
	near->sessions++;
	*session = near->next;
	return *session > 0;
}

/* Items of chunks do not move: all are asked for before the first one walks. A session may be
 * there more than once. */
static bool visit(void *kernel, int64_t day_ms, const struct trail_event *v, uint32_t n)
{
	struct flow *f = kernel;
	uint32_t *sessions[TRAIL_SOME];

	(void)day_ms;
	for (uint32_t i = 0; i < n; i++) {
		sessions[i] = chunks_make(&f->at, v[i].owner);
		if (!sessions[i])
			return false;
		__builtin_prefetch(sessions[i], 1);
	}
	for (uint32_t i = 0; i < n; i++)
		if (!walk(f, sessions[i], trail_value(v[i].key)))
			return false;
	return true;
}

/* Does not say when it stops halfway: scan.c knows that it was told to (run->unwanted). */
static void weigh(struct flow *f)
{
	const struct hop *hop;

	for (uint32_t at = 0; (hop = hops_next(&f->hops, &at)) && !watch_due(at);) {
		f->nodes[hop->from].weight += hop->sessions;
		f->nodes[hop->to].weight += hop->sessions;
	}
}

/* ---- nodes into places ---- */

static int by_weight(const void *x, const void *y, void *arg)
{
	const struct flow *f = arg;
	const struct node *a = &f->nodes[*(const uint32_t *)x];
	const struct node *b = &f->nodes[*(const uint32_t *)y];

	if (a->depth != b->depth)
		return a->depth < b->depth ? -1 : 1;
	if (a->weight != b->weight)
		return a->weight > b->weight ? -1 : 1;
	return str_cmp(f->labels.strings[a->label], f->labels.strings[b->label]);
}

/* In the order of the answer: of each depth the heaviest, then the bucket (D77). */
static bool place_nodes(struct flow *f)
{
	uint32_t most = (FLOW_HOPS + 1) * (f->plan->max_nodes + 1), kept = 0, depth = PLAN_NONE;
	uint32_t *order = arena_array(f->plan->a, (size_t)f->n_nodes + 1, sizeof(*order)), n = 0;

	f->places = arena_array(f->plan->a, most, sizeof(*f->places));
	if (!order || !f->places)
		return false;
	/* a node is one by its links: sessions of a single label have none */
	for (uint32_t i = 0; i < f->n_nodes; i++)
		if (f->nodes[i].weight > 0)
			order[n++] = i;
	if (!watch_sort(f->plan->a, order, n, sizeof(*order), by_weight, f))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		struct node *node = &f->nodes[order[i]];

		if (node->depth != depth) {
			depth = node->depth;
			kept = 0;
		}
		/* the first one too many makes the bucket, the rest joins it */
		if (kept <= f->plan->max_nodes)
			f->places[f->n_places++] = (struct place){.depth = depth,
				.label = kept < f->plan->max_nodes ? node->label : PLAN_NONE};
		kept += kept <= f->plan->max_nodes;
		node->place = f->n_places - 1;
	}
	return true;
}

static bool add(struct sums *s, uint32_t a, uint32_t b, uint64_t value)
{
	uint32_t no = pairs_add(&s->pairs, a, b);

	if (no == PAIRS_FULL)
		return false;
	if (no >= s->cap) {
		uint32_t cap = s->cap ? s->cap * 2 : 64;

		s->v = arena_grow(s->pairs.a, s->v, s->cap * sizeof(*s->v), cap * sizeof(*s->v));
		if (!s->v)
			return false;
		memset(s->v + s->cap, 0, (cap - s->cap) * sizeof(*s->v));
		s->cap = cap;
	}
	s->v[no] += value;
	return true;
}

static bool merge_links(struct flow *f)
{
	const struct hop *hop;

	for (uint32_t at = 0; (hop = hops_next(&f->hops, &at));) {
		if (watch_due(at))
			return false;
		if (!add(&f->links, f->nodes[hop->from].place, f->nodes[hop->to].place,
			    hop->sessions))
			return false;
	}
	return true;
}

/* ---- the answer ---- */

/* Byte-wise, a bucket after real labels. */
static int label_order(const struct flow *f, const struct place *a, const struct place *b)
{
	if (a->label == PLAN_NONE || b->label == PLAN_NONE)
		return (a->label == PLAN_NONE) - (b->label == PLAN_NONE);
	return str_cmp(f->labels.strings[a->label], f->labels.strings[b->label]);
}

static int by_value(const void *x, const void *y, void *arg)
{
	const struct flow *f = arg;
	const struct flow_link *a = x, *b = y;
	const struct place *source = &f->places[a->source], *other = &f->places[b->source];
	int order;

	if (a->value != b->value)
		return a->value > b->value ? -1 : 1;
	if (source->depth != other->depth)
		return source->depth < other->depth ? -1 : 1;
	order = label_order(f, source, other);
	return order ? order : label_order(f, &f->places[a->target], &f->places[b->target]);
}

/* Between places; the heaviest. */
static struct flow_link *list_links(struct flow *f, uint32_t *n)
{
	uint32_t all = f->links.pairs.n;
	struct flow_link *links = arena_array(f->plan->a, (size_t)all + 1, sizeof(*links));

	for (uint32_t i = 0; links && i < all; i++) {
		const struct pair *link = &f->links.pairs.v[i];

		links[i] = (struct flow_link){link->a, link->b, f->links.v[i]};
	}
	if (links && !watch_sort(f->plan->a, links, all, sizeof(*links), by_value, f))
		return NULL;
	*n = all < f->plan->max_links ? all : f->plan->max_links;
	/* a node is in the answer by its links that survive (D34) */
	for (uint32_t i = 0; links && i < *n; i++)
		f->places[links[i].source].used = f->places[links[i].target].used = true;
	return links;
}

/* By a node of the answer (D77): one that lost its links to the cut takes no id. */
static bool is_taken(const struct flow *f, uint32_t depth, struct str label)
{
	for (uint32_t i = 0; i < f->n_places; i++) {
		const struct place *p = &f->places[i];

		if (p->used && p->depth == depth && p->label != PLAN_NONE &&
			str_eq(f->labels.strings[p->label], label))
			return true;
	}
	return false;
}

/* Its id is apart from those of real nodes, whatever they are called. */
static bool make_bucket(struct flow *f, struct flow_node *node)
{
	struct buf b;

	buf_init(&b, f->plan->a);
	buf_z(&b, "$others");
	while (!b.over && is_taken(f, node->depth, (struct str){b.p, b.n}))
		buf_c(&b, '_');
	node->others = true;
	node->label = STR("$others");
	node->id = arena_printf(f->plan->a, "%u:%.*s", node->depth, (int)b.n, b.over ? "" : b.p);
	return !b.over && node->id.p;
}

static bool make_node(struct flow *f, const struct place *place, struct flow_node *node)
{
	*node = (struct flow_node){.depth = place->depth};
	if (place->label == PLAN_NONE)
		return make_bucket(f, node);
	node->label = f->labels.strings[place->label];
	node->id = arena_printf(f->plan->a, "%u:%.*s", node->depth, STR_ARG(node->label));
	return node->id.p != NULL;
}

/* What waits and what was counted by place become hops first, which is all that weigh() looks at.
 * Nodes are ranked before links are cut (D34). */
bool flow_finish(struct flow *f, struct flow_answer *out)
{
	struct flow_link *links;
	struct flow_node *nodes;

	*out = (struct flow_answer){0};
	if (!trails_settle(&f->trails, INT64_MAX) || !hops_count(&f->hops) || !flow_count_near(f))
		return false;
	weigh(f);
	if (!place_nodes(f) || !merge_links(f))
		return false;
	links = list_links(f, &out->n_links);
	nodes = arena_array(f->plan->a, (size_t)f->n_places + 1, sizeof(*nodes));
	if (!links || !nodes)
		return false;
	for (uint32_t i = 0; i < f->n_places; i++) {
		if (!f->places[i].used)
			continue;
		f->places[i].number = out->n_nodes;
		if (!make_node(f, &f->places[i], &nodes[out->n_nodes++]))
			return false;
	}
	for (uint32_t i = 0; i < out->n_links; i++) {
		links[i].source = f->places[links[i].source].number;
		links[i].target = f->places[links[i].target].number;
	}
	out->nodes = nodes;
	out->links = links;
	return true;
}

bool flow_undecided(const struct flow *f)
{
	return f->trails.undecided;
}
