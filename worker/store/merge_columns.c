/*
 * See merge.h. This file: the columns of the segments in the making, one after another.
 * What a column needs lives in the scratch arena and is forgotten with it.
 */
#include "worker/store/bytes.h"
#include "worker/store/merge_internal.h"

/* What a reader takes: for a value, for a row of a dense column and of a sparse one (which
 * few values make, so that twice their bytes are on the safe side). */
enum { ENTRY_COST = sizeof(struct value), DENSE_COST = 4, SPARSE_COST = 16 };

/* Of one source, while its column is worked on. */
struct source {
	const uint32_t *codes;  /* by row; NULL: it has no such column */
	const uint32_t *united; /* code of the source -> number in the united dictionary */
};

/* The united dictionary: values get numbers from 1. They stay in the decoded columns of the
 * sources, all of which are in scratch at the same time. */
struct dictionary {
	const struct value **values;
	uint64_t *hashes;
	uint32_t *slots, mask, n, cap;
};

struct column_work {
	struct merge *m;
	struct source *sources;
	struct dictionary dict;
	/* of one group: its own codes, by number; valid where `stamp` says so */
	uint32_t *local, *stamp, stamp_now;
	struct value *entries;
	uint32_t *rows, *codes;
	struct buf body;
};

static bool no_memory(struct merge *m)
{
	m->end = MERGE_MEMORY;
	return false;
}

static bool fail_reading(struct merge *m)
{
	m->end = m->scratch->over || m->a->over ? MERGE_MEMORY : MERGE_BROKEN;
	return false;
}

/* ---- packing ---- */

bool merge_add_part(
	struct merge *m, struct merge_group *g, const struct evseg_part *like, struct str raw)
{
	struct evseg_part part = {.kind = like->kind, .scope = like->scope, .key = like->key};

	if (g->n_parts == g->cap_parts) {
		uint32_t cap = g->cap_parts ? g->cap_parts * 2 : 32;
		struct evseg_part *v =
			arena_grow(m->a, g->parts, g->cap_parts * sizeof(*v), cap * sizeof(*v));

		if (!v)
			return no_memory(m);
		g->parts = v;
		g->cap_parts = cap;
	}
	if (!evseg_pack(&part, raw, m->a, m->scratch))
		return no_memory(m);
	g->bytes += part.stored.n;
	g->parts[g->n_parts++] = part;
	return true;
}

/* Unless the group turns out too big. The limits are there to cut segments, and an event cannot
 * be cut: alone it may have what a reader accepts. */
static bool add_part(struct merge *m, struct merge_group *g, const struct evseg_part *like,
	struct str raw, uint64_t decoded)
{
	g->decoded += decoded + raw.n;
	if (raw.n > (g->n > 1 ? MERGE_RAW_MAX : EVSEG_PART_MAX) ||
		(g->n > 1 && g->decoded > MERGE_DECODED_MAX)) {
		g->too_big = true;
		return true;
	}
	return merge_add_part(m, g, like, raw);
}

static bool put_ids(struct merge *m, struct merge_group *g, const struct evseg_part *like)
{
	char *raw = arena_alloc(m->scratch, (size_t)g->n * 16);

	if (!raw)
		return no_memory(m);
	for (uint32_t i = 0; i < g->n; i++)
		memcpy(raw + (size_t)i * 16, m->rows[g->first + i].id, 16);
	return add_part(m, g, like, (struct str){raw, (size_t)g->n * 16}, 0);
}

/* Of one day and in order, so that four bytes always do. */
static bool put_times(struct merge *m, struct merge_group *g, const struct evseg_part *like)
{
	int64_t base = m->rows[g->first].time;
	struct buf raw;

	buf_init(&raw, m->scratch);
	bytes_put_u64(&raw, (uint64_t)base);
	buf_c(&raw, 4);
	if (!buf_room(&raw, (size_t)g->n * 4))
		return no_memory(m);
	for (uint32_t i = 0; i < g->n; i++)
		bytes_put_u32(&raw, (uint32_t)(m->rows[g->first + i].time - base));
	return add_part(m, g, like, (struct str){raw.p, raw.n}, (uint64_t)g->n * 8);
}

