/*
 * See segmentation.h. An event that matches two of the listed ones counts once.
 */
#include "worker/insights/segmentation.h"

void segmentation_init(struct segmentation *s, const struct plan *plan)
{
	*s = (struct segmentation){.plan = plan, .users = {.a = plan->a}};
}

bool segmentation_fold(struct segmentation *s, const struct frame *f)
{
	const struct plan_event *first = &s->plan->events[0];
	const struct batch *b = f->batch;
	struct numbers numbers = {0};
	struct counted counted;

	if (tally_needs_users(first->agg) && !counted_make(&counted, &b->distinct, f->a))
		return false;
	if (first->number != PLAN_NONE && !numbers_make(&numbers, &b->props[first->number],
						  s->plan->need.props[first->number].class, f->a))
		return false;
	for (uint32_t i = 0; i < b->n; i++) {
		if (!frame_matches(f, i) || (first->consented && !frame_consented(f, i)))
			continue;
		s->tally.count++;
		if (tally_needs_users(first->agg)) {
			uint32_t code = b->distinct.codes[i];
			int fresh = counted_add(&counted, &s->users, 0, code, f->persons[code]);

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
