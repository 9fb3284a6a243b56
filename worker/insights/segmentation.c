/*
 * See segmentation.h. An event that matches two of the listed ones counts once. Whose cookieless
 * events count is the first one's to say, as the aggregation is (D31).
 */
#include "worker/insights/hits.h"
#include "worker/insights/segmentation.h"

void segmentation_init(struct segmentation *s, const struct plan *plan)
{
	*s = (struct segmentation){.plan = plan};
}

bool segmentation_fold(struct segmentation *s, const struct frame *f)
{
	const struct plan_event *first = &s->plan->events[0];
	const uint8_t *any = hits_any(f);
	const uint32_t *ids, *codes;
	struct numbers numbers;
	struct picked p;

	if (!any || !hits_pick(&p, f, any, first->consented))
		return false;
	s->people = f->people;
	s->tally.count += p.n;
	if (tally_needs_users(first->agg)) {
		ids = hits_ids(&p);
		return ids && marks_reserve(&s->marks, s->plan->a, hits_ids_end(f)) &&
		       personset_add_marked(&s->users, s->plan->a, &s->marks, ids, p.n);
	}
	if (first->number == PLAN_NONE)
		return true;
	if (!numbers_make(&numbers, &f->batch->props[first->number],
		    s->plan->need.props[first->number].class, f->a))
		return false;
	codes = hits_column(&p, numbers.codes);
	for (uint32_t k = 0; codes && k < p.n; k++)
		if (numbers.has[codes[k]])
			tally_number(&s->tally, numbers.v[codes[k]]);
	return codes != NULL;
}

void segmentation_finish(struct segmentation *s)
{
	if (s->users.n)
		s->tally.users = personset_count(&s->users, &s->marks, hits_id_map(s->people));
}

double segmentation_total(const struct segmentation *s)
{
	return tally_value(&s->tally, s->plan->events[0].agg);
}