/* ---- columns with a dictionary ---- */

static bool dict_grow(struct dictionary *d, struct arena *a)
{
	uint32_t cap = d->cap ? d->cap * 2 : 256;
	const struct value **values = arena_array(a, cap + 1, sizeof(*values));
	uint64_t *hashes = arena_array(a, cap + 1, sizeof(*hashes));
	uint32_t *slots = arena_array(a, (size_t)cap * 2, sizeof(*slots));

	if (!values || !hashes || !slots)
		return false;
	for (uint32_t no = 1; no <= d->n; no++) {
		uint32_t k = (uint32_t)d->hashes[no] & (cap * 2 - 1);

		while (slots[k])
			k = (k + 1) & (cap * 2 - 1);
		slots[k] = no;
		values[no] = d->values[no];
		hashes[no] = d->hashes[no];
	}
	*d = (struct dictionary){values, hashes, slots, cap * 2 - 1, d->n, cap};
	return true;
}

/* The number of a value, added when new; 0 at the arena's cap. */
static uint32_t dict_add(struct dictionary *d, const struct value *v, struct arena *a)
{
	uint64_t hash = value_hash(v);
	uint32_t k;

	if (d->n == d->cap && !dict_grow(d, a))
		return 0;
	for (k = (uint32_t)hash & d->mask; d->slots[k]; k = (k + 1) & d->mask)
		if (d->hashes[d->slots[k]] == hash && value_eq(d->values[d->slots[k]], v))
			return d->slots[k];
	d->slots[k] = ++d->n;
	d->values[d->n] = v;
	d->hashes[d->n] = hash;
	return d->n;
}

static bool open_source(struct column_work *w, const struct merge_ref *ref)
{
	struct merge *m = w->m;
	const struct evseg *s = &m->src[ref->src];
	uint32_t *codes, *united;
	struct column c;

	if (!evseg_column(s, ref->part, m->scratch, &c))
		return fail_reading(m);
	codes = arena_array(m->scratch, s->n, sizeof(*codes));
	/* [0] stays 0: what is missing */
	united = arena_array(m->scratch, c.n_entries + 1, sizeof(*united));
	if (!codes || !united)
		return no_memory(m);
	column_spread(&c, codes);
	for (uint32_t i = 0; i < c.n_entries; i++) {
		united[i + 1] = dict_add(&w->dict, &c.entries[i], m->scratch);
		if (!united[i + 1])
			return no_memory(m);
	}
	w->sources[ref->src] = (struct source){codes, united};
	return true;
}

static bool work_room(struct column_work *w, uint32_t most)
{
	struct arena *a = w->m->scratch;

	w->local = arena_array(a, w->dict.n + 1, sizeof(*w->local));
	w->stamp = arena_array(a, w->dict.n + 1, sizeof(*w->stamp));
	w->entries = arena_array(a, (w->dict.n < most ? w->dict.n : most) + 1, sizeof(*w->entries));
	w->rows = arena_array(a, most, sizeof(*w->rows));
	w->codes = arena_array(a, most, sizeof(*w->codes));
	buf_init(&w->body, a);
	return w->local && w->stamp && w->entries && w->rows && w->codes;
}

static bool put_column(struct column_work *w, struct merge_group *g, const struct evseg_part *like)
{
	const struct merge_row *rows = &w->m->rows[g->first];
	uint32_t n = 0, n_entries = 0;
	uint64_t bytes = 0, cost;

	/* instead of emptying `local` for each group, which are many */
	w->stamp_now++;
	for (uint32_t i = 0; i < g->n; i++) {
		const struct source *s = &w->sources[rows[i].src];
		uint32_t no = s->codes ? s->united[s->codes[rows[i].row]] : 0;

		if (no == 0)
			continue;
		if (w->stamp[no] != w->stamp_now) {
			w->stamp[no] = w->stamp_now;
			w->entries[n_entries++] = *w->dict.values[no];
			w->local[no] = n_entries;
			if (w->dict.values[no]->type == VALUE_STR)
				bytes += w->dict.values[no]->s.n;
		}
		w->rows[n] = i;
		w->codes[n++] = w->local[no];
	}
	if (n == 0)
		return true;
	if (bytes > EVSEG_PART_MAX) { /* not worth making */
		g->too_big = true;
		return true;
	}
	w->body.n = 0;
	column_encode(&w->body, w->entries, n_entries, w->rows, w->codes, n, g->n);
	if (w->body.over)
		return no_memory(w->m);
	cost = n < g->n / (SPARSE_COST / DENSE_COST) ? (uint64_t)n * SPARSE_COST
						     : (uint64_t)g->n * DENSE_COST;
	return add_part(w->m, g, like, (struct str){w->body.p, w->body.n},
		cost + (uint64_t)n_entries * ENTRY_COST);
}

