/* See roster.h. */
#include "worker/insights/roster.h"
#include "worker/insights/watch.h"

/* The latest event's property, or the trait. An empty text is a missing one, as everywhere
 * (insights-dashboards.md 1.1). */
static bool passes_filter(const struct roster *r, const struct filter *f, uint32_t person)
{
	struct value v = {.type = VALUE_STR};

	if (f->profile)
		return filter_test(f, people_get_trait(r->people, person, f->source));
	v.s = persons_text(&r->persons, person, f->source);
	return filter_test(f, v.s.n ? &v : NULL);
}

/* Without a condition anybody passes, whichever operator there is; so for groups. */
static bool passes_group(const struct roster *r, const struct plan_group *g, uint32_t person)
{
	bool pass = !g->any || g->n == 0;

	for (uint32_t i = 0; i < g->n && pass != g->any; i++)
		pass = passes_filter(r, &g->filters[i], person);
	return pass;
}

static bool passes(const struct roster *r, uint32_t person)
{
	const struct plan *p = r->persons.plan;
	bool pass = !p->any_person_group || p->n_person_groups == 0;

	for (uint32_t i = 0; i < p->n_person_groups && pass != p->any_person_group; i++)
		pass = passes_group(r, &p->person_groups[i], person);
	return pass;
}

/* Newest first, of equal times the greater id: total, so that a cursor names one place. */
static int order(int64_t a_us, struct str a_key, int64_t b_us, struct str b_key)
{
	if (a_us != b_us)
		return a_us > b_us ? -1 : 1;
	return str_cmp(b_key, a_key);
}

static int by_order(const void *x, const void *y, void *arg)
{
	const struct roster_entry *a = x, *b = y;

	(void)arg;
	return order(a->us, a->key, b->us, b->key);
}

/* False when that number is nobody of their own: an alias, or who has no event left. */
static bool is_person(const struct roster *r, uint32_t no, struct roster_entry *e)
{
	const struct people *people = r->people;

	if (people->person[no] != no)
		return false;
	*e = (struct roster_entry){.person = no,
		.key = people_key(people, no),
		.profile = people->rank[no] == RANK_PROFILE};
	if (e->profile) {
		e->us = no < people->cap_dates ? people->dates[no] : 0;
		return true;
	}
	e->us = persons_get(&r->persons, no).first_ms * 1000;
	return persons_get(&r->persons, no).total > 0;
}

/* What one person costs: filters are as many as a call has memory for. */
static uint64_t count_filters(const struct plan *p)
{
	uint64_t n = 1;

	for (uint32_t i = 0; i < p->n_person_groups; i++)
		n += p->person_groups[i].n;
	return n;
}

/* Only now all ids have been met that no profile names: people->n grows with the events. */
bool roster_finish(struct roster *r)
{
	struct roster_entry *all = arena_array(r->persons.a, r->people->n + 1, sizeof(*all)), e;
	uint64_t each = count_filters(r->persons.plan), work = 0;
	uint32_t n = 0;

	if (!all)
		return false;
	for (uint32_t no = 0; no < r->people->n; no++) {
		work += each;
		if (work >= WATCH_EVERY) {
			if (watch_over())
				return false;
			work = 0;
		}
		if (!is_person(r, no, &e))
			continue;
		if (r->has_cursor && order(e.us, e.key, r->cursor_us, r->cursor_key) <= 0)
			continue;
		if (passes(r, no))
			all[n++] = e;
	}
	if (!watch_sort(r->persons.a, all, n, sizeof(*all), by_order, NULL))
		return false;
	r->v = all;
	r->n = n < r->want ? n : r->want;
	r->more = n > r->want;
	return true;
}
