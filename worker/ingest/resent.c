/* See resent.h. */
#include <stdlib.h>
#include "worker/ingest/resent.h"

struct pick {
	int32_t day, number;
};

static int by_day(const void *x, const void *y)
{
	const struct pick *a = x, *b = y;

	if (a->day != b->day)
		return a->day < b->day ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

/* Numbers by day and otherwise ascending. Mostly they are. Ids lie by (project, day), so only
 * the days of several projects mix. */
static bool sort_by_day(const struct group *g, int32_t *numbers, int n)
{
	struct pick *v = arena_array(g->a, (size_t)n + 1, sizeof(*v));
	bool sorted = true;

	if (!v)
		return false;
	for (int i = 0; i < n; i++) {
		v[i] = (struct pick){g->ids.day.v[numbers[i] - 1], numbers[i]};
		sorted = sorted && (i == 0 || v[i].day >= v[i - 1].day);
	}
	if (sorted)
		return true;
	qsort(v, (size_t)n, sizeof(*v), by_day);
	for (int i = 0; i < n; i++)
		numbers[i] = v[i].number;
	return true;
}

/* Each project once, with the first of its days: they are in this order. Of all its ids, not
 * only of those asked for: if that day is within the retention all are, and if not,
 * events_known() knows nothing and leaves it to the claim. */
static bool first_days(const struct group *g, struct q_events_known_args *args)
{
	int32_t *projects = arena_array(g->a, g->n_shares + 1, sizeof(*projects));
	int32_t *days = arena_array(g->a, g->n_shares + 1, sizeof(*days));
	int n = 0;

	if (!projects || !days)
		return false;
	for (int i = 0; i < g->ids.id.n; i++) {
		if (i > 0 && g->ids.project.v[i] == g->ids.project.v[i - 1])
			continue;
		projects[n] = g->ids.project.v[i];
		days[n++] = g->ids.day.v[i];
	}
	args->b_project = (struct db_int4s){projects, n};
	args->b_day = (struct db_int4s){days, n};
	return true;
}

/* pasts: the statement takes the ids of a day as a slice that ends there, counted from 1. */
bool resent_pick(const struct group *g, int32_t *numbers, int n, struct q_events_known_args *args)
{
	int32_t *days = arena_array(g->a, (size_t)n + 1, sizeof(*days));
	int32_t *pasts = arena_array(g->a, (size_t)n + 1, sizeof(*pasts));
	int32_t *project = arena_array(g->a, (size_t)n + 1, sizeof(*project));
	uint8_t *id = arena_array(g->a, (size_t)n + 1, 16);
	int n_days = 0;

	if (!days || !pasts || !project || !id || !sort_by_day(g, numbers, n) ||
		!first_days(g, args))
		return false;
	for (int i = 0; i < n; i++) {
		int32_t no = numbers[i] - 1;

		if (i == 0 || g->ids.day.v[no] != days[n_days - 1])
			days[n_days++] = g->ids.day.v[no];
		pasts[n_days - 1] = i + 1;
		project[i] = g->ids.project.v[no];
		memcpy(id + (size_t)i * 16, g->ids.id.v + (size_t)no * 16, 16);
	}
	args->project = (struct db_int4s){project, n};
	args->id = (struct db_uuids){id, n};
	args->day = (struct db_int4s){days, n_days};
	args->past = (struct db_int4s){pasts, n_days};
	return true;
}
