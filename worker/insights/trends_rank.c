/*
 * From cells to the answer (D30, D73, D74). A unit is one plan event with one of
 * its kinds; each unit ranks its own tuples. $others is folded again from the
 * cells, not added up from points, so that it is right for every aggregation. Only
 * kept tuples get an array over the buckets: there may be very many others.
 */
#include <stdlib.h>
#include "worker/insights/hits.h"
#include "worker/insights/trends_internal.h"
#include "worker/insights/watch.h"

/* A series in the making. */
struct out {
	uint32_t tuple;
	bool others;
	double total;
	struct tally *cells;     /* per bucket */
	uint8_t *has;            /* per bucket: the cell is real */
	struct personset *users; /* of $others, per bucket */
};

/* A line with what it is ranked by. */
struct ranked {
	uint32_t line, tuple;
	double total;
};

struct unit {
	uint32_t event, kind;
	struct ranked *lines;
	uint32_t n_lines;
	struct out *outs;
	uint32_t n_outs;
	bool folded;
};

struct rank {
	struct trends *t;
	struct arena *a;
	const struct plan *plan;
	struct unit *units;
	uint32_t n_units, n_buckets;
	uint32_t *unit_of;    /* by line */
	struct out **out_of;  /* by line */
	double *totals;       /* by line */
	uint64_t work;        /* persons since watch_over() was asked */
	bool several, failed; /* failed: the arena is full, or nobody waits any more */
};

/* Once `failed` is set nothing that was asked for need be there: each loop looks before it
 * begins. */
static void *need(struct rank *r, size_t n, size_t size)
{
	void *p = arena_array(r->a, n + 1, size);

	r->failed |= !p;
	return p;
}

/* In a loop over very many, at turn i: go on? */
static bool going(struct rank *r, uint64_t i)
{
	r->failed |= watch_due(i);
	return !r->failed;
}

static void sort(struct rank *r, void *v, size_t n, size_t size,
	int (*order)(const void *x, const void *y, void *t))
{
	r->failed |= !watch_sort(r->a, v, n, size, order, r->t);
}

/* ---- orders ---- */

static int tuple_order(const struct trends *t, uint32_t a, uint32_t b)
{
	const char *x = t->tuples.strings[a].p, *y = t->tuples.strings[b].p;

	for (uint32_t k = 0; k < t->plan->n_breakdowns; k++) {
		uint32_t i, j;
		int order;

		memcpy(&i, x + k * sizeof(i), sizeof(i));
		memcpy(&j, y + k * sizeof(j), sizeof(j));
		order = i == j ? 0 : str_cmp(t->texts.strings[i], t->texts.strings[j]);
		if (order)
			return order;
	}
	return 0;
}

static int by_total(const void *x, const void *y, void *t)
{
	const struct ranked *a = x, *b = y;

	if (a->total != b->total)
		return a->total > b->total ? -1 : 1;
	return tuple_order(t, a->tuple, b->tuple);
}

static int by_rank(const void *x, const void *y, void *t)
{
	const struct out *a = x, *b = y;

	if (a->others != b->others)
		return a->others ? 1 : -1;
	if (a->total != b->total)
		return a->total > b->total ? -1 : 1;
	return a->others ? 0 : tuple_order(t, a->tuple, b->tuple);
}

static int by_unit(const void *x, const void *y, void *t)
{
	const struct unit *a = x, *b = y;
	const struct intern *kinds = &((struct trends *)t)->kinds;

	if (a->event != b->event)
		return a->event < b->event ? -1 : 1;
	return str_cmp(kinds->strings[a->kind], kinds->strings[b->kind]);
}

static int by_line_and_bucket(const void *x, const void *y, void *t)
{
	const struct cell *cells = ((struct trends *)t)->cells;
	const struct cell *a = &cells[*(const uint32_t *)x], *b = &cells[*(const uint32_t *)y];

	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->bucket < b->bucket ? -1 : a->bucket > b->bucket;
}

/* ---- lines into units ---- */

