/*
 * See flow.h. Sessions are walked in order, a day at a time: of each only its last step is
 * kept. At the end light nodes become buckets, and links are merged.
 */
#include "worker/insights/codes.h"
#include "worker/insights/flow.h"
#include "worker/insights/hits.h"
#include "worker/insights/pairs.h"
#include "worker/insights/trail.h"
#include "worker/insights/uuids.h"
#include "worker/insights/watch.h"

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

/* Where a session is. */
struct at {
	uint32_t depth; /* of its next step; 0 before the first one */
	uint32_t label, node;
};

struct flow {
	const struct plan *plan;
	struct uuids sessions;
	struct intern labels;
	struct trails trails;  /* by session; values are labels */
	struct chunks ats;     /* struct at, by session */
	struct chunks node_of; /* uint32_t node + 1 for each depth, by label */
	struct node *nodes;
	uint32_t n_nodes, cap_nodes;
	struct sums hops, links; /* between nodes, between places */
	/* at the end */
	struct place *places;
	uint32_t n_places;
};

static bool visit(void *kernel, const struct trail_item *const *v, uint32_t n);

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
	chunks_init(&f->ats, plan->a, sizeof(struct at));
	chunks_init(&f->node_of, plan->a, (plan->max_hops + 1) * sizeof(uint32_t));
	f->hops.pairs.a = f->links.pairs.a = plan->a;
	return f;
}

/* ---- events into sessions ---- */

/* The steps of one frame, and numbers of their sessions by code. */
struct seen {
	uint32_t *rows, *labels, n;
	uint8_t *wanted; /* by code of the session column: it has a step */
	uint32_t *sessions;
};

static bool seen_init(struct seen *seen, const struct frame *frame)
{
	size_t n = (size_t)frame->batch->n + 1, codes = (size_t)frame->batch->session.n_entries + 1;

	*seen = (struct seen){.rows = arena_alloc(frame->a, n * sizeof(*seen->rows)),
		.labels = arena_alloc(frame->a, n * sizeof(*seen->labels)),
		.wanted = arena_zalloc(frame->a, codes),
		.sessions = arena_alloc(frame->a, codes * sizeof(*seen->sessions))};
	return seen->rows && seen->labels && seen->wanted && seen->sessions;
}

/* False at an arena's cap. */
static bool add_hits(struct flow *f, const struct frame *frame, struct codes *labels,
	struct hits *h, struct seen *seen)
{
	const uint32_t *sessions = frame->batch->session.codes;
	uint32_t n = h->n;

	if (f->plan->events[0].consented)
		n = hits_consented(frame, h->rows, n);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t row = h->rows[k], label = codes_at(labels, row);
		bool is_step;

		if (label == INTERN_FULL)
			return false;
		/* blank ones are no steps, whatever comes before and after (D34) */
		is_step = sessions[row] && f->labels.strings[label].n > 0;
		seen->rows[seen->n] = row;
		seen->labels[seen->n] = label;
		seen->n += is_step;
		seen->wanted[sessions[row]] |= is_step;
	}
	return true;
}

/* False at an arena's cap. */
static bool find_steps(struct flow *f, const struct frame *frame, struct seen *seen)
{
	const struct plan *p = f->plan;
	const struct batch *b = frame->batch;
	bool by_kind = p->node == PLAN_NONE;
	struct hits *h = arena_alloc(frame->a, sizeof(*h));
	struct codes labels;

	if (!h || !codes_init(&labels, &f->labels, by_kind ? &b->kind : &b->props[p->node],
			  by_kind ? KEY_PLAIN : p->need.props[p->node].class, frame->a))
		return false;
	hits_begin(h, frame, frame->match[0]);
	while (hits_next(h))
		if (!add_hits(f, frame, &labels, h, seen))
			return false;
	return true;
}

bool flow_fold(struct flow *f, const struct frame *frame)
{
	const struct batch *b = frame->batch;
	const struct batch_column *c = &b->session;
	struct seen seen;

	if (!seen_init(&seen, frame) || !find_steps(f, frame, &seen) ||
		!uuids_add(&f->sessions, c, seen.wanted, seen.sessions) ||
		!trails_settle(&f->trails, frame->settled_ms))
		return false;
	trails_source(&f->trails);
	for (uint32_t i = 0; i < seen.n; i++) {
		uint32_t row = seen.rows[i];
		uint64_t id[2];

		if (!trail_add(&f->trails, seen.sessions[c->codes[row]], b->times[row],
			    batch_id(b, row, id), seen.labels[i]))
			return false;
	}
	return true;
}

/* ---- sessions into links between nodes ---- */

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

static bool node_new(struct flow *f, uint32_t depth, uint32_t label)
{
	if (f->n_nodes == f->cap_nodes) {
		uint32_t cap = f->cap_nodes ? f->cap_nodes * 2 : 64;
		struct node *v = arena_grow(
			f->plan->a, f->nodes, f->cap_nodes * sizeof(*v), cap * sizeof(*v));

		if (!v || cap >= PLAN_NONE / 2)
			return false;
		f->nodes = v;
		f->cap_nodes = cap;
	}
	f->nodes[f->n_nodes++] = (struct node){.depth = depth, .label = label};
	return true;
}

/* PLAN_NONE at the arena's cap. */
static uint32_t node_number(struct flow *f, uint32_t depth, uint32_t label)
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

/* Labels of a session without repeats in a row, as far as they are looked at. A link joins
 * two depths, so one session makes it once at most. */
static bool step(struct flow *f, struct at *at, uint32_t label)
{
	uint32_t before = at->node;

	if (at->depth > f->plan->max_hops || (at->depth > 0 && label == at->label))
		return true;
	at->label = label;
	at->node = node_number(f, at->depth, label);
	if (at->node == PLAN_NONE)
		return false;
	return at->depth++ == 0 || add(&f->hops, before, at->node, 1);
}

static bool visit(void *kernel, const struct trail_item *const *v, uint32_t n)
{
	struct flow *f = kernel;

	for (uint32_t i = 0; i < n; i++) {
		struct at *at = chunks_make(&f->ats, v[i]->owner);

		if (!at || !step(f, at, trail_value(v[i])))
			return false;
	}
	return true;
}

static void weigh(struct flow *f)
{
	for (uint32_t i = 0; i < f->hops.pairs.n && !watch_due(i); i++) {
		f->nodes[f->hops.pairs.v[i].a].weight += f->hops.v[i];
		f->nodes[f->hops.pairs.v[i].b].weight += f->hops.v[i];
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

static bool merge_links(struct flow *f)
{
	for (uint32_t i = 0; i < f->hops.pairs.n; i++) {
		const struct pair *hop = &f->hops.pairs.v[i];

		if (watch_due(i))
			return false;
		if (!add(&f->links, f->nodes[hop->a].place, f->nodes[hop->b].place, f->hops.v[i]))
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
	for (uint32_t i = 0; links && i < *n; i++)
		f->places[links[i].source].used = f->places[links[i].target].used = true;
	return links;
}

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

bool flow_finish(struct flow *f, struct flow_answer *out)
{
	struct flow_link *links;
	struct flow_node *nodes;

	*out = (struct flow_answer){0};
	if (!trails_settle(&f->trails, INT64_MAX))
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
