/* See tombs.h. Ids are looked up once per dictionary entry, and only in segments that are
 * old enough. */
#include "worker/store/tombs.h"

void tombs_init(struct tombs *t, struct arena *a)
{
	*t = (struct tombs){.highest = INT64_MIN};
	intern_init(&t->ids, a);
}

static bool grow(struct tombs *t)
{
	struct arena *a = t->ids.a;
	uint32_t cap = t->cap ? t->cap * 2 : 64;

	if (t->n == t->cap) {
		struct tomb *v = arena_grow(a, t->v, t->cap * sizeof(*v), cap * sizeof(*v));

		if (!v)
			return false;
		t->v = v;
		t->cap = cap;
	}
	if (t->ids.n > t->cap_ids) {
		/* an id has a tomb at least, so there are never more ids than tombs */
		uint32_t *first = arena_array(a, t->cap, sizeof(*first));
		uint32_t *last = arena_array(a, t->cap, sizeof(*last));

		if (!first || !last)
			return false;
		if (t->cap_ids) {
			memcpy(first, t->first, t->cap_ids * sizeof(*first));
			memcpy(last, t->last, t->cap_ids * sizeof(*last));
		}
		t->first = first;
		t->last = last;
		t->cap_ids = t->cap;
	}
	return true;
}

bool tombs_add(struct tombs *t, struct str id, int64_t high, uint32_t owner)
{
	uint32_t before = t->ids.n, no = intern_add(&t->ids, id);

	if (no == INTERN_FULL || !grow(t))
		return false;
	if (no == before)
		t->first[no] = t->n;
	else
		t->v[t->last[no]].next = t->n + 1;
	t->last[no] = t->n;
	t->v[t->n++] = (struct tomb){.high = high, .owner = owner};
	if (high > t->highest)
		t->highest = high;
	return true;
}

/* Ascending, so the first that is greater is the earliest: its erasure removes the event. */
uint32_t tombs_find(const struct tombs *t, struct str id, int64_t place)
{
	uint32_t no = intern_find(&t->ids, id);

	if (no == INTERN_FULL)
		return TOMB_NONE;
	for (uint32_t at = t->first[no] + 1; at; at = t->v[at - 1].next)
		if (place < t->v[at - 1].high)
			return t->v[at - 1].owner;
	return TOMB_NONE;
}

/* A segment without the column hides nobody: who reads some columns only asks for it as soon as
 * there are tombs (reader_wanted()), and gives up where it is missing. */
bool tombs_owners(const struct tombs *t, const struct evseg *s, int64_t place, struct arena *a,
	const uint32_t **owners)
{
	const struct evseg_part *part = evseg_find(s, PART_DISTINCT, SCOPE_AUTO, STR(""));
	struct column c;
	uint32_t *of_code, *rows;
	bool any = false;

	*owners = NULL;
	if (t->n == 0 || place >= t->highest || !part)
		return true;
	if (!evseg_column(s, part, a, &c))
		return false;
	of_code = arena_array(a, c.n_entries + 1, sizeof(*of_code));
	if (!of_code)
		return false;
	of_code[0] = TOMB_NONE;
	for (uint32_t i = 0; i < c.n_entries; i++) {
		of_code[i + 1] = tombs_find(t, c.entries[i].s, place);
		any |= of_code[i + 1] != TOMB_NONE;
	}
	if (!any)
		return true;
	rows = arena_array(a, s->n, sizeof(*rows));
	if (!rows)
		return false;
	column_spread(&c, rows);
	for (uint32_t i = 0; i < s->n; i++)
		rows[i] = of_code[rows[i]];
	*owners = rows;
	return true;
}

bool tombs_mask(const struct tombs *t, struct evseg *s, int64_t place, struct arena *a)
{
	const uint32_t *owners;
	uint8_t *masked;

	if (!tombs_owners(t, s, place, a, &owners))
		return false;
	if (!owners)
		return true;
	masked = arena_zalloc(a, s->n);
	if (!masked)
		return false;
	for (uint32_t i = 0; i < s->n; i++)
		masked[i] = owners[i] != TOMB_NONE || (s->masked && s->masked[i]);
	s->masked = masked;
	return true;
}
