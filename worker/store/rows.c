/* See rows.h. */
#include "worker/store/rows.h"

static bool open_column(struct rows *o, enum part_kind kind, struct column *c, struct arena *a)
{
	const struct evseg_part *part = evseg_find(o->seg, kind, SCOPE_AUTO, STR(""));

	*c = (struct column){0};
	return !part || evseg_column(o->seg, part, a, c);
}

bool rows_open(struct rows *o, const struct evseg *seg, struct arena *a)
{
	const struct evseg_part *extra = evseg_find(seg, PART_OVERFLOW, SCOPE_AUTO, STR(""));

	*o = (struct rows){.seg = seg};
	o->props = arena_array(a, seg->n_parts + 1, sizeof(*o->props));
	o->found = arena_array(a, ROWS_PROPS_MAX, sizeof(*o->found));
	if (!o->props || !o->found || !evseg_times(seg, a, &o->times) ||
		!evseg_ids(seg, a, &o->ids) || !open_column(o, PART_KIND, &o->kind, a) ||
		!open_column(o, PART_DISTINCT, &o->distinct, a) ||
		!open_column(o, PART_SESSION, &o->session, a) ||
		!open_column(o, PART_COOKIELESS, &o->cookieless, a))
		return false;
	if (extra && (!evseg_unpack(extra, a, &o->overflow) ||
			     !evseg_overflow_index(seg, o->overflow, a, &o->spilled)))
		return false;
	for (uint32_t i = 0; i < seg->n_parts; i++)
		if (seg->parts[i].kind == PART_PROP &&
			!evseg_column(seg, &seg->parts[i], a, &o->props[i]))
			return false;
	return true;
}

/* Entries of a row that have no column, behind the n that have one; how many, -1 when malformed. */
static int add_overflow(struct rows *o, uint32_t row, uint32_t n)
{
	struct evseg_overflow entries;
	struct prop p;
	int found = 0, more = 0;

	if (!o->spilled)
		return 0;
	evseg_overflow_at(&entries, o->overflow, &o->spilled[row]);
	while ((more = evseg_overflow_next(o->seg, &entries, row, &p)) > 0)
		if (n + (uint32_t)found < ROWS_PROPS_MAX)
			o->found[n + (uint32_t)found++] = p;
	return more < 0 ? -1 : found;
}

/* o->props has a place for every part, so that both go by one number. */
static bool read_props(struct rows *o, uint32_t row, struct event *ev)
{
	struct prop *props = o->found;
	uint32_t n = 0;
	int more;

	for (uint32_t i = 0; i < o->seg->n_parts && n < ROWS_PROPS_MAX; i++) {
		const struct evseg_part *part = &o->seg->parts[i];
		const struct value *v;

		if (part->kind != PART_PROP)
			continue;
		v = column_value(&o->props[i], row);
		if (v)
			props[n++] = (struct prop){part->key, part->scope, *v};
	}
	more = add_overflow(o, row, n);
	if (more < 0)
		return false;
	n += (uint32_t)more;
	ev->props = props;
	ev->n_props = n;
	return true;
}

bool rows_read(struct rows *o, uint32_t row, struct event *ev)
{
	const struct value *kind = column_value(&o->kind, row);
	const struct value *distinct = column_value(&o->distinct, row);
	const struct value *session = column_value(&o->session, row);

	if (!kind || !distinct)
		return false;
	*ev = (struct event){.time_ms = o->times[row],
		.kind = kind->s,
		.distinct_id = distinct->s,
		.has_session = session != NULL,
		.cookieless = column_code(&o->cookieless, row) != 0};
	memcpy(ev->id, o->ids + (size_t)row * 16, 16);
	if (session)
		memcpy(ev->session, session->s.p, 16);
	return read_props(o, row, ev);
}
