/*
 * See funnel.h. What matches a step is brought into order, and somebody's walk goes on a
 * day at a time: what is kept of it does not grow with events.
 */
#include "worker/insights/chunks.h"
#include "worker/insights/funnel.h"
#include "worker/insights/hits.h"
#include "worker/insights/split.h"
#include "worker/insights/trail.h"
#include "worker/insights/watch.h"

_Static_assert((int)FUNNEL_STEPS <= (int)TRAIL_VALUE_BITS, "a trail's value is the set of steps");

const struct funnel_time funnel_times[FUNNEL_TIMES] = {{"0-30s", 30}, {"30s-2m", 120},
	{"2-5m", 300}, {"5-15m", 900}, {"15-60m", 3600}, {"1-6h", 21600}, {"6-24h", 86400},
	{"24h+", 0}};

enum { FIRST = 1 }; /* the set of the first step */

struct funnel {
	const struct plan *plan;
	struct trails trails;  /* by person; values are sets of steps */
	struct chunks walkers; /* by person */
	uint32_t n;            /* persons below may have one */
	uint64_t *done;        /* bits by person: who made all steps */
	uint32_t n_done;       /* words */
	bool any_done;
	struct split split; /* used with breakdowns only */
	/* at the end */
	struct split_series series;
	uint32_t *series_of; /* by person, PLAN_NONE for who did nothing */
	uint64_t *totals;    /* [series][step] */
	bool undecided;      /* only ids tell which is somebody's first event */
};

/* The newest chain of events that makes a step, and those before it: all its times when
 * timing is wanted, else the first only. Since the window's begin. */
union chain {
	int64_t first;
	int64_t *times;
};

/* Somebody on the way. */
struct walker {
	uint32_t made;   /* set of the steps that were made */
	uint8_t reached; /* 0 did nothing, else steps in a row + 1 */
	/* one a step; with timing one more: that which first got there, from 2 steps on */
	union chain chains[];
};

static bool visit(void *kernel, int64_t day_ms, const struct trail_event *v, uint32_t n);

struct funnel *funnel_new(const struct plan *plan)
{
	struct funnel *f = arena_zalloc(plan->a, sizeof(*f));

	if (!f || !trails_init(&f->trails, plan->a, plan->from_ms, plan->to_ms))
		return NULL;
	f->plan = plan;
	f->trails.visit = visit;
	f->trails.kernel = f;
	chunks_init(&f->walkers, plan->a,
		sizeof(struct walker) + (plan->n_events + plan->timing) * sizeof(union chain));
	split_init(&f->split, plan);
	return f;
}

/* ---- events into trails ---- */

/* The steps that events of a frame can match: where all are of one kind, none of another kind's. */
struct asked {
	uint32_t steps[FUNNEL_STEPS], n;
};

static struct asked find_asked(const struct frame *frame)
{
	const struct batch *b = frame->batch;
	struct asked asked = {.n = 0};

	for (uint32_t e = 0; e < frame->plan->n_events; e++) {
		struct str kind = frame->plan->events[e].kind;

		if (!b->one_kind || kind.n == 0 || str_eq(b->kind.entries[0].s, kind))
			asked.steps[asked.n++] = e;
	}
	return asked;
}

/* Bytes may be anybody's: what the loop needs is not read through pointers. */
static void add_step(uint32_t *sets, const uint8_t *match, uint32_t n, uint32_t step)
{
	for (uint32_t i = 0; i < n; i++)
		sets[i] |= (uint32_t)match[i] << step;
}

/* Sets of the steps that the picked events match. NULL when the frame's arena is full. */
static const uint32_t *find_sets(
	const struct picked *p, const struct frame *frame, const struct asked *asked)
{
	uint32_t *sets = arena_array(frame->a, (size_t)frame->batch->n + 1, sizeof(*sets));

	for (uint32_t i = 0; sets && i < asked->n; i++)
		add_step(sets, frame->match[asked->steps[i]], frame->batch->n, asked->steps[i]);
	return sets ? hits_column(p, sets) : NULL;
}

/* Bits of all persons so far. False at the arena's cap. */
static bool make_done(struct funnel *f, uint32_t persons)
{
	uint32_t words = persons / 64 + 1, n = f->n_done ? f->n_done : 64;

	while (n < words)
		n *= 2;
	if (n == f->n_done)
		return true;
	f->done =
		arena_grow(f->plan->a, f->done, f->n_done * sizeof(*f->done), n * sizeof(*f->done));
	if (!f->done)
		return false;
	memset(f->done + f->n_done, 0, (n - f->n_done) * sizeof(*f->done));
	f->n_done = n;
	return true;
}