static uint32_t unit_number(struct rank *r, struct intern *keys, uint32_t event, uint32_t kind)
{
	uint32_t key[2] = {event, kind};
	uint32_t no = intern_add(keys, (struct str){(const char *)key, sizeof(key)});

	r->failed |= no == INTERN_FULL || kind == INTERN_FULL;
	if (!r->failed && no == r->n_units)
		r->units[r->n_units++] = (struct unit){.event = event, .kind = kind};
	return no;
}

static void make_units(struct rank *r)
{
	struct trends *t = r->t;
	struct intern keys;

	intern_init(&keys, r->a);
	r->units = need(r, t->n_lines + r->plan->n_events, sizeof(*r->units));
	r->unit_of = need(r, t->n_lines, sizeof(*r->unit_of));
	for (uint32_t i = 0; going(r, i) && i < t->n_lines; i++)
		r->unit_of[i] = unit_number(r, &keys, t->lines[i].event, t->lines[i].kind);
	/* among several events one without hits still gets its zeros (D73) */
	for (uint32_t e = 0; !r->failed && r->several && e < r->plan->n_events; e++)
		if (r->plan->events[e].kind.n > 0)
			unit_number(r, &keys, e, intern_add(&t->kinds, r->plan->events[e].kind));
	for (uint32_t i = 0; !r->failed && i < t->n_lines; i++)
		r->units[r->unit_of[i]].n_lines++;
}

/* In a loop over sets, once for many persons. */
static uint32_t count_users(struct rank *r, const struct personset *users)
{
	r->work += users->n;
	if (r->work >= WATCH_EVERY) {
		r->work = 0;
		r->failed |= watch_over();
	}
	return r->failed ? 0 : personset_count(users, &r->t->marks, hits_id_map(r->t->people));
}

static bool needs_users(const struct rank *r, const struct cell *c)
{
	return tally_needs_users(r->plan->events[r->t->lines[c->line].event].agg);
}

/* Sets are of ids until here. */
static void make_users(struct rank *r)
{
	struct trends *t = r->t;

	for (uint32_t i = 0; going(r, i) && i < t->n_cells; i++)
		if (needs_users(r, &t->cells[i]))
			t->cells[i].t.users = count_users(r, chunks_at(&t->users, i));
}

/* Totals are summed in the order of time, so that equal data gives equal totals. */
static void make_totals(struct rank *r)
{
	struct trends *t = r->t;
	uint32_t *order = need(r, t->n_cells, sizeof(*order));

	r->totals = need(r, t->n_lines, sizeof(*r->totals));
	if (r->failed)
		return;
	for (uint32_t i = 0; i < t->n_cells; i++)
		order[i] = i;
	sort(r, order, t->n_cells, sizeof(*order), by_line_and_bucket);
	for (uint32_t i = 0; going(r, i) && i < t->n_cells; i++) {
		const struct cell *c = &t->cells[order[i]];
		uint32_t event = t->lines[c->line].event;

		r->totals[c->line] += tally_value(&c->t, r->plan->events[event].agg);
	}
}

static void list_lines(struct rank *r)
{
	struct trends *t = r->t;

	for (uint32_t i = 0; !r->failed && i < r->n_units; i++) {
		r->units[i].lines = need(r, r->units[i].n_lines, sizeof(struct ranked));
		r->units[i].n_lines = 0;
	}
	for (uint32_t i = 0; going(r, i) && i < t->n_lines; i++) {
		struct unit *u = &r->units[r->unit_of[i]];

		u->lines[u->n_lines++] = (struct ranked){i, t->lines[i].tuple, r->totals[i]};
	}
	for (uint32_t i = 0; !r->failed && i < r->n_units; i++)
		sort(r, r->units[i].lines, r->units[i].n_lines, sizeof(struct ranked), by_total);
}

/* ---- keeping and folding ---- */

static struct out *add_out(struct rank *r, struct unit *u, uint32_t tuple, double total)
{
	struct out o = {.tuple = tuple, .total = total};

