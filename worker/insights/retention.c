/*
 * See retention.h. Who came back is a set of persons per bucket: a return at or after what
 * is known to be somebody's start stays one, because an earlier event can only make the
 * start earlier. Other returns wait for a start: of those only the latest in each bucket is
 * kept, because one of them was at or after the start if, and only if, the latest was. So
 * memory goes with persons and buckets, not with events.
 */
#include "worker/insights/chunks.h"
#include "worker/insights/hits.h"
#include "worker/insights/personset.h"
#include "worker/insights/retention.h"
#include "worker/insights/split.h"
#include "worker/insights/trail.h"
#include "worker/insights/watch.h"

/* Returns of one person that wait, the highest bucket last. A return is the time since the
 * window's begin << TRAIL_VALUE_BITS | bucket, because there are many. */
struct visits {
	uint64_t *v;
	uint32_t n, cap;
};

_Static_assert((int)BUCKET_MAX <= (int)TRAIL_VALUE_MAX, "a bucket fits into the key");

/* Where somebody's returns are counted: counts[at] are those in the cohort's bucket, the next
 * ones those in the buckets after it. PLAN_NONE: nowhere. */
struct place {
	uint32_t at, cohort;
};

struct retention {
	const struct plan *plan;
	struct split split;         /* first start events */
	struct personset *returned; /* of ids (hits.h), by bucket */
	struct marks marks;
	const struct people *people;
	struct chunks waiting; /* struct visits, by person */
	uint32_t n_waiting;    /* persons below may have some */
	/* Whose start can no more become earlier, because all that comes is later: of nearly
	 * everybody nothing else need be looked at. The others who started are in a list. */
	struct personset settled;
	struct marks old; /* ids of settled persons, of whom an event came since then */
	uint32_t *starters, n_starters, cap_starters;
	int64_t settled_ms;
	struct buckets_near near; /* of the event before */
	bool undecided;           /* only ids tell which is somebody's first event */
	/* at the end */
	struct split_series series;
	uint64_t *sizes; /* [series][cohort] */
	uint32_t *rows;  /* [series][cohort]: where the persons who came back are counted */
	uint32_t *counts;
	struct place *places; /* by person */
};

struct retention *retention_new(const struct plan *plan)
{
	struct retention *r = arena_zalloc(plan->a, sizeof(*r));

	if (!r)
		return NULL;
	r->plan = plan;
	r->settled_ms = INT64_MIN;
	split_init(&r->split, plan);
	chunks_init(&r->waiting, plan->a, sizeof(struct visits));
	r->returned = arena_array(plan->a, plan->buckets.n + 1, sizeof(*r->returned));
	return r->returned ? r : NULL;
}

static uint32_t bucket_of(uint64_t visit)
{
	return (uint32_t)visit & TRAIL_VALUE_MAX;
}

static bool push(struct retention *r, struct visits *of, uint64_t visit)
{
	if (of->n == of->cap) {
		uint32_t cap = of->cap ? of->cap * 2 : 4;

		of->v = arena_grow(
			r->plan->a, of->v, of->cap * sizeof(*of->v), cap * sizeof(*of->v));
		if (!of->v)
			return false;
		of->cap = cap;
	}
	of->v[of->n++] = visit;
	return true;
}

/* An earlier bucket than the last one comes hardly ever, because segments come roughly in
 * the order of time. */
static bool wait_for_start(struct retention *r, uint32_t person, uint64_t visit)
{
	struct visits *of = chunks_make(&r->waiting, person);
	uint32_t i;

	if (!of)
		return false;
	if (person >= r->n_waiting)
		r->n_waiting = person + 1;
	for (i = of->n; i > 0 && bucket_of(of->v[i - 1]) > bucket_of(visit);)
		i--;
	if (i > 0 && bucket_of(of->v[i - 1]) == bucket_of(visit)) {
		/* the bucket is the same, so this compares times */
		if (visit > of->v[i - 1])
			of->v[i - 1] = visit;
		return true;
	}
	if (!push(r, of, visit))
		return false;
	memmove(of->v + i + 1, of->v + i, (of->n - 1 - i) * sizeof(*of->v));
	of->v[i] = visit;
	return true;
}

/* NULL at the arena's cap. */
static struct personset *returned_in(struct retention *r, uint32_t bucket)
{
	struct personset *set = &r->returned[bucket];

