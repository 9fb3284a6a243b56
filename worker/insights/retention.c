/*
 * See retention.h. Of a person's returns only the latest in each bucket is kept: one
 * of them was at or after the start if, and only if, the latest was. So memory goes
 * with persons and buckets, not with events.
 */
#include "worker/insights/retention.h"
#include "worker/insights/split.h"
#include "worker/insights/trail.h"

/* The latest return of one person in one bucket. */
struct visit {
	uint32_t person, bucket;
	int64_t time_ms;
	bool used;
};

struct retention {
	const struct plan *plan;
	struct split split;   /* first start events */
	struct visit *visits; /* open addressing */
	uint64_t mask, n_visits;
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

static struct visit *find(const struct retention *r, uint32_t person, uint32_t bucket)
{
	uint64_t h = ((uint64_t)bucket << 32 | person) * 0x9e3779b97f4a7c15u, k;

	for (k = (h ^ h >> 32) & r->mask; r->visits[k].used; k = (k + 1) & r->mask)
		if (r->visits[k].person == person && r->visits[k].bucket == bucket)
			break;
	return &r->visits[k];
}

static bool grow(struct retention *r)
{
	uint64_t size = r->visits ? (r->mask + 1) * 2 : 1024, n = r->visits ? r->mask + 1 : 0;
	struct visit *old = r->visits, *v = arena_array(r->plan->a, size, sizeof(*v));

	if (!v)
		return false;
	r->visits = v;
	r->mask = size - 1;
	for (uint64_t i = 0; i < n; i++)
		if (old[i].used)
			*find(r, old[i].person, old[i].bucket) = old[i];
	return true;
}

static bool came_back(struct retention *r, uint32_t person, int64_t time_ms)
{
	uint32_t bucket = buckets_find(&r->plan->buckets, time_ms);
	struct visit *v;

	if ((!r->visits || r->n_visits * 2 > r->mask) && !grow(r))
		return false;
	v = find(r, person, bucket);
	if (!v->used) {
		*v = (struct visit){person, bucket, time_ms, true};
		r->n_visits++;
	} else if (time_ms > v->time_ms) {
		v->time_ms = time_ms;
	}
	return true;
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
		uint64_t id[2];

		if (!(start[i] | back[i]) || (consented && !frame_consented(f, i)))
			continue;
		trail_id(id, b->ids, i);
		if (start[i] && !split_see(&r->split, f, i, person, id))
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
	*cohort = buckets_find(&r->plan->buckets, r->split.firsts[person].time_ms);
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

static void count_visits(struct retention *r)
{
	for (uint64_t i = 0; r->visits && i <= r->mask; i++) {
		const struct visit *v = &r->visits[i];
		uint32_t cohort;
		int64_t at = v->used ? cell_of(r, v->person, &cohort) : -1;

		/* where clocks go back over midnight, a later time may lie in an earlier bucket */
		if (at >= 0 && v->time_ms >= r->split.firsts[v->person].time_ms &&
			v->bucket >= cohort)
			r->rows[at][v->bucket - cohort]++;
	}
}

/* The cohort's own bucket always, others where somebody came back (D33). */
static bool put_points(const struct retention *r, struct retention_cohort *out, uint32_t cohort,
	const uint32_t *row)
{
	const struct buckets *b = &r->plan->buckets;
	struct retention_point *points;
	uint32_t n = 1;

	for (uint32_t i = 1; i < b->n - cohort; i++)
		n += row[i] > 0;
	points = arena_array(r->plan->a, n, sizeof(*points));
	if (!points)
		return false;
	out->points = points;
	for (uint32_t i = 0; i < b->n - cohort; i++)
		if (i == 0 || row[i])
			points[out->n_points++] = (struct retention_point){
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

	if (!find_series(r) || !make_cohorts(r))
		return false;
	count_visits(r);
	out = arena_array(r->plan->a, r->series.n + 1, sizeof(*out));
	for (uint32_t i = 0; out && i < r->series.n; i++)
		if (!put_cohorts(r, i, &out[i]))
			return false;
	*series = out;
	*n = r->series.n;
	return out != NULL;
}