/* Leaves out whoever is through, which they are by earlier events. False when the frame's arena
 * is full. */
static bool skip_done(
	const struct funnel *f, const struct frame *frame, struct trail_rows *e, uint32_t *owners)
{
	size_t bytes = ((size_t)e->n + 1) * sizeof(uint32_t);
	uint32_t *rows = arena_alloc(frame->a, bytes), n = 0;
	uint32_t *values = e->values ? arena_alloc(frame->a, bytes) : NULL;
	const uint64_t *done = f->done;

	if (!rows || (e->values && !values))
		return false;
	for (uint32_t k = 0; k < e->n; k++) {
		uint32_t owner = owners[k];

		rows[n] = e->rows ? e->rows[k] : k;
		owners[n] = owner;
		if (values)
			values[n] = e->values[k];
		n += (uint32_t)(~done[owner / 64] >> owner % 64 & 1);
	}
	e->rows = rows;
	e->values = values;
	e->n = n;
	return true;
}

/* False at an arena's cap. */
static bool see_firsts(struct funnel *f, const struct frame *frame, const struct trail_rows *e)
{
	for (uint32_t k = 0; k < e->n; k++) {
		uint32_t row = e->rows ? e->rows[k] : k;

		if (split_may_see(&f->split, e->owners[k], frame->batch->times[row]) &&
			!split_see(&f->split, frame, row, e->owners[k]))
			return false;
	}
	return true;
}

static bool add_picked(struct funnel *f, const struct frame *frame, const struct picked *p,
	const struct asked *asked)
{
	const uint32_t *codes = hits_column(p, frame->batch->distinct.codes);
	uint32_t *owners = arena_alloc(frame->a, ((size_t)p->n + 1) * sizeof(*owners));
	struct trail_rows e = {
		.rows = p->rows, .n = p->n, .owners = owners, .value = 1u << asked->steps[0]};

	if (!codes || !owners)
		return false;
	for (uint32_t k = 0; k < p->n; k++)
		owners[k] = frame->persons[codes[k]];
	if (asked->n > 1) {
		e.values = find_sets(p, frame, asked);
		if (!e.values)
			return false;
	}
	if (f->plan->n_breakdowns && !see_firsts(f, frame, &e))
		return false;
	return make_done(f, people_end(frame->people)) &&
	       (!f->any_done || skip_done(f, frame, &e, owners)) &&
	       trails_add(&f->trails, frame->batch, &e);
}

bool funnel_fold(struct funnel *f, const struct frame *frame)
{
	struct asked asked = find_asked(frame);
	const uint8_t *any = asked.n == 1 ? frame->match[asked.steps[0]] : hits_any(frame);
	struct picked p;

	if (!any || !split_frame(&f->split, frame) || !trails_settle(&f->trails, frame->settled_ms))
		return false;
	if (asked.n == 0)
		return true;
	/* make_steps() gives all steps the same consent */
	if (!hits_pick(&p, frame, any, f->plan->events[0].consented))
		return false;
	return p.n == 0 || (hits_rows(&p) && add_picked(f, frame, &p, &asked));
}

/* ---- walking ---- */

static int64_t *times_new(struct funnel *f, int64_t **times, uint32_t n)
{
	if (!*times)
		*times = arena_alloc(f->plan->a, n * sizeof(**times));
	return *times;
}

/* Step k is made at a time, by what made the step before, whose times are copied: a newer event may
 * make that one anew, and this chain stays. */
static bool make_step(struct funnel *f, struct walker *w, uint32_t k, int64_t at)
{
	union chain *c = &w->chains[k];

	w->made |= 1u << k;
	if (!f->plan->timing) {
		c->first = k ? c[-1].first : at;
		return true;
	}
	if (!times_new(f, &c->times, k + 1))
		return false;
	if (k > 0)
		memcpy(c->times, c[-1].times, k * sizeof(at));
	c->times[k] = at;
	return true;
}

static bool is_next(const struct funnel *f, const struct walker *w, uint32_t k, int64_t at)
{
	const union chain *before = &w->chains[k - 1];

	return w->made >> (k - 1) & 1 &&
	       at - (f->plan->timing ? before->times[0] : before->first) <= f->plan->conversion_ms;
}

/* How far somebody gets, and by which chain: the newest of each step is kept, and the one
 * that first got there is theirs (D75). Steps are tried from the last to the first, so
 * that one event is never two of them. */