	if (set->size == 0 && bucket > 0 && !personset_expect(set, r->plan->a, set - 1))
		return NULL;
	return set;
}

static bool note(struct retention *r, uint32_t person, uint32_t bucket)
{
	struct personset *set = returned_in(r, bucket);

	return set && personset_add(set, r->plan->a, people_id(r->people, person)) >= 0;
}

static bool came_back(struct retention *r, uint32_t person, int64_t time_ms, uint32_t bucket)
{
	if (person < r->split.n && time_ms >= r->split.times[person])
		return note(r, person, bucket);
	return wait_for_start(
		r, person, (uint64_t)(time_ms - r->plan->from_ms) << TRAIL_VALUE_BITS | bucket);
}

static bool list_starter(struct retention *r, uint32_t person)
{
	uint32_t cap = r->cap_starters ? r->cap_starters * 2 : 1024;

	if (r->n_starters == r->cap_starters) {
		r->starters = arena_grow(r->plan->a, r->starters, r->cap_starters * sizeof(person),
			cap * sizeof(person));
		if (!r->starters)
			return false;
		r->cap_starters = cap;
	}
	r->starters[r->n_starters++] = person;
	return true;
}

/* Nothing before settled_ms comes any more. */
static bool settle(struct retention *r, int64_t settled_ms)
{
	uint32_t kept = 0;

	if (settled_ms <= r->settled_ms)
		return true;
	r->settled_ms = settled_ms;
	for (uint32_t i = 0; i < r->n_starters; i++)
		if (r->split.times[r->starters[i]] >= settled_ms)
			r->starters[kept++] = r->starters[i];
		else if (personset_add(&r->settled, r->plan->a, r->starters[i]) < 0)
			return false;
	r->n_starters = kept;
	return true;
}

/* A start event: the first one makes the cohort. Who is listed is listed once, when they
 * start. */
static bool started(struct retention *r, const struct frame *f, uint32_t row, uint32_t person)
{
	bool anew = person >= r->split.n || r->split.times[person] == INT64_MAX;

	if (!split_may_see(&r->split, person, f->batch->times[row]))
		return true;
	return split_see(&r->split, f, row, person) && (!anew || list_starter(r, person));
}

/* Events of one frame. */
struct pass {
	const struct frame *f;
	const uint8_t *start, *back;
	struct picked picked;
	const uint32_t *ids;  /* of these */
	uint32_t *old, *rest; /* room for as many: ids, and places of picked ones */
};

/* The start before the return: with one and the same event for both, bucket 0 is always 100
 * (1.7). */
static bool add_event(struct retention *r, const struct pass *p, uint32_t k, uint32_t bucket)
{
	uint32_t row = hits_row(&p->picked, k), id = p->ids[k];
	uint32_t person = id_person(hits_id_map(r->people), id);

	if (personset_has(&r->settled, person)) {
		r->old.bits[id / 64] |= 1ull << id % 64;
		return !p->back[row] || note(r, person, bucket);
	}
	if (p->start[row] && !started(r, p->f, row, person))
		return false;
	return !p->back[row] || came_back(r, person, p->f->batch->times[row], bucket);
}

/* Of the events picked n from `at` on, which lie in one bucket. Without a branch nearly all are
 * those of settled persons, of whom it is enough that they came. */
static bool add_run(struct retention *r, struct pass *p, uint32_t at, uint32_t n, uint32_t bucket)
{
	const uint64_t *old = r->old.bits;
	uint32_t n_old = 0, n_rest = 0;
	struct personset *set;

	for (uint32_t k = at; k < at + n; k++) {
		uint32_t id = p->ids[k], is_old = old[id / 64] >> id % 64 & 1;

		p->old[n_old] = id;
		n_old += is_old & p->back[hits_row(&p->picked, k)];
		p->rest[n_rest] = k;
		n_rest += !is_old;
	}
	set = n_old ? returned_in(r, bucket) : NULL;
	if (n_old && (!set || !personset_add_marked(set, r->plan->a, &r->marks, p->old, n_old)))
		return false;
	for (uint32_t k = 0; k < n_rest; k++)
		if (!add_event(r, p, p->rest[k], bucket))
			return false;
	return true;
}

