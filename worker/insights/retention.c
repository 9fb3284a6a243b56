/*
 * See retention.h. Of a person's returns only the latest in each bucket is kept: one
 * of them was at or after the start if, and only if, the latest was. So memory goes
 * with persons and buckets, not with events.
 */
#include "worker/insights/retention.h"
#include "worker/insights/split.h"
#include "worker/insights/trail.h"
#include "worker/insights/watch.h"

/* The latest returns of one person in lower buckets than the last one. A return is the time
 * since the window's begin << TRAIL_VALUE_BITS | bucket, because there are many. */
struct visits {
	uint64_t *v;
	uint32_t n, cap;
};

enum { AHEAD = 32, NEAR = 12 };
#define NEVER UINT64_MAX

_Static_assert((int)BUCKET_MAX <= (int)TRAIL_VALUE_MAX, "a bucket fits into the key");

struct brief {
	int64_t start_ms; /* as of split.times */
	uint64_t last;    /* latest return in the highest bucket so far, or NEVER */
};

struct retention {
	const struct plan *plan;
	struct split split; /* first start events */
	/* by person; what nearly all events look no further than is apart */
	struct brief *briefs;
	struct visits *visits;
	uint32_t n;
	struct buckets_near near; /* of the event before */
	/* at the end */
	struct split_series series;
	uint64_t *sizes; /* [series][cohort] */
	uint32_t **rows; /* [series][cohort]: persons who came back, from the cohort's
			    bucket on; NULL while the cohort is empty */
};

struct retention *retention_new(const struct plan *plan)
{
	struct retention *r = arena_zalloc(plan->a, sizeof(*r));

	if (!r)
		return NULL;
	r->plan = plan;
	split_init(&r->split, plan);
	return r;
}

static uint32_t bucket_of(uint64_t visit)
{
	return (uint32_t)visit & TRAIL_VALUE_MAX;
}

static bool make_room(struct retention *r, uint32_t person)
{
	uint32_t n = r->n * 2 > person ? r->n * 2 : person + 64;
	struct visits *v = arena_grow(r->plan->a, r->visits, r->n * sizeof(*v), n * sizeof(*v));
	struct brief *briefs;

	if (!v)
		return false;
	r->visits = v;
	memset(v + r->n, 0, (n - r->n) * sizeof(*v));
	briefs = arena_grow(r->plan->a, r->briefs, r->n * sizeof(*briefs), n * sizeof(*briefs));
	if (!briefs)
		return false;
	r->briefs = briefs;
	for (uint32_t i = r->n; i < n; i++)
		briefs[i] = (struct brief){INT64_MAX, NEVER};
	r->n = n;
	return true;
}

static bool put_aside(struct retention *r, struct visits *of, uint64_t visit)
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

/* The bucket has its return: which is later? */
static void keep_later(uint64_t *known, uint64_t visit)
{
	/* the bucket is the same, so this compares times */
	if (visit > *known)
		*known = visit;
}

/* A return in another bucket than the last one: an earlier one hardly ever, because segments
 * come roughly in the order of time. */
static bool change_bucket(struct retention *r, uint32_t person, uint64_t visit)
{
	struct visits *of = &r->visits[person];
	uint64_t *last = &r->briefs[person].last, before = *last;
	uint32_t i = 0;

	if (before == NEVER || bucket_of(before) < bucket_of(visit)) {
		*last = visit;
		return before == NEVER || put_aside(r, of, before);
	}
	while (i < of->n && bucket_of(of->v[i]) != bucket_of(visit))
		i++;
	if (i == of->n)
		return put_aside(r, of, visit);
	keep_later(&of->v[i], visit);
	return true;
}

/* No window has more than some hundreds of buckets (0.6). */
static bool came_back(struct retention *r, uint32_t person, int64_t time_ms)
{
	uint32_t bucket = buckets_find_near(&r->plan->buckets, &r->near, time_ms);
	uint64_t visit = (uint64_t)(time_ms - r->plan->from_ms) << TRAIL_VALUE_BITS | bucket;

	uint64_t *last = &r->briefs[person].last;

	if (*last == NEVER || bucket_of(*last) != bucket)
		return change_bucket(r, person, visit);
	keep_later(last, visit);
	return true;
}