/* Keeps which rows have the same value. Once: rows are the same when groups that were too big
 * come again. */
static bool note_owners(struct column_work *w, uint32_t **owners)
{
	struct merge *m = w->m;

	if (*owners)
		return true;
	*owners = arena_array(m->a, (size_t)m->n_rows + 1, sizeof(**owners));
	if (!*owners)
		return no_memory(m);
	for (uint32_t i = 0; i < m->n_rows; i++) {
		const struct source *s = &w->sources[m->rows[i].src];

		(*owners)[i] = s->codes ? s->united[s->codes[m->rows[i].row]] : 0;
	}
	return true;
}

/* refs[0, n) are the same column of several sources. */
static bool plain_column(struct merge *m, const struct merge_ref *refs, uint32_t n,
	struct merge_group *groups, uint32_t n_groups)
{
	struct column_work w = {.m = m};
	uint32_t most = 1;

	w.sources = arena_array(m->scratch, m->n_src, sizeof(*w.sources));
	if (!w.sources)
		return no_memory(m);
	for (uint32_t i = 0; i < n; i++)
		if (!open_source(&w, &refs[i]))
			return false;
	if (refs[0].part->kind == PART_DISTINCT && !note_owners(&w, &m->distincts))
		return false;
	if (refs[0].part->kind == PART_SESSION && !note_owners(&w, &m->sessions))
		return false;
	for (uint32_t i = 0; i < n_groups; i++)
		most = groups[i].n > most ? groups[i].n : most;
	if (!work_room(&w, most))
		return no_memory(m);
	for (uint32_t i = 0; i < n_groups; i++)
		if (!groups[i].too_big && !put_column(&w, &groups[i], refs[0].part))
			return false;
	return true;
}

/* ---- what has no column ---- */

/* Entries of one source: where each row's begin in the raw bytes. */
struct spilled {
	const uint8_t *raw;
	uint32_t *at; /* by row: first of its entries, from 1; 0: none */
	struct spilled_entry {
		uint32_t from, n; /* bytes, without the row */
		uint32_t next;    /* of the same row, from 1; 0: the last one */
	} * entries;
};

/* The entries of a row are listed in their order: of a key given twice the last one counts. An
 * entry takes several bytes, so what is left bounds their number. */
static bool read_spilled(struct merge *m, const struct merge_ref *ref, struct spilled *out)
{
	const struct evseg *s = &m->src[ref->src];
	uint32_t n, *last = arena_array(m->scratch, s->n, sizeof(*last));
	struct str raw;
	struct bytes b;

	if (!last || !evseg_unpack(ref->part, m->scratch, &raw))
		return fail_reading(m);
	b = bytes_of(raw);
	n = bytes_varint32(&b);
	if (b.bad || n > bytes_left(&b))
		return fail_reading(m);
	out->raw = (const uint8_t *)raw.p;
	out->at = arena_array(m->scratch, s->n, sizeof(*out->at));
	out->entries = arena_array(m->scratch, n + 1, sizeof(*out->entries));
	if (!out->at || !out->entries)
		return no_memory(m);
	for (uint32_t i = 1; i <= n; i++) {
		uint32_t row = bytes_varint32(&b);
		const uint8_t *from = b.p;
		struct value v;

		if (bytes_u8(&b) > SCOPE_CUSTOM || !bytes_take(&b, bytes_varint32(&b)).p || b.bad ||
			row >= s->n || !column_take_value(&b, &v))
			return fail_reading(m);
		out->entries[i] = (struct spilled_entry){
			(uint32_t)(from - out->raw), (uint32_t)(b.p - from), 0};
		*(last[row] ? &out->entries[last[row]].next : &out->at[row]) = i;
		last[row] = i;
	}
	return true;
}