/* One event in the question is both start and return: then match[n_events - 1] is match[0]. */
static bool begin(struct retention *r, struct pass *p, const struct frame *f)
{
	const uint8_t *any = hits_any(f);
	struct arena *a = r->plan->a;
	size_t n = (size_t)f->batch->n + 1;

	*p = (struct pass){.f = f, .start = f->match[0], .back = f->match[r->plan->n_events - 1]};
	if (!any || !hits_pick(&p->picked, f, any, r->plan->events[0].consented))
		return false;
	p->ids = hits_ids(&p->picked);
	p->old = arena_alloc(f->a, n * sizeof(*p->old));
	p->rest = arena_alloc(f->a, n * sizeof(*p->rest));
	r->people = f->people;
	return p->ids && hits_rows(&p->picked) && p->old && p->rest &&
	       marks_reserve(&r->marks, a, hits_ids_end(f)) &&
	       marks_reserve(&r->old, a, hits_ids_end(f));
}

bool retention_fold(struct retention *r, const struct frame *f)
{
	struct pass p;

	if (!begin(r, &p, f) || !settle(r, f->settled_ms) || !split_frame(&r->split, f))
		return false;
	for (uint32_t at = 0, n; at < p.picked.n; at += n) {
		uint32_t bucket;

		n = hits_in_bucket(&p.picked, &r->plan->buckets, &r->near, at, &bucket);
		if (!add_run(r, &p, at, n, bucket))
			return false;
	}
	return true;
}

/* ---- the answer ---- */

static bool find_series(struct retention *r)
{
	uint64_t *persons = arena_array(r->plan->a, r->split.tuples.n + 1, sizeof(*persons));

	for (uint32_t i = 0; persons && i < r->split.n; i++) {
		if (split_tuple(&r->split, i) != PLAN_NONE)
			persons[split_tuple(&r->split, i)]++;
		r->undecided |= split_unsure(&r->split, i);
	}
	return persons && !r->undecided && split_rank(&r->split, persons, persons, &r->series);
}

/* Number of somebody's (series, cohort), and the cohort; -1 for who never started. */
static int64_t cell_of(const struct retention *r, uint32_t person, uint32_t *cohort)
{
	uint32_t tuple = split_tuple(&r->split, person);

	if (tuple == PLAN_NONE)
		return -1;
	*cohort = buckets_find(&r->plan->buckets, r->split.times[person]);
	return (int64_t)r->series.of[tuple] * r->plan->buckets.n + *cohort;
}

static bool size_cohorts(struct retention *r)
{
	size_t cells = (size_t)r->series.n * r->plan->buckets.n + 1;

	r->sizes = arena_array(r->plan->a, cells, sizeof(*r->sizes));
	r->rows = arena_array(r->plan->a, cells, sizeof(*r->rows));
	r->places = arena_alloc(r->plan->a, ((size_t)r->split.n + 1) * sizeof(*r->places));
	if (!r->sizes || !r->rows || !r->places)
		return false;
	for (uint32_t i = 0; i < r->split.n; i++) {
		uint32_t cohort;
		int64_t at = cell_of(r, i, &cohort);

		if (watch_due(i))
			return false;
		r->places[i] = (struct place){PLAN_NONE, 0};
		if (at < 0)
			continue;
		r->sizes[at]++;
		/* the cell, until all cells are known */
		r->places[i] = (struct place){(uint32_t)at, cohort};
	}
	return true;
}

/* Counters only for cohorts that have somebody, and only from their own bucket on: nobody returns
 * before they start. */
static bool make_cohorts(struct retention *r)
{
	uint32_t n_buckets = r->plan->buckets.n;
	uint64_t at = 0;

	if ((uint64_t)r->series.n * n_buckets >= PLAN_NONE || !size_cohorts(r))
		return false;
	for (uint32_t cell = 0; cell < r->series.n * n_buckets; cell++) {
		if (watch_due(cell))
			return false;
		r->rows[cell] = (uint32_t)at;
		at += r->sizes[cell] ? n_buckets - cell % n_buckets : 0;
	}
	r->counts = at < PLAN_NONE ? arena_array(r->plan->a, at + 1, sizeof(*r->counts)) : NULL;
	for (uint32_t i = 0; r->counts && i < r->split.n; i++)
		if (r->places[i].at != PLAN_NONE)
			r->places[i].at = r->rows[r->places[i].at];
	return r->counts != NULL;
}

