/* See split.h. */
#include "worker/insights/split.h"
#include "worker/insights/watch.h"

void split_init(struct split *s, const struct plan *plan)
{
	*s = (struct split){.plan = plan};
	intern_init(&s->texts, plan->a);
	intern_init(&s->tuples, plan->a);
}

/* A frame is one source of edges: of its events of one time the later row is the later event
 * (edge.h). */
bool split_frame(struct split *s, const struct frame *f)
{
	s->source++;
	for (uint32_t k = 0; k < s->plan->n_breakdowns; k++) {
		uint32_t prop = s->plan->breakdowns[k];

		if (!codes_init(&s->columns[k], &s->texts, &f->batch->props[prop],
			    s->plan->need.props[prop].class, f->a))
			return false;
	}
	return true;
}

static bool make_room(struct split *s, uint32_t person)
{
	uint32_t n = s->n * 2 > person ? s->n * 2 : person + 64;
	struct edge *v = arena_grow(s->plan->a, s->firsts, s->n * sizeof(*v), n * sizeof(*v));
	int64_t *times;

	if (!v)
		return false;
	s->firsts = v;
	times = arena_grow(s->plan->a, s->times, s->n * sizeof(*times), n * sizeof(*times));
	if (!times)
		return false;
	s->times = times;
	for (uint32_t i = s->n; i < n; i++) {
		v[i] = (struct edge){.tuple = PLAN_NONE};
		times[i] = INT64_MAX;
	}
	s->n = n;
	return true;
}

bool split_see(struct split *s, const struct frame *f, uint32_t row, uint32_t person)
{
	uint32_t key[PLAN_BREAKDOWNS_MAX] = {0}, tuple;
	int64_t time_ms = f->batch->times[row];
	struct edge edge;
	uint64_t id[2];

	if (person >= s->n && !make_room(s, person))
		return false;
	if (time_ms > s->times[person])
		return true;
	for (uint32_t k = 0; k < s->plan->n_breakdowns; k++) {
		key[k] = codes_at(&s->columns[k], row);
		if (key[k] == INTERN_FULL)
			return false;
	}
	/* without breakdowns all have the first one */
	tuple = 0;
	if (s->plan->n_breakdowns > 0 || s->tuples.n == 0)
		tuple = intern_add(&s->tuples,
			(struct str){(const char *)key, s->plan->n_breakdowns * sizeof(key[0])});
	edge = edge_of(batch_id(f->batch, row, id), s->source, tuple);
	if (time_ms == s->times[person])
		edge_meet(&s->firsts[person], &edge, false);
	else
		s->firsts[person] = edge;
	s->times[person] = time_ms;
	return tuple != INTERN_FULL;
}

uint32_t split_tuple(const struct split *s, uint32_t person)
{
	return person < s->n ? s->firsts[person].tuple : PLAN_NONE;
}

/* ---- series ---- */

struct order {
	const struct split *s;
	const uint64_t *weights;
};

static struct str text_of(const struct split *s, uint32_t tuple, uint32_t k)
{
	uint32_t no;

	memcpy(&no, s->tuples.strings[tuple].p + k * sizeof(no), sizeof(no));
	return s->texts.strings[no];
}

/* By text, never by number: numbers depend on the order in which segments came. */
static int by_tuple(const void *x, const void *y, void *arg)
{
	const struct split *s = ((const struct order *)arg)->s;
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
	int order = 0;

	for (uint32_t k = 0; order == 0 && k < s->plan->n_breakdowns; k++)
		order = str_cmp(text_of(s, a, k), text_of(s, b, k));
	return order;
}

static int by_weight(const void *x, const void *y, void *arg)
{
	const uint64_t *weights = ((const struct order *)arg)->weights;
	uint64_t a = weights[*(const uint32_t *)x], b = weights[*(const uint32_t *)y];

	return a != b ? (a > b ? -1 : 1) : by_tuple(x, y, arg);
}

/* Of $others, PLAN_NONE, every breakdown has that text (insights-dashboards.md 1.3). */
static const struct str *values_of(const struct split *s, uint32_t tuple)
{
	struct str *v = arena_array(s->plan->a, s->plan->n_breakdowns + 1, sizeof(*v));

	for (uint32_t k = 0; v && k < s->plan->n_breakdowns; k++)
		v[k] = tuple == PLAN_NONE ? STR("$others") : text_of(s, tuple, k);
	return v;
}

bool split_rank(
	struct split *s, const uint64_t *weights, const uint64_t *persons, struct split_series *out)
{
	uint32_t n = s->tuples.n, found = 0, kept;
	uint32_t *list = arena_array(s->plan->a, n + 1, sizeof(*list));
	uint32_t *of = arena_array(s->plan->a, n + 1, sizeof(*of));
	const struct str **values =
		arena_array(s->plan->a, s->plan->limit + 1, sizeof(struct str *));
	struct order order = {s, weights};

	if (!list || !of || !values)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		of[i] = PLAN_NONE;
		/* a tuple may have been somebody's first only until an earlier event came */
		if (persons[i])
			list[found++] = i;
	}
	kept = found < s->plan->limit ? found : s->plan->limit;
	/* rank tells which are kept; these are answered by tuple */
	if (!watch_sort(s->plan->a, list, found, sizeof(*list), by_weight, &order) ||
		!watch_sort(s->plan->a, list, kept, sizeof(*list), by_tuple, &order))
		return false;
	for (uint32_t i = 0; i < found; i++)
		of[list[i]] = i < kept ? i : kept;
	/* one more than is kept is all the others */
	for (uint32_t i = 0; i <= kept && i < found; i++) {
		values[i] = values_of(s, i < kept ? list[i] : PLAN_NONE);
		if (!values[i])
			return false;
	}
	*out = (struct split_series){found > kept ? kept + 1 : kept, of, values};
	return true;
}