static bool put_spilled(struct merge *m, struct merge_group *g, const struct evseg_part *like,
	const struct spilled *sources, struct buf *entries, struct buf *raw)
{
	uint32_t n = 0;

	entries->n = raw->n = 0;
	for (uint32_t i = 0; i < g->n; i++) {
		const struct merge_row *r = &m->rows[g->first + i];
		const struct spilled *s = &sources[r->src];

		for (uint32_t k = s->at ? s->at[r->row] : 0; k; k = s->entries[k].next) {
			bytes_put_varint(entries, i);
			buf_add(entries, s->raw + s->entries[k].from, s->entries[k].n);
			n++;
		}
	}
	if (n == 0)
		return true;
	bytes_put_varint(raw, n);
	buf_add(raw, entries->p, entries->n);
	if (entries->over || raw->over)
		return no_memory(m);
	return add_part(m, g, like, (struct str){raw->p, raw->n}, raw->n);
}

static bool overflow(struct merge *m, const struct merge_ref *refs, uint32_t n,
	struct merge_group *groups, uint32_t n_groups)
{
	struct spilled *sources = arena_array(m->scratch, m->n_src, sizeof(*sources));
	struct buf entries, raw;

	if (!sources)
		return no_memory(m);
	for (uint32_t i = 0; i < n; i++)
		if (!read_spilled(m, &refs[i], &sources[refs[i].src]))
			return false;
	buf_init(&entries, m->scratch);
	buf_init(&raw, m->scratch);
	for (uint32_t i = 0; i < n_groups; i++)
		if (!groups[i].too_big &&
			!put_spilled(m, &groups[i], refs[0].part, sources, &entries, &raw))
			return false;
	return true;
}

/* ---- all of them ---- */

static bool same_column(const struct evseg_part *a, const struct evseg_part *b)
{
	return a->kind == b->kind && a->scope == b->scope && str_eq(a->key, b->key);
}

static bool each_group(struct merge *m, const struct evseg_part *like, struct merge_group *groups,
	uint32_t n,
	bool (*put)(struct merge *m, struct merge_group *g, const struct evseg_part *like))
{
	for (uint32_t i = 0; i < n; i++) {
		arena_reset(m->scratch);
		if (!groups[i].too_big && !put(m, &groups[i], like))
			return false;
	}
	return true;
}

static bool one_column(struct merge *m, const struct merge_ref *refs, uint32_t n,
	struct merge_group *groups, uint32_t n_groups)
{
	arena_reset(m->scratch);
	/* a part of a kind twice in one source would be a broken source */
	for (uint32_t i = 1; i < n; i++)
		if (refs[i].src == refs[i - 1].src)
			return fail_reading(m);
	switch (refs[0].part->kind) {
	case PART_ID:
		return each_group(m, refs[0].part, groups, n_groups, put_ids);
	case PART_TIME:
		return each_group(m, refs[0].part, groups, n_groups, put_times);
	case PART_OVERFLOW:
		return overflow(m, refs, n, groups, n_groups);
	case PART_KIND:
	case PART_DISTINCT:
	case PART_SESSION:
	case PART_COOKIELESS:
	case PART_PROP:
		return plain_column(m, refs, n, groups, n_groups);
	case PART_NUMBER:
	case PART_TIES:
		return true; /* made anew for what is put (put.c, merge_ties.c) */
	case PART_KINDS:
	default:
		return fail_reading(m);
	}
}

bool merge_columns(struct merge *m, struct merge_group *groups, uint32_t n)
{
	uint32_t end;

	for (uint32_t i = 0; i < m->n_refs; i = end) {
		for (end = i + 1; end < m->n_refs; end++)
			if (!same_column(m->refs[i].part, m->refs[end].part))
				break;
		if (!one_column(m, &m->refs[i], end - i, groups, n))
			return false;
	}
	return true;
}
