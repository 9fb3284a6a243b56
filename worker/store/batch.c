/*
 * Segment to batch; see batch.h.
 */
#include "worker/store/batch.h"

#include "worker/store/numbers.h"

static bool load_column(struct batch_column *out, const struct evseg *s, enum part_kind kind,
	const struct prop_ref *ref, struct arena *a)
{
	const struct evseg_part *part =
		evseg_find(s, kind, ref ? ref->scope : SCOPE_AUTO, ref ? ref->key : STR(""));
	struct column c = {0};
	uint32_t *codes;

	if (part && kind == PART_SESSION && !evseg_uuids(s, part, a, &c))
		return false;
	if (part && kind != PART_SESSION && !evseg_column(s, part, a, &c))
		return false;
	*out = (struct batch_column){c.codes, c.entries, c.uuids, c.n_entries};
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

/* Codes of events of one kind: the same for all segments. */
static const uint32_t ones[EVSEG_EVENTS_MAX] = {[0 ... EVSEG_EVENTS_MAX - 1] = 1};

/* What every event has, by the row of the segment. */
static bool one_kind(struct batch *b, const struct evseg *s, struct arena *a)
{
	struct value *entry = arena_alloc(a, sizeof(*entry));

	if (!entry || s->n > EVSEG_EVENTS_MAX)
		return false;
	*entry = (struct value){.type = VALUE_STR, .s = s->kind};
	b->kind = (struct batch_column){.codes = ones, .entries = entry, .n_entries = 1};
	b->one_kind = true;
	return true;
}

static bool load_kind(struct batch *b, const struct evseg *s, struct arena *a)
{
	if (s->kind.n > 0 && !evseg_find(s, PART_KIND, SCOPE_AUTO, STR("")))
		return one_kind(b, s, a);
	return load_column(&b->kind, s, PART_KIND, NULL, a);
}

static bool load_times(struct batch *b, const struct evseg *s, struct arena *a)
{
	int64_t *time;

	b->flat = s->flat && !evseg_find(s, PART_TIME, SCOPE_AUTO, STR(""));
	if (!b->flat)
		return evseg_times(s, a, &b->times);
	time = arena_alloc(a, sizeof(*time));
	if (time)
		*time = s->flat_ms;
	b->times = time;
	return time != NULL;
}

/* The inbox, and segments that got no numbers yet, come by text even where numbers will do:
 * b->numbered tells which. frame_make() holds the greatest number against those of the people. */
static bool load_distinct(
	struct batch *b, const struct evseg *s, const struct batch_need *need, struct arena *a)
{
	uint32_t worst = 0;

	if (!need->numbers || !evseg_find(s, PART_NUMBER, SCOPE_AUTO, STR("")))
		return load_column(&b->distinct, s, PART_DISTINCT, NULL, a);
	if (!numbers_read(s, a, &b->distinct.codes, &worst))
		return false;
	b->distinct.n_entries = worst;
	b->numbered = true;
	return !need->texts || load_column(&b->texts, s, PART_DISTINCT, NULL, a);
}

static bool load_ties(struct batch *b, const struct evseg *s, struct arena *a)
{
	uint8_t *tied;

	if (!ties_read(s, a, &b->ties))
		return false;
	if (b->ties.n == 0)
		return true;
	tied = arena_zalloc(a, (size_t)s->n / 8 + 1);
	for (uint32_t i = 0; tied && i < b->ties.n; i++)
		tied[b->ties.rows[i] / 8] |= (uint8_t)(1 << b->ties.rows[i] % 8);
	b->tied = tied;
	return tied != NULL;
}

const uint8_t *batch_tie(const struct batch *b, uint32_t row)
{
	uint32_t low = 0, high = b->ties.n;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (b->ties.rows[middle] <= row)
			low = middle;
		else
			high = middle;
	}
	return b->ties.ids + (size_t)low * 16;
}

bool batch_load(
	struct batch *b, const struct evseg *s, const struct batch_need *need, struct arena *a)
{
	/* level 0 has its rows in the order in which they were added */
	bool ids = need->ids || (need->order && s->id == 0);

	*b = (struct batch){.id = s->id, .n = s->n, .masked = s->masked, .ordered = s->id != 0};
	if (!load_times(b, s, a) || !load_kind(b, s, a))
		return false;
	if (need->distinct && !load_distinct(b, s, need, a))
		return false;
	if (need->session && !load_column(&b->session, s, PART_SESSION, NULL, a))
		return false;
	if (ids ? !evseg_ids(s, a, &b->ids) : need->order && !load_ties(b, s, a))
		return false;
	b->props = arena_array(a, need->n_props + 1, sizeof(*b->props));
	if (!b->props)
		return false;
	for (uint32_t i = 0; i < need->n_props; i++)
		if (!load_column(&b->props[i], s, PART_PROP, &need->props[i], a))
			return false;
	return true;
}