/* Those that waited, of persons who did start by then. */
static bool take_waiting(struct retention *r)
{
	for (uint32_t i = 0; i < r->n_waiting && i < r->split.n; i++) {
		const struct visits *of =
			r->waiting.v[i >> CHUNK_SHIFT] ? chunks_at(&r->waiting, i) : NULL;

		if (watch_due(i))
			return false;
		for (uint32_t k = 0; of && r->places[i].at != PLAN_NONE && k < of->n; k++)
			if ((int64_t)(of->v[k] >> TRAIL_VALUE_BITS) >=
					r->split.times[i] - r->plan->from_ms &&
				!note(r, i, bucket_of(of->v[k])))
				return false;
	}
	return true;
}

static void count_person(struct retention *r, uint32_t person, uint32_t bucket)
{
	const struct place *place = &r->places[person];
	uint64_t *seen = &r->marks.bits[person / 64], bit = 1ull << person % 64;

	/* once, with all their ids; where clocks go back over midnight, a later time may lie in an
	 * earlier bucket */
	if (!(*seen & bit) && bucket >= place->cohort)
		r->counts[place->at + bucket - place->cohort]++;
	*seen |= bit;
}

/* Who is in the set of a bucket started at or before a return in it. */
static bool count_returned(struct retention *r)
{
	struct id_map map = {0};

	if (r->people) /* else there were no events */
		map = hits_id_map(r->people);
	for (uint32_t bucket = 0; bucket < r->plan->buckets.n; bucket++) {
		const struct personset *set = &r->returned[bucket];
		uint32_t ids[PERSONSET_SOME], at = 0, turn = 0;

		for (uint32_t n; (n = personset_some(set, &at, ids)) > 0; turn += n) {
			if (turn / WATCH_EVERY != (turn + n) / WATCH_EVERY && watch_over())
				return false;
			for (uint32_t i = 0; i < n; i++)
				count_person(r, id_person(map, ids[i]), bucket);
		}
		if (set->n)
			memset(r->marks.bits, 0, r->marks.words * sizeof(*r->marks.bits));
	}
	return true;
}

/* The cohort's own bucket always, others where somebody came back (D33). */
static bool put_points(const struct retention *r, struct retention_cohort *out, uint32_t cohort,
	const uint32_t *row)
{
	const struct buckets *b = &r->plan->buckets;
	struct trend_point *points;
	uint32_t n = 1;

	for (uint32_t i = 1; i < b->n - cohort; i++)
		n += row[i] > 0;
	points = arena_array(r->plan->a, n, sizeof(*points));
	if (!points)
		return false;
	out->points = points;
	for (uint32_t i = 0; i < b->n - cohort; i++)
		if (i == 0 || row[i])
			points[out->n_points++] = (struct trend_point){
				b->starts[cohort + i], 100.0 * (double)row[i] / (double)out->size};
	return true;
}

static bool put_cohorts(const struct retention *r, uint32_t series, struct retention_series *out)
{
	const struct buckets *b = &r->plan->buckets;
	size_t base = (size_t)series * b->n;
	struct retention_cohort *cohorts;
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->n; i++)
		n += r->sizes[base + i] > 0;
	cohorts = arena_array(r->plan->a, n + 1, sizeof(*cohorts));
	if (!cohorts)
		return false;
	*out = (struct retention_series){r->series.values[series], cohorts, n};
	for (uint32_t i = 0; i < b->n; i++) {
		if (!r->sizes[base + i])
			continue;
		*cohorts = (struct retention_cohort){
			.start_ms = b->starts[i], .size = r->sizes[base + i]};
		if (!put_points(r, cohorts++, i, r->counts + r->rows[base + i]))
			return false;
	}
	return true;
}

bool retention_finish(struct retention *r, const struct retention_series **series, uint32_t *n)
{
	struct retention_series *out;

	if (!find_series(r) || !make_cohorts(r) || !take_waiting(r) || !count_returned(r))
		return false;
	out = arena_array(r->plan->a, r->series.n + 1, sizeof(*out));
	for (uint32_t i = 0; out && i < r->series.n; i++)
		if (watch_over() || !put_cohorts(r, i, &out[i]))
			return false;
	*series = out;
	*n = r->series.n;
	return out != NULL;
}

bool retention_undecided(const struct retention *r)
{
	return r->undecided;
}
