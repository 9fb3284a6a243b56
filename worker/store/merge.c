/*
 * See merge.h. This file: which rows there are, in which order, and which of them make
 * a segment together.
 */
#include <stdlib.h>

#include "worker/store/merge_internal.h"

enum { DAY_MS = 86400000, NO_CODE = 0 };

static bool fail(struct merge *m, enum merge_end end)
{
	m->end = end;
	return false;
}

/* What a reader of stored bytes said: they are broken, unless an arena was full. What fails for
 * memory is tried again with fewer sources (rewrite.c). */
static bool fail_reading(struct merge *m)
{
	return fail(m, m->a->over || m->scratch->over ? MERGE_MEMORY : MERGE_BROKEN);
}

static int32_t day_of(int64_t ms)
{
	return (int32_t)(ms / DAY_MS - (ms % DAY_MS < 0));
}

/* ---- rows ---- */

/* Numbers of the kinds of a source, by code. */
static bool read_kinds(struct merge *m, const struct evseg *s, struct column *c, uint32_t **numbers)
{
	const struct evseg_part *part = evseg_find(s, PART_KIND, SCOPE_AUTO, STR(""));

	if (!part || !evseg_column(s, part, m->scratch, c))
		return fail_reading(m);
	*numbers = arena_array(m->scratch, c->n_entries + 1, sizeof(**numbers));
	if (!*numbers)
		return fail(m, MERGE_MEMORY);
	for (uint32_t i = 0; i < c->n_entries; i++) {
		(*numbers)[i + 1] = intern_add(&m->kinds, c->entries[i].s);
		if ((*numbers)[i + 1] == INTERN_FULL)
			return fail(m, MERGE_MEMORY);
	}
	return true;
}

/* Ids stay, for rows point to them until the end; times and codes go with the next source. */
static bool read_rows(struct merge *m, uint32_t no)
{
	const struct evseg *s = &m->src[no];
	const int64_t *times;
	const uint8_t *ids;
	uint32_t *numbers;
	struct column kind;

	arena_reset(m->scratch);
	if (!evseg_times(s, m->scratch, &times) || !evseg_ids(s, m->a, &ids))
		return fail_reading(m);
	if (!read_kinds(m, s, &kind, &numbers))
		return false;
	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t code = column_code(&kind, i);

		if (s->masked && s->masked[i])
			continue;
		if (code == NO_CODE)
			return fail(m, MERGE_BROKEN);
		m->rows[m->n_rows++] = (struct merge_row){.time = times[i],
			.id = ids + (size_t)i * 16,
			.src = no,
			.row = i,
			.kind = numbers[code],
			.day = day_of(times[i])};
	}
	return true;
}

/* Of one project and day no two rows have the same id (D20), so that the order is one, however
 * qsort() gets there: verify and kernels rely on (time, id). */
static int by_place(const void *x, const void *y)
{
	const struct merge_row *a = x, *b = y;

	if (a->day != b->day)
		return a->day < b->day ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return memcmp(a->id, b->id, 16);
}

/* The end of the run of rows of one day and kind that starts at `at`. */
static uint32_t run_end(const struct merge *m, uint32_t at)
{
	uint32_t i = at + 1;

	while (i < m->n_rows && m->rows[i].day == m->rows[at].day &&
		m->rows[i].kind == m->rows[at].kind)
		i++;
	return i;
}

/* Marks the rows of rare kinds of one day, [first, end), where there are several such. One alone
 * would share a segment with nobody, and lose that its row says the kind. */
static bool share_day(struct merge *m, uint32_t first, uint32_t end)
{
	uint32_t rare = 0, next;

	for (uint32_t i = first; i < end; i = next) {
		next = run_end(m, i);
		rare += next - i < MERGE_SHARED_BELOW;
	}
	if (rare < 2)
		return false;
	for (uint32_t i = first; i < end; i = next) {
		next = run_end(m, i);
		for (uint32_t k = i; k < next && next - i < MERGE_SHARED_BELOW; k++)
			m->rows[k].kind = MERGE_SHARED;
	}
	return true;
}

static void share(struct merge *m)
{
	bool changed = false;
	uint32_t end;

	for (uint32_t i = 0; i < m->n_rows; i = end) {
		for (end = i + 1; end < m->n_rows && m->rows[end].day == m->rows[i].day;)
			end++;
		changed |= share_day(m, i, end);
	}
	/* rows that share a segment go by time, whatever their kind */
	if (changed)
		qsort(m->rows, m->n_rows, sizeof(*m->rows), by_place);
}

/* merge_ties.c has a row + 1 in 32 bits, and sizes of one and a half times as many. */
static bool gather(struct merge *m)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < m->n_src; i++)
		n += m->src[i].n;
	m->rows = arena_array(m->a, n + 1, sizeof(*m->rows));
	if (!m->rows || n > UINT32_MAX / 2)
		return fail(m, MERGE_MEMORY);
	for (uint32_t i = 0; i < m->n_src; i++)
		if (!read_rows(m, i))
			return false;
	qsort(m->rows, m->n_rows, sizeof(*m->rows), by_place);
	share(m);
	return true;
}

/* ---- columns ---- */

/* By source last: a part that one source has twice stands beside itself, where one_column() looks
 * for it. */
static int by_column(const void *x, const void *y)
{
	const struct merge_ref *a = x, *b = y;
	int order;

	if (a->part->kind != b->part->kind)
		return a->part->kind < b->part->kind ? -1 : 1;
	if (a->part->scope != b->part->scope)
		return a->part->scope < b->part->scope ? -1 : 1;
	order = str_cmp(a->part->key, b->part->key);
	return order ? order : a->src < b->src ? -1 : a->src > b->src;
}

