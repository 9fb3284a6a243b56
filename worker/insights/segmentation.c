/*
 * See segmentation.h. An event that matches two of the listed ones counts once.
 */
#include "worker/insights/hits.h"
#include "worker/insights/segmentation.h"

void segmentation_init(struct segmentation *s, const struct plan *plan)
{
	*s = (struct segmentation){.plan = plan};
}

/* Events at some rows; with room for as many persons. */
static bool add(struct segmentation *s, const struct frame *f, const struct numbers *numbers,
	struct hits *h, uint32_t *persons)
{
	const struct plan_event *first = &s->plan->events[0];
	uint32_t n = first->consented ? hits_consented(f, h->rows, h->n) : h->n;

	s->tally.count += n;
	for (uint32_t k = 0; k < n && numbers->codes; k++) {
		uint32_t code = numbers->codes[h->rows[k]];

		if (numbers->has[code])
			tally_number(&s->tally, numbers->v[code]);
	}
	if (!tally_needs_users(first->agg))
		return true;
	hits_persons(f, h->rows, n, persons);
	if (!personset_add_all(&s->users, s->plan->a, persons, n))
		return false;
	s->tally.users = s->users.n;
	return true;
}

bool segmentation_fold(struct segmentation *s, const struct frame *f)
{
	uint32_t number = s->plan->events[0].number;
	const uint8_t *any = hits_any(f);
	struct numbers numbers = {0};
	struct hits *h = arena_alloc(f->a, sizeof(*h));
	uint32_t *persons = arena_alloc(f->a, HITS * sizeof(*persons));

	if (!any || !h || !persons ||
		(number != PLAN_NONE && !numbers_make(&numbers, &f->batch->props[number],
						s->plan->need.props[number].class, f->a)))
		return false;
	hits_begin(h, f, any);
	while (hits_next(h))
		if (!add(s, f, &numbers, h, persons))
			return false;
	return true;
}

double segmentation_total(const struct segmentation *s)
{
	return tally_value(&s->tally, s->plan->events[0].agg);
}