	o.cells = need(r, r->n_buckets, sizeof(*o.cells));
	o.has = need(r, r->n_buckets, 1);
	if (r->failed)
		return NULL;
	u->outs[u->n_outs] = o;
	return &u->outs[u->n_outs++];
}

static uint32_t kept(const struct rank *r, const struct unit *u)
{
	uint32_t limit = r->plan->n_breakdowns ? r->plan->limit : UINT32_MAX;

	return u->n_lines < limit ? u->n_lines : limit;
}

/* out_of points into outs, which have room for all that may come and so never move, until the
 * answer sorts them. */
static void keep_lines(struct rank *r)
{
	uint32_t all = 0;

	r->out_of = need(r, r->t->n_lines, sizeof(struct out *));
	for (uint32_t i = 0; i < r->n_units; i++)
		all += kept(r, &r->units[i]);
	for (uint32_t i = 0; !r->failed && i < r->n_units; i++) {
		struct unit *u = &r->units[i];
		uint32_t n = kept(r, u);

		u->folded = n < u->n_lines;
		/* a unit that folds gets $others, one that does not may get zero series */
		u->outs = need(r, (u->folded ? n : r->several ? all : n) + 1, sizeof(*u->outs));
		for (uint32_t k = 0; !r->failed && k < n; k++)
			r->out_of[u->lines[k].line] =
				add_out(r, u, u->lines[k].tuple, u->lines[k].total);
		if (r->failed || !u->folded)
			continue;
		struct out *others = add_out(r, u, 0, 0);

		for (uint32_t k = n; going(r, k) && k < u->n_lines; k++)
			r->out_of[u->lines[k].line] = others;
		if (others)
			others->others = true;
	}
}

/* Users are not merged with the rest of a tally: of a kept line they are those of its one cell,
 * of $others fold_users() counts them. */
static void fill_cells(struct rank *r)
{
	struct trends *t = r->t;

	for (uint32_t i = 0; going(r, i) && i < t->n_cells; i++) {
		const struct cell *c = &t->cells[i];
		struct out *o = r->out_of[c->line];

		tally_merge(&o->cells[c->bucket], &c->t);
		o->has[c->bucket] = 1;
		if (!o->others)
			o->cells[c->bucket].users = c->t.users;
	}
}

/* Distinct persons of $others: the union over what it folded. */
static void fold_users(struct rank *r)
{
	struct trends *t = r->t;

	for (uint32_t i = 0; going(r, i) && i < t->n_cells; i++) {
		const struct cell *c = &t->cells[i];
		struct out *o = r->out_of[c->line];

		if (!o->others || !needs_users(r, c))
			continue;
		if (!o->users)
			o->users = need(r, r->n_buckets, sizeof(*o->users));
		r->failed |= !o->users || !personset_join_loose(&o->users[c->bucket], r->a,
						  &t->marks, chunks_at(&t->users, i));
	}
	for (uint32_t i = 0; i < r->n_units; i++)
		for (uint32_t k = 0; k < r->units[i].n_outs; k++) {
			struct out *o = &r->units[i].outs[k];

			for (uint32_t b = 0; !r->failed && o->users && b < r->n_buckets; b++)
				o->cells[b].users = count_users(r, &o->users[b]);
		}
}

/* A unit that folded nothing also shows the values that others kept (D30). Those of before: a
 * zero series that one has got here is no reason for another one. */
static void add_zeros(struct rank *r)
{
	uint32_t n_tuples = r->t->tuples.n;
	uint32_t *stamp = need(r, n_tuples, sizeof(*stamp));
	uint32_t *before = need(r, r->n_units, sizeof(*before));
	uint64_t turn = 0;

	for (uint32_t i = 0; !r->failed && i < r->n_units; i++)
		before[i] = r->units[i].n_outs;
	for (uint32_t i = 0; !r->failed && i < r->n_units; i++) {
		struct unit *u = &r->units[i];

		if (u->folded)
			continue;
		for (uint32_t k = 0; k < u->n_outs; k++)
			stamp[u->outs[k].tuple] = i + 1;
		for (uint32_t j = 0; j < r->n_units; j++) {
			for (uint32_t k = 0; k < before[j]; k++) {
				const struct out *o = &r->units[j].outs[k];

				if (!going(r, turn++))
					return;
				if (o->others || stamp[o->tuple] == i + 1)
					continue;
				stamp[o->tuple] = i + 1;
				if (!add_out(r, u, o->tuple, 0))
					return;
			}
		}
	}
}