static bool list_columns(struct merge *m)
{
	size_t n = 0;

	for (uint32_t i = 0; i < m->n_src; i++)
		n += m->src[i].n_parts;
	m->refs = arena_array(m->a, n + 1, sizeof(*m->refs));
	if (!m->refs)
		return fail(m, MERGE_MEMORY);
	for (uint32_t i = 0; i < m->n_src; i++)
		for (uint32_t k = 0; k < m->src[i].n_parts; k++)
			m->refs[m->n_refs++] = (struct merge_ref){&m->src[i].parts[k], i};
	qsort(m->refs, m->n_refs, sizeof(*m->refs), by_column);
	return true;
}

/* The first source is not asked: it has as many as it has, and must go somewhere. */
uint32_t merge_fits(const struct evseg *src, uint32_t n_src, struct arena *a)
{
	struct intern keys;
	struct buf key;
	uint32_t fit = 0;

	intern_init(&keys, a);
	buf_init(&key, a);
	for (; fit < n_src; fit++) {
		for (uint32_t k = 0; k < src[fit].n_parts; k++) {
			const struct evseg_part *part = &src[fit].parts[k];

			if (part->kind != PART_PROP)
				continue;
			key.n = 0;
			buf_c(&key, (char)part->scope);
			buf_str(&key, part->key);
			if (key.over ||
				intern_add(&keys, (struct str){key.p, key.n}) == INTERN_FULL)
				return fit;
		}
		if (fit > 0 && keys.n > EVSEG_KEYS_MAX)
			return fit;
	}
	return fit;
}

/* ---- groups ---- */

/* A list that grows: of those under way and of those that are done. */
struct groups {
	struct merge_group *v;
	uint32_t n, cap;
};

static bool add_group(struct merge *m, struct groups *g, struct merge_group one)
{
	if (g->n == g->cap) {
		uint32_t cap = g->cap ? g->cap * 2 : 64;
		struct merge_group *v =
			arena_grow(m->a, g->v, g->cap * sizeof(*v), cap * sizeof(*v));

		if (!v)
			return fail(m, MERGE_MEMORY);
		g->v = v;
		g->cap = cap;
	}
	g->v[g->n++] = one;
	return true;
}

/* Cuts rows[first, first + n) into `pieces` of about equal size. */
static bool add_pieces(
	struct merge *m, struct groups *g, uint32_t first, uint32_t n, uint32_t pieces)
{
	for (uint32_t i = 0; i < pieces; i++) {
		uint32_t from = (uint32_t)((uint64_t)n * i / pieces);
		uint32_t to = (uint32_t)((uint64_t)n * (i + 1) / pieces);

		if (!add_group(m, g, (struct merge_group){.first = first + from, .n = to - from}))
			return false;
	}
	return true;
}

static bool first_groups(struct merge *m, struct groups *g)
{
	uint32_t end;

	for (uint32_t i = 0; i < m->n_rows; i = end) {
		end = run_end(m, i);
		if (!add_pieces(
			    m, g, i, end - i, (end - i + EVSEG_EVENTS_MAX - 1) / EVSEG_EVENTS_MAX))
			return false;
	}
	return true;
}

/* Makes groups until none is too big: those are cut in two and tried again. An event alone is too
 * big beyond EVSEG_PART_MAX only, and no part of a source is. */
static bool make_all(struct merge *m, struct groups *done)
{
	struct groups now = {0};

	if (!first_groups(m, &now))
		return false;
	while (now.n > 0) {
		struct groups next = {0};

		if (!merge_columns(m, now.v, now.n))
			return false;
		for (uint32_t i = 0; i < now.n; i++) {
			const struct merge_group *g = &now.v[i];

			if (g->too_big && g->n < 2)
				return fail(m, MERGE_BROKEN);
			if (g->too_big ? !add_pieces(m, &next, g->first, g->n, 2)
				       : !add_group(m, done, *g))
				return false;
		}
		now = next;
	}
	return true;
}

/* Rows of a group are in the order of time, also after it was cut: its ends are tmin and tmax. */
static bool finish(struct merge *m, const struct groups *g, struct merge_segment **out)
{
	*out = arena_array(m->a, g->n + 1, sizeof(**out));
	if (!*out)
		return fail(m, MERGE_MEMORY);
	for (uint32_t i = 0; i < g->n; i++) {
		const struct merge_group *from = &g->v[i];
		const struct merge_row *first = &m->rows[from->first], *last = first + from->n - 1;

		(*out)[i] = (struct merge_segment){.day = first->day,
			.kind = first->kind == MERGE_SHARED ? STR("")
							    : m->kinds.strings[first->kind],
			.n = from->n,
			.tmin = first->time,
			.tmax = last->time,
			.bytes = from->bytes,
			.parts = from->parts,
			.n_parts = from->n_parts};
	}
	return true;
}

enum merge_end merge_segments(const struct evseg *src, uint32_t n_src, struct arena *a,
	struct arena *scratch, struct merge_segment **out, uint32_t *n_out)
{
	struct merge m = {.src = src, .n_src = n_src, .a = a, .scratch = scratch};
	struct groups done = {0};

	*n_out = 0;
	intern_init(&m.kinds, a);
	if (!gather(&m) || !list_columns(&m) || !make_all(&m, &done) ||
		!merge_ties(&m, done.v, done.n) || !finish(&m, &done, out))
		return m.end;
	*n_out = done.n;
	return MERGE_OK;
}