/* A start event: the first one makes the cohort. */
static bool started(struct retention *r, const struct frame *f, uint32_t row, uint32_t person)
{
	uint64_t id[2];

	if (f->batch->times[row] > r->briefs[person].start_ms)
		return true;
	trail_id(id, f->batch->ids, row);
	if (!split_see(&r->split, f, row, person, id))
		return false;
	r->briefs[person].start_ms = r->split.times[person];
	return true;
}

static uint32_t person_at(const struct frame *f, uint32_t row)
{
	return row < f->batch->n ? f->persons[f->batch->distinct.codes[row]] : UINT32_MAX;
}

/* Asks for what retention_fold() needs in some rounds. */
static void fetch(const struct retention *r, const struct frame *f, uint32_t row)
{
	uint32_t person = person_at(f, row + AHEAD);

	if (person < r->n)
		__builtin_prefetch(&r->briefs[person]);
	person = person_at(f, row + NEAR);
	if (person < r->n && bucket_of(r->briefs[person].last) != r->near.bucket)
		__builtin_prefetch(&r->visits[person]);
}

bool retention_fold(struct retention *r, const struct frame *f)
{
	const struct batch *b = f->batch;
	const uint8_t *start = f->match[0], *back = f->match[r->plan->n_events - 1];
	bool consented = r->plan->events[0].consented;

	if (!split_frame(&r->split, f))
		return false;
	for (uint32_t i = 0; i < b->n; i++) {
		uint32_t person = f->persons[b->distinct.codes[i]];

		fetch(r, f, i);
		if (!(start[i] | back[i]) || (consented && !frame_consented(f, i)))
			continue;
		if (person >= r->n && !make_room(r, person))
			return false;
		if (start[i] && !started(r, f, i, person))
			return false;
		if (back[i] && !came_back(r, person, b->times[i]))
			return false;
	}
	return true;
}

/* ---- the answer ---- */

static bool find_series(struct retention *r)
{
	uint64_t *persons = arena_array(r->plan->a, r->split.tuples.n + 1, sizeof(*persons));

	for (uint32_t i = 0; persons && i < r->split.n; i++)
		if (split_tuple(&r->split, i) != PLAN_NONE)
			persons[split_tuple(&r->split, i)]++;
	return persons && split_rank(&r->split, persons, persons, &r->series);
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

static bool make_cohorts(struct retention *r)
{
	size_t cells = (size_t)r->series.n * r->plan->buckets.n + 1;

	r->sizes = arena_array(r->plan->a, cells, sizeof(*r->sizes));
	r->rows = arena_array(r->plan->a, cells, sizeof(uint32_t *));
	if (!r->sizes || !r->rows)
		return false;
	for (uint32_t i = 0; i < r->split.n; i++) {
		uint32_t cohort;
		int64_t at = cell_of(r, i, &cohort);

		if (watch_due(i))
			return false;
		if (at < 0)
			continue;
		if (r->sizes[at]++ == 0)
			r->rows[at] = arena_array(
				r->plan->a, r->plan->buckets.n - cohort, sizeof(uint32_t));
		if (!r->rows[at])
			return false;
	}
	return true;
}

static bool count_visits(struct retention *r)
{
	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t cohort;
		int64_t at = cell_of(r, i, &cohort), start;

		if (watch_due(i))
			return false;
		if (at < 0 || r->briefs[i].last == NEVER)
			continue;
		start = r->split.times[i] - r->plan->from_ms;
		/* where clocks go back over midnight, a later time may lie in an earlier bucket */
		for (uint32_t k = 0; k <= r->visits[i].n; k++) {
			uint64_t visit = k ? r->visits[i].v[k - 1] : r->briefs[i].last;

			if ((int64_t)(visit >> TRAIL_VALUE_BITS) >= start &&
				bucket_of(visit) >= cohort)
				r->rows[at][bucket_of(visit) - cohort]++;
		}
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
		if (!put_points(r, cohorts++, i, r->rows[base + i]))
			return false;
	}
	return true;
}

bool retention_finish(struct retention *r, const struct retention_series **series, uint32_t *n)
{
	struct retention_series *out;

	if (!find_series(r) || !make_cohorts(r) || !count_visits(r))
		return false;
	out = arena_array(r->plan->a, r->series.n + 1, sizeof(*out));
	for (uint32_t i = 0; out && i < r->series.n; i++)
		if (watch_over() || !put_cohorts(r, i, &out[i]))
			return false;
	*series = out;
	*n = r->series.n;
	return out != NULL;
}
