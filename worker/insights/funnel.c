/*
 * See funnel.h. What matches a step is brought into order, and somebody's walk goes on a
 * day at a time: what is kept of it does not grow with events.
 */
#include "worker/insights/chunks.h"
#include "worker/insights/funnel.h"
#include "worker/insights/hits.h"
#include "worker/insights/personset.h"
#include "worker/insights/split.h"
#include "worker/insights/trail.h"
#include "worker/insights/watch.h"

enum { AHEAD = 16 };

_Static_assert((int)FUNNEL_STEPS <= (int)TRAIL_VALUE_BITS, "a trail's value is the set of steps");

const struct funnel_time funnel_times[FUNNEL_TIMES] = {{"0-30s", 30}, {"30s-2m", 120},
	{"2-5m", 300}, {"5-15m", 900}, {"15-60m", 3600}, {"1-6h", 21600}, {"6-24h", 86400},
	{"24h+", 0}};

struct funnel {
	const struct plan *plan;
	struct trails trails;  /* by person; values are sets of steps */
	struct chunks walkers; /* by person */
	uint32_t n;            /* persons below may have one */
	struct personset done; /* who made all steps */
	struct split split;    /* used with breakdowns only */
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

static bool visit(void *kernel, const struct trail_item *const *v, uint32_t n);

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

/* The set of steps that an event matches. */
static uint32_t steps_of(const struct frame *frame, uint32_t row)
{
	uint32_t set = 0;

	for (uint32_t e = 0; e < frame->plan->n_events; e++)
		set |= (uint32_t)frame->match[e][row] << e;
	return set;
}

static bool add_hits(struct funnel *f, const struct frame *frame, struct hits *h, uint32_t *persons)
{
	const struct batch *b = frame->batch;
	uint32_t n = h->n;

	if (f->plan->events[0].consented)
		n = hits_consented(frame, h->rows, n);
	hits_persons(frame, h->rows, n, persons);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t row = h->rows[k], person = persons[k];
		uint64_t id[2];

		/* who is through is so by earlier events */
		if (!personset_has(&f->done, person) &&
			!trail_add(&f->trails, person, b->times[row], batch_id(b, row, id),
				steps_of(frame, row)))
			return false;
		if (f->plan->n_breakdowns && split_may_see(&f->split, person, b->times[row]) &&
			!split_see(&f->split, frame, row, person))
			return false;
	}
	return true;
}

bool funnel_fold(struct funnel *f, const struct frame *frame)
{
	struct hits *h = arena_alloc(frame->a, sizeof(*h));
	uint32_t *persons = arena_alloc(frame->a, HITS * sizeof(*persons));
	const uint8_t *any = hits_any(frame);

	if (!h || !persons || !any || !split_frame(&f->split, frame) ||
		!trails_settle(&f->trails, frame->settled_ms))
		return false;
	trails_source(&f->trails);
	hits_begin(h, frame, any);
	while (hits_next(h))
		if (!add_hits(f, frame, h, persons))
			return false;
	return true;
}

/* ---- walking ---- */

static int64_t *times_new(struct funnel *f, int64_t **times, uint32_t n)
{
	if (!*times)
		*times = arena_alloc(f->plan->a, n * sizeof(**times));
	return *times;
}

/* Step k is made at a time, by what made the step before. */
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
static bool walk(struct funnel *f, struct walker *w, const struct trail_item *e)
{
	union chain *best = &w->chains[f->plan->n_events];
	int64_t at = trail_time(e);

	for (uint32_t set = trail_value(e), k; set; set &= ~(1u << k)) {
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

static bool visit_one(struct funnel *f, const struct trail_item *item)
{
	struct walker *w = chunks_make(&f->walkers, item->owner);

	if (!w)
		return false;
	if (item->owner >= f->n)
		f->n = item->owner + 1;
	if (w->reached == 0)
		w->reached = 1;
	if (w->reached > f->plan->n_events)
		return true;
	if (!walk(f, w, item))
		return false;
	return w->reached <= f->plan->n_events ||
	       personset_add(&f->done, f->plan->a, item->owner) >= 0;
}

/* Walkers are in no cache. */
static bool visit(void *kernel, const struct trail_item *const *v, uint32_t n)
{
	struct funnel *f = kernel;

	for (uint32_t i = 0; i < n; i++) {
		if (i + AHEAD < n && v[i + AHEAD]->owner < f->n)
			chunks_fetch(&f->walkers, v[i + AHEAD]->owner);
		if (!visit_one(f, v[i]))
			return false;
	}
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
 * is there even without anybody. */
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
 * makes it slow, and nothing is moved. */
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
	t->p95_ns = smallest(v, n, (n * 95 + 99) / 100 - 1) * ns;
}

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
