/*
 * Segment to batch; see batch.h.
 */
#include "worker/store/batch.h"

static bool load_column(struct batch_column *out, const struct evseg *s, enum part_kind kind,
	const struct prop_ref *ref, struct arena *a)
{
	const struct evseg_part *part =
		evseg_find(s, kind, ref ? ref->scope : SCOPE_AUTO, ref ? ref->key : STR(""));
	struct column c = {0};
	uint32_t *codes;

	if (part && !evseg_column(s, part, a, &c))
		return false;
	*out = (struct batch_column){c.codes, c.entries, c.n_entries};
	if (part && !c.sparse)
		return true;
	codes = arena_array(a, s->n, sizeof(*codes));
	if (!codes)
		return false;
	if (part)
		column_spread(&c, codes);
	out->codes = codes;
	return true;
}

bool batch_load(
	struct batch *b, const struct evseg *s, const struct batch_need *need, struct arena *a)
{
	*b = (struct batch){.n = s->n, .masked = s->masked};
	if (!evseg_times(s, a, &b->times) || !load_column(&b->kind, s, PART_KIND, NULL, a))
		return false;
	if (need->distinct && !load_column(&b->distinct, s, PART_DISTINCT, NULL, a))
		return false;
	if (need->session && !load_column(&b->session, s, PART_SESSION, NULL, a))
		return false;
	if (need->ids && !evseg_ids(s, a, &b->ids))
		return false;
	b->props = arena_array(a, need->n_props + 1, sizeof(*b->props));
	if (!b->props)
		return false;
	for (uint32_t i = 0; i < need->n_props; i++)
		if (!load_column(&b->props[i], s, PART_PROP, &need->props[i], a))
			return false;
	return true;
}
