/*
 * See segmentation.h. An event that matches two of the listed ones counts once.
 */
#include "worker/insights/segmentation.h"

void segmentation_init(struct segmentation *s, const struct plan *plan)
{
	*s = (struct segmentation){.plan = plan};
}

bool segmentation_fold(struct segmentation *s, const struct frame *f)
{
	const struct plan_event *first = &s->plan->events[0];
	const struct batch *b = f->batch;
	struct numbers numbers = {0};

	if (first->number != PLAN_NONE && !numbers_make(&numbers, &b->props[first->number],
						  s->plan->need.props[first->number].class, f->a))
		return false;
	for (uint32_t i = 0; i < b->n; i++) {
		if (!frame_matches(f, i) || (first->consented && !frame_consented(f, i)))
			continue;
		s->tally.count++;
		if (tally_needs_users(first->agg)) {
			int fresh = personset_add(
				&s->users, s->plan->a, f->persons[b->distinct.codes[i]]);

			if (fresh < 0)
				return false;
			s->tally.users += (uint64_t)fresh;
		}
		if (numbers.codes && numbers.has[numbers.codes[i]])
			tally_number(&s->tally, numbers.v[numbers.codes[i]]);
	}
	return true;
}

double segmentation_total(const struct segmentation *s)
{
	return tally_value(&s->tally, s->plan->events[0].agg);
}
