/*
 * See funnel.h. The fold keeps what matches a step; persons are walked at the end,
 * because their events come in any order.
 */
#include "worker/insights/funnel.h"
#include "worker/insights/split.h"
#include "worker/insights/trail.h"
#include "worker/insights/watch.h"

_Static_assert((int)FUNNEL_STEPS <= (int)TRAIL_VALUE_BITS, "a trail's value is the set of steps");

const struct funnel_time funnel_times[FUNNEL_TIMES] = {{"0-30s", 30}, {"30s-2m", 120},
	{"2-5m", 300}, {"5-15m", 900}, {"15-60m", 3600}, {"1-6h", 21600}, {"6-24h", 86400},
	{"24h+", 0}};

struct funnel {
	const struct plan *plan;
	struct trails trails; /* by person; values are sets of steps */
	struct split split;   /* used with breakdowns only */
	/* at the end */
	struct split_series series;
	uint32_t *series_of; /* by person, PLAN_NONE for who did nothing */
	uint8_t *level;      /* by person */
	uint64_t *totals;    /* [series][step] */
};

/* Times of the events that somebody's steps were made with. */
struct chain {
	int64_t at[FUNNEL_STEPS];
};

struct funnel *funnel_new(const struct plan *plan)
{
	struct funnel *f = arena_zalloc(plan->a, sizeof(*f));

	if (!f)
		return NULL;
	f->plan = plan;
	f->trails.a = plan->a;
	split_init(&f->split, plan);
	return f;
}

/* Per event the set of steps that it matches. */
static uint32_t *step_sets(const struct frame *frame)
{
	uint32_t n = frame->batch->n;
	uint32_t *sets = arena_array(frame->a, n, sizeof(*sets));

	for (uint32_t e = 0; sets && e < frame->plan->n_events; e++)
		for (uint32_t i = 0; i < n; i++)
			sets[i] |= (uint32_t)frame->match[e][i] << e;
	return sets;
}

bool funnel_fold(struct funnel *f, const struct frame *frame)
{
	const struct batch *b = frame->batch;
	const uint32_t *sets = step_sets(frame);
	bool consented = f->plan->events[0].consented;

	if (!sets || !split_frame(&f->split, frame))
		return false;
	for (uint32_t i = 0; i < b->n; i++) {
		uint32_t person = frame->persons[b->distinct.codes[i]];
		uint64_t id[2];

		if (!sets[i] || (consented && !frame_consented(frame, i)))
			continue;
		trail_id(id, b->ids, i);
		if (!trail_add(&f->trails, person, b->times[i] - f->plan->from_ms, id, sets[i]))
			return false;
		if (f->plan->n_breakdowns && !split_see(&f->split, frame, i, person, id))
			return false;
	}
	return true;
}

/* How far somebody got, and by which chain: the newest of each step is kept, and the one
 * that first got there is theirs (D75). Steps are tried from the last to the first, so
 * that one event is never two of them. */
static uint32_t walk(
	const struct plan *p, const struct trail_event *v, uint32_t n, struct chain *best)
{
	struct chain chains[FUNNEL_STEPS];
	uint32_t made = 0, level = 0;

	for (uint32_t i = 0; i < n && level < p->n_events; i++) {
		uint32_t set = trail_value(&v[i]);
		int64_t at = trail_time(&v[i]);

		for (uint32_t k = p->n_events; k-- > 0;) {
			if (!(set >> k & 1))
				continue;
			if (k > 0 && (!(made >> (k - 1) & 1) ||
					     at - chains[k - 1].at[0] > p->conversion_ms))
				continue;
			if (k > 0)
				memcpy(chains[k].at, chains[k - 1].at, k * sizeof(at));
			chains[k].at[k] = at;
			made |= 1u << k;
			if (k < level)
				continue;
			level = k + 1;
			*best = chains[k];
		}
	}
	return level;
}

static bool find_levels(struct funnel *f)
{
	f->level = arena_zalloc(f->plan->a, (size_t)f->trails.n + 1);
	for (uint32_t i = 0; f->level && i < f->trails.n; i++) {
		const struct trail_event *v;
		struct chain best;
		uint32_t n;

		if (watch_due(i))
			return false;
		if (!f->trails.v[i].n)
			continue;
		v = trail_sorted(&f->trails, i, &n);
		if (!v)
			return false;
		f->level[i] = (uint8_t)walk(f->plan, v, n, &best);
	}
	return f->level != NULL;
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
	f->series_of = arena_array(f->plan->a, f->trails.n + 1, sizeof(*f->series_of));
	if (!weights || !persons || !f->series_of)
		return false;
	persons[0] = whole;
	for (uint32_t i = 0; i < f->trails.n; i++) {
		f->series_of[i] = PLAN_NONE;
		if (!f->trails.v[i].n)
			continue;
		f->series_of[i] = whole ? 0 : split_tuple(&f->split, i);
		persons[f->series_of[i]]++;
		weights[f->series_of[i]] += f->level[i] >= 1;
	}
	if (!split_rank(&f->split, weights, persons, &f->series))
		return false;
	for (uint32_t i = 0; i < f->trails.n; i++)
		if (f->series_of[i] != PLAN_NONE)
			f->series_of[i] = f->series.of[f->series_of[i]];
	return true;
}

static bool count(struct funnel *f)
{
	uint32_t n = f->plan->n_events;

	f->totals = arena_array(f->plan->a, (size_t)f->series.n * n + 1, sizeof(*f->totals));
	for (uint32_t i = 0; f->totals && i < f->trails.n; i++)
		for (uint32_t k = 0; k < f->level[i]; k++)
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

/* Walks everybody again, now that it is known how many deltas each step of a series has:
 * that costs time only where timing is wanted, and never memory for who got nowhere. */
static bool place_deltas(struct funnel *f, int64_t **next)
{
	for (uint32_t i = 0; i < f->trails.n; i++) {
		const struct trail_event *v;
		struct chain best;
		int64_t **to;
		uint32_t n;

		if (watch_due(i))
			return false;
		if (f->level[i] < 2)
			continue;
		to = next + (size_t)f->series_of[i] * f->plan->n_events;
		v = trail_sorted(&f->trails, i, &n);
		if (!v)
			return false;
		n = walk(f->plan, v, n, &best);
		for (uint32_t k = 1; k < n; k++)
			*to[k]++ = best.at[k] - best.at[k - 1];
	}
	return true;
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
	if (!place_deltas(f, next))
		return NULL;
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

	if (!find_levels(f) || !find_series(f) || !count(f))
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