static bool walk(struct funnel *f, struct walker *w, uint32_t set, int64_t at)
{
	union chain *best = &w->chains[f->plan->n_events];

	for (uint32_t k; set; set &= ~(1u << k)) {
		k = 31 - (uint32_t)__builtin_clz(set);
		if (k > 0 && !is_next(f, w, k, at))
			continue;
		if (!make_step(f, w, k, at))
			return false;
		if (k + 2 <= w->reached)
			continue;
		w->reached = (uint8_t)(k + 2);
		if (k == 0 || !f->plan->timing)
			continue;
		if (!times_new(f, &best->times, f->plan->n_events))
			return false;
		memcpy(best->times, w->chains[k].times, (k + 1) * sizeof(at));
	}
	return true;
}

/* The same of most events: those of the first step, without timing. */
static void begin_again(struct walker *w, int64_t at)
{
	w->made |= FIRST;
	w->chains[0].first = at;
	w->reached = w->reached > 2 ? w->reached : 2;
}

static bool visit_one(struct funnel *f, int64_t day_ms, const struct trail_event *e)
{
	struct walker *w = chunks_at(&f->walkers, e->owner);
	uint32_t set = trail_value(e->key), through = f->plan->n_events + 1;
	int64_t at = day_ms + trail_time(e->key);

	if (w->reached == 0)
		w->reached = 1;
	/* their chain is the first that got there (D32): nothing changes any more */
	if (w->reached == through)
		return true;
	if (set == FIRST && !f->plan->timing)
		begin_again(w, at);
	else if (!walk(f, w, set, at))
		return false;
	if (w->reached == through) {
		f->done[e->owner / 64] |= (uint64_t)1 << e->owner % 64;
		f->any_done = true;
	}
	return true;
}

/* Walkers are in no cache. */
static bool visit(void *kernel, int64_t day_ms, const struct trail_event *v, uint32_t n)
{
	struct funnel *f = kernel;

	for (uint32_t i = 0; i < n; i++) {
		struct walker *w = chunks_make(&f->walkers, v[i].owner);

		if (!w)
			return false;
		__builtin_prefetch(w, 1);
		f->n = v[i].owner >= f->n ? v[i].owner + 1 : f->n;
	}
	for (uint32_t i = 0; i < n; i++)
		if (!visit_one(f, day_ms, &v[i]))
			return false;
	return true;
}

/* ---- the answer ---- */

static uint8_t reached(const struct funnel *f, uint32_t person)
{
	return f->walkers.v[person >> CHUNK_SHIFT]
		       ? ((const struct walker *)chunks_at(&f->walkers, person))->reached
		       : 0;
}

/* Ranks by who made the first step; without breakdowns everybody is one series, which
 * is there even without anybody. Who made later steps only has a tuple all the same (1.5). */
static bool find_series(struct funnel *f)
{
	bool whole = f->plan->n_breakdowns == 0;
	uint64_t *weights, *persons;

	if (whole && intern_add(&f->split.tuples, STR("")) == INTERN_FULL)
		return false;
	weights = arena_array(f->plan->a, f->split.tuples.n + 1, sizeof(*weights));
	persons = arena_array(f->plan->a, f->split.tuples.n + 1, sizeof(*persons));
	f->series_of = arena_array(f->plan->a, f->n + 1, sizeof(*f->series_of));
	if (!weights || !persons || !f->series_of)
		return false;
	persons[0] = whole;
	for (uint32_t i = 0; i < f->n; i++) {
		f->series_of[i] = PLAN_NONE;
		if (!reached(f, i))
			continue;
		f->series_of[i] = whole ? 0 : split_tuple(&f->split, i);
		f->undecided |= !whole && split_unsure(&f->split, i);
		persons[f->series_of[i]]++;
		weights[f->series_of[i]] += reached(f, i) > 1;
	}
	if (f->undecided || !split_rank(&f->split, weights, persons, &f->series))
		return false;
	for (uint32_t i = 0; i < f->n; i++)
		if (f->series_of[i] != PLAN_NONE)
			f->series_of[i] = f->series.of[f->series_of[i]];
	return true;
}

static bool count(struct funnel *f)
{
	uint32_t n = f->plan->n_events;

	f->totals = arena_array(f->plan->a, (size_t)f->series.n * n + 1, sizeof(*f->totals));
	for (uint32_t i = 0; f->totals && i < f->n; i++)
		for (uint32_t k = 0; k + 1 < reached(f, i); k++)
			f->totals[(size_t)f->series_of[i] * n + k]++;
	return f->totals != NULL;
}

/* ---- timing ---- */