/* ---- the answer ---- */

static const struct str *values_of(struct rank *r, const struct out *o)
{
	struct str *v = need(r, r->plan->n_breakdowns, sizeof(*v));

	for (uint32_t k = 0; v && k < r->plan->n_breakdowns; k++) {
		uint32_t no;

		if (o->others) {
			v[k] = STR("$others");
			continue;
		}
		memcpy(&no, r->t->tuples.strings[o->tuple].p + k * sizeof(no), sizeof(no));
		v[k] = r->t->texts.strings[no];
	}
	return v;
}

/* Without a single point there is no series: of one event because it has no hit, of several
 * because no bucket exists (D73). */
static void emit(struct rank *r, const struct unit *u, const struct out *o,
	struct trend_series *series, uint32_t *n)
{
	enum plan_agg agg = r->plan->events[u->event].agg;
	struct trend_point *points = need(r, r->n_buckets, sizeof(*points));
	uint32_t n_points = 0;

	for (uint32_t b = 0; points && b < r->n_buckets; b++)
		if (o->has[b] || (r->several && r->t->exists[b]))
			points[n_points++] = (struct trend_point){
				r->plan->buckets.starts[b], tally_value(&o->cells[b], agg)};
	if (n_points == 0)
		return;
	series[*n] = (struct trend_series){
		r->t->kinds.strings[u->kind], values_of(r, o), points, n_points};
	(*n)++;
}

/* Without breakdowns there is one tuple, the empty one; a unit without hits needs it. */
static void add_empty_tuples(struct rank *r)
{
	uint32_t tuple = intern_add(&r->t->tuples, STR(""));

	r->failed |= tuple == INTERN_FULL;
	for (uint32_t i = 0; !r->failed && i < r->n_units; i++)
		if (r->units[i].n_outs == 0)
			add_out(r, &r->units[i], tuple, 0);
}

bool trends_finish(struct trends *t, const struct trend_series **series, uint32_t *n)
{
	struct rank r = {.t = t,
		.a = t->plan->a,
		.plan = t->plan,
		.n_buckets = t->plan->buckets.n,
		.several = t->plan->n_events > 1};
	struct trend_series *out;
	uint64_t turn = 0;
	size_t most = 0;

	make_users(&r);
	make_units(&r);
	make_totals(&r);
	list_lines(&r);
	if (!r.failed)
		keep_lines(&r);
	if (r.failed)
		return false;
	fill_cells(&r);
	if (!r.failed)
		fold_users(&r);
	if (r.failed)
		return false;
	if (r.several && t->plan->n_breakdowns)
		add_zeros(&r);
	if (r.several && !t->plan->n_breakdowns)
		add_empty_tuples(&r);
	if (r.failed)
		return false;
	/* not earlier: unit_of has places of units */
	sort(&r, r.units, r.n_units, sizeof(*r.units), by_unit);
	for (uint32_t i = 0; i < r.n_units; i++)
		most += r.units[i].n_outs;
	out = need(&r, most, sizeof(*out));
	*n = 0;
	for (uint32_t i = 0; !r.failed && i < r.n_units; i++) {
		struct unit *u = &r.units[i];

		sort(&r, u->outs, u->n_outs, sizeof(*u->outs), by_rank);
		for (uint32_t k = 0; going(&r, turn++) && k < u->n_outs; k++)
			emit(&r, u, &u->outs[k], out, n);
	}
	*series = out;
	return !r.failed;
}
