/*
 * See prune.h. Events are put together row by row; every column has a cursor, so that a
 * segment with thousands of thin columns costs one look at each a row and no search.
 */
#include "worker/store/prune.h"
#include "worker/store/bytes.h"
#include "worker/store/encode.h"

/* A column on its way down the rows. */
struct walk {
	const struct evseg_part *part;
	struct column c;
	uint32_t next; /* of c.rows, where sparse */
};

struct source {
	const struct evseg *s;
	struct arena *a;
	const int64_t *times;
	const uint8_t *ids;
	struct walk kind, distinct, session, cookieless;
	struct walk *props;
	uint32_t n_props;
	struct evseg_overflow overflow;
	struct prop *found; /* of the row being read */
	uint32_t n_found, cap_found;
	uint8_t *spilled; /* of these, 1: it had no column, and gets none; NULL: none */
};

static bool open_walk(struct source *src, const struct evseg_part *part, struct walk *w)
{
	*w = (struct walk){.part = part};
	return !part || evseg_column(src->s, part, src->a, &w->c);
}

static bool open_fixed(struct source *src, enum part_kind kind, struct walk *w)
{
	return open_walk(src, evseg_find(src->s, kind, SCOPE_AUTO, STR("")), w);
}

static bool open_overflow(struct source *src)
{
	const struct evseg_part *part = evseg_find(src->s, PART_OVERFLOW, SCOPE_AUTO, STR(""));
	struct str raw;

	if (!part)
		return true;
	return evseg_unpack(part, src->a, &raw) && evseg_overflow_open(&src->overflow, raw);
}

/* All columns are open at once, and stay so: the encoder refers to their strings to the end. */
static bool open_source(struct source *src, const struct evseg *s, struct arena *a)
{
	*src = (struct source){.s = s, .a = a};
	src->props = arena_array(a, s->n_parts + 1, sizeof(*src->props));
	if (!src->props || !evseg_times(s, a, &src->times) || !evseg_ids(s, a, &src->ids) ||
		!open_fixed(src, PART_KIND, &src->kind) ||
		!open_fixed(src, PART_DISTINCT, &src->distinct) ||
		!open_fixed(src, PART_SESSION, &src->session) ||
		!open_fixed(src, PART_COOKIELESS, &src->cookieless))
		return false;
	for (uint32_t i = 0; i < s->n_parts; i++)
		if (s->parts[i].kind == PART_PROP &&
			!open_walk(src, &s->parts[i], &src->props[src->n_props++]))
			return false;
	return open_overflow(src);
}

/* The value at a row, which never goes back; NULL when missing. */
static const struct value *value_at(struct walk *w, uint32_t row)
{
	const struct column *c = &w->c;

	if (!w->part)
		return NULL;
	if (!c->sparse)
		return c->codes[row] ? &c->entries[c->codes[row] - 1] : NULL;
	while (w->next < c->n_present && c->rows[w->next] < row)
		w->next++;
	if (w->next == c->n_present || c->rows[w->next] != row)
		return NULL;
	return &c->entries[c->codes[w->next] - 1];
}

static bool add(struct source *src, const struct prop *p)
{
	if (src->n_found == src->cap_found) {
		uint32_t cap = src->cap_found ? src->cap_found * 2 : 256;
		struct prop *more = arena_grow(
			src->a, src->found, src->cap_found * sizeof(*more), cap * sizeof(*more));

		if (!more)
			return false;
		src->found = more;
		src->cap_found = cap;
	}
	src->found[src->n_found++] = *p;
	return true;
}

static bool take_overflow(struct source *src, uint32_t row)
{
	struct prop p;
	int more;

	while ((more = evseg_overflow_next(src->s, &src->overflow, row, &p)) > 0)
		if (!add(src, &p))
			return false;
	return more == 0;
}

/* What was in the overflow part stays there: the project's catalogue had no place for it (D82),
 * and a column would show it to filters. */
static bool take_props(struct source *src, uint32_t row)
{
	uint32_t n;

	src->n_found = 0;
	src->spilled = NULL;
	for (uint32_t i = 0; i < src->n_props; i++) {
		struct walk *w = &src->props[i];
		const struct value *v = value_at(w, row);

		if (v && !add(src, &(struct prop){w->part->key, w->part->scope, *v}))
			return false;
	}
	n = src->n_found;
	if (!take_overflow(src, row))
		return false;
	if (src->n_found == n)
		return true;
	src->spilled = arena_zalloc(src->a, src->n_found);
	if (src->spilled)
		memset(src->spilled + n, 1, src->n_found - n);
	return src->spilled != NULL;
}

/* An event each instead of one for all: of a session the encoder notes where its bytes are. */
static bool copy_event(struct source *src, uint32_t row, struct encoder *e)
{
	struct event *ev = arena_zalloc(src->a, sizeof(*ev));
	const struct value *kind = value_at(&src->kind, row);
	const struct value *distinct = value_at(&src->distinct, row);
	const struct value *session = value_at(&src->session, row);

	if (!ev || !kind || !distinct || !take_props(src, row))
		return false;
	memcpy(ev->id, src->ids + (size_t)row * 16, sizeof(ev->id));
	ev->time_ms = src->times[row];
	ev->kind = kind->s;
	ev->distinct_id = distinct->s;
	ev->has_session = session != NULL;
	if (session)
		memcpy(ev->session, session->s.p, sizeof(ev->session));
	ev->cookieless = value_at(&src->cookieless, row) != NULL;
	ev->props = src->found;
	ev->n_props = src->n_found;
	ev->excess = src->spilled;
	return encoder_add(e, ev);
}

/* tmin and tmax are those of what is left, which pugd verify holds the row against. Refused
 * positions go, too: the new blob has none. */
bool prune_events(const struct evseg *s, const uint8_t *drop, struct arena *a, struct pruned *out)
{
	struct encoder *e = encoder_new(a);
	struct source src;

	*out = (struct pruned){.tmin = INT64_MAX, .tmax = INT64_MIN};
	if (!e || !open_source(&src, s, a))
		return false;
	for (uint32_t i = 0; i < s->n; i++) {
		if (drop[i] || (s->masked && s->masked[i]))
			continue;
		if (!copy_event(&src, i, e))
			return false;
		out->tmin = src.times[i] < out->tmin ? src.times[i] : out->tmin;
		out->tmax = src.times[i] > out->tmax ? src.times[i] : out->tmax;
	}
	out->n = encoder_count(e);
	if (out->n == 0)
		return true;
	out->blob = encoder_finish(e);
	return out->blob.p != NULL;
}