/* The k-th smallest, by its bytes from the highest on: no order that a client chooses
 * makes it slow, and nothing is moved. None is longer than the window, which TRAIL_TIME_BITS
 * hold. */
static int64_t smallest(const int64_t *v, uint64_t n, uint64_t k)
{
	uint64_t found = 0, mask = 0;

	for (int shift = (TRAIL_TIME_BITS + 7) / 8 * 8 - 8; shift >= 0; shift -= 8) {
		uint64_t counts[256] = {0}, digit = 0;

		if (watch_over())
			return 0; /* the caller asks, too */
		for (uint64_t i = 0; i < n; i++)
			if (((uint64_t)v[i] & mask) == found)
				counts[(uint64_t)v[i] >> shift & 255]++;
		for (; k >= counts[digit]; digit++)
			k -= counts[digit];
		found |= digit << shift;
		mask |= (uint64_t)255 << shift;
	}
	return (int64_t)found;
}

static void describe(struct funnel_timing *t, const int64_t *v, uint64_t n)
{
	static const int64_t ns = 1000000;
	int64_t sum = 0, middle;

	if (n == 0)
		return;
	for (uint64_t i = 0; i < n; i++) {
		uint32_t k = 0;

		sum += v[i];
		while (funnel_times[k].below_s && v[i] >= funnel_times[k].below_s * 1000)
			k++;
		t->counts[k]++;
	}
	/* sum * ns / n, which would overflow */
	t->avg_ns = sum / (int64_t)n * ns + sum % (int64_t)n * ns / (int64_t)n;
	middle = smallest(v, n, n / 2);
	if (n % 2 == 0)
		middle += smallest(v, n, n / 2 - 1);
	t->median_ns = n % 2 ? middle * ns : middle * (ns / 2);
	/* the nearest rank: of 1 to n the one at 0.95 n, rounded up (1.6) */
	t->p95_ns = smallest(v, n, (n * 95 + 99) / 100 - 1) * ns;
}

/* Leaves next[] behind the last of each cell, from where make_timing() counts back. */
static void place_deltas(const struct funnel *f, int64_t **next)
{
	for (uint32_t i = 0; i < f->n; i++) {
		const int64_t *best;
		int64_t **to;

		if (watch_due(i))
			return; /* the caller asks, too */
		if (reached(f, i) < 3)
			continue;
		best = ((const struct walker *)chunks_at(&f->walkers, i))
			       ->chains[f->plan->n_events]
			       .times;
		to = next + (size_t)f->series_of[i] * f->plan->n_events;
		for (uint32_t k = 1; k + 1 < reached(f, i); k++)
			*to[k]++ = best[k] - best[k - 1];
	}
}

static struct funnel_timing *make_timing(struct funnel *f)
{
	size_t cells = (size_t)f->series.n * f->plan->n_events, all = 0;
	struct funnel_timing *timing = arena_array(f->plan->a, cells + 1, sizeof(*timing));
	int64_t **next = arena_array(f->plan->a, cells + 1, sizeof(int64_t *));
	int64_t *deltas;

	for (size_t i = 0; i < cells; i++)
		all += i % f->plan->n_events ? f->totals[i] : 0;
	deltas = arena_alloc(f->plan->a, all * sizeof(*deltas));
	if (!timing || !next || !deltas)
		return NULL;
	for (size_t i = 0; i < cells; i++) {
		next[i] = deltas;
		deltas += i % f->plan->n_events ? f->totals[i] : 0;
	}
	place_deltas(f, next);
	for (size_t i = 0; i < cells; i++)
		if (watch_over())
			return NULL;
		else if (i % f->plan->n_events)
			describe(&timing[i], next[i] - f->totals[i], f->totals[i]);
	return timing;
}

bool funnel_finish(struct funnel *f, const struct funnel_series **series, uint32_t *n)
{
	struct funnel_timing *timing = NULL;
	struct funnel_series *out;

	if (!trails_settle(&f->trails, INT64_MAX) || !find_series(f) || !count(f))
		return false;
	if (f->plan->timing) {
		timing = make_timing(f);
		if (!timing)
			return false;
	}
	out = arena_array(f->plan->a, f->series.n + 1, sizeof(*out));
	for (uint32_t i = 0; out && i < f->series.n; i++) {
		size_t at = (size_t)i * f->plan->n_events;

		out[i] = (struct funnel_series){
			f->series.values[i], f->totals + at, timing ? timing + at : NULL};
	}
	*series = out;
	*n = f->series.n;
	return out != NULL;
}

bool funnel_undecided(const struct funnel *f)
{
	return f->undecided || f->trails.undecided;
}
