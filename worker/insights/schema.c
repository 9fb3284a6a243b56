/*
 * See schema.h. A column is unpacked, counted by dictionary code and forgotten before the
 * next one, so that memory depends on the widest column and on the number of names.
 */
#include <stdlib.h>
#include "worker/insights/schema.h"

struct schema_seen {
	uint64_t count, once;
	int64_t last_ms[SCHEMA_TYPES]; /* NEVER: not of this type */
};

#define NEVER INT64_MIN

/* ---- lists ---- */

static bool list_init(struct schema_list *l, bool promoted, struct arena *a)
{
	const char *key;

	*l = (struct schema_list){.promoted = promoted};
	intern_init(&l->names, a);
	for (size_t i = 0; promoted && (key = value_promoted_key(i)); i++)
		if (value_key_class(str_of(key)) == KEY_STRING &&
			!schema_note(l, str_of(key), SCHEMA_STRING, 0, NEVER, 0))
			return false;
	return true;
}

bool schema_init(struct schema *s, struct str event_kind, struct arena *a)
{
	*s = (struct schema){.event_kind = event_kind};
	return list_init(&s->kinds, false, a) && list_init(&s->autos, true, a) &&
	       list_init(&s->customs, false, a) && list_init(&s->traits, false, a);
}

static bool grow(struct schema_list *l)
{
	uint32_t cap = l->cap ? l->cap * 2 : 64;
	struct schema_seen *v = arena_grow(l->names.a, l->v, l->cap * sizeof(*v), cap * sizeof(*v));

	if (!v)
		return false;
	l->v = v;
	l->cap = cap;
	return true;
}

bool schema_note(struct schema_list *l, struct str name, enum schema_type type, uint64_t n,
	int64_t last_ms, uint64_t once)
{
	uint32_t known = l->names.n, no = intern_find(&l->names, name);
	struct schema_seen *seen;

	if (no == INTERN_FULL && known >= SCHEMA_NAMES_MAX)
		return true;
	if (no == INTERN_FULL)
		no = intern_add(&l->names, name);
	if (no == INTERN_FULL || (no >= l->cap && !grow(l)))
		return false;
	seen = &l->v[no];
	if (no == known) {
		*seen = (struct schema_seen){0};
		for (unsigned t = 0; t < SCHEMA_TYPES; t++)
			seen->last_ms[t] = NEVER;
	}
	if (!once || seen->once != once)
		seen->count += n;
	seen->once = once;
	if (last_ms > seen->last_ms[type])
		seen->last_ms[type] = last_ms;
	return true;
}

/* Of several types the one that was seen last the longest time ago: it stays the same
 * while a newer one goes on. */
static struct schema_entry entry(const struct schema_list *l, uint32_t no)
{
	const struct schema_seen *seen = &l->v[no];
	struct schema_entry e = {.name = l->names.strings[no],
		.count = seen->count,
		.last_ms = NEVER,
		.type = SCHEMA_STRING};
	int64_t earliest = INT64_MAX;

	for (unsigned t = SCHEMA_STRING; t < SCHEMA_TYPES; t++) {
		if (seen->last_ms[t] == NEVER)
			continue;
		if (seen->last_ms[t] < earliest) {
			earliest = seen->last_ms[t];
			e.type = (enum schema_type)t;
		}
		if (seen->last_ms[t] > e.last_ms)
			e.last_ms = seen->last_ms[t];
	}
	return e;
}

static int by_count(const void *x, const void *y)
{
	const struct schema_entry *a = x, *b = y;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return str_cmp(a->name, b->name);
}

bool schema_pick(const struct schema_list *l, uint32_t allowed, uint32_t limit, struct arena *a,
	const struct schema_entry **out, uint32_t *n)
{
	struct schema_entry *all = arena_array(a, l->names.n + 1, sizeof(*all));
	uint32_t found = 0, kept = 0;

	if (!all)
		return false;
	for (uint32_t no = 0; no < l->names.n; no++) {
		struct schema_entry e = entry(l, no);

		if (allowed >> e.type & 1)
			all[found++] = e;
	}
	qsort(all, found, sizeof(*all), by_count);
	for (uint32_t i = 0; i < found; i++) {
		bool always = l->promoted && value_key_class(all[i].name) == KEY_STRING;

		if (!always && limit == 0)
			continue;
		limit -= !always;
		all[kept++] = all[i];
	}
	*out = all;
	*n = kept;
	return true;
}

/* ---- segments ---- */

static enum schema_type type_of(enum value_type type)
{
	static const uint8_t types[] = {[VALUE_NONE] = SCHEMA_OTHER,
		[VALUE_STR] = SCHEMA_STRING,
		[VALUE_INT] = SCHEMA_INTEGER,
		[VALUE_DOUBLE] = SCHEMA_FLOAT,
		[VALUE_BOOL] = SCHEMA_BOOLEAN,
		[VALUE_TIME] = SCHEMA_DATETIME,
		[VALUE_UUID] = SCHEMA_OTHER};

	return (enum schema_type)types[type];
}

struct sum {
	uint64_t n;
	int64_t last_ms;
};

static void add(struct sum *sum, uint64_t n, int64_t last_ms)
{
	if (n && (sum->n == 0 || last_ms > sum->last_ms))
		sum->last_ms = last_ms;
	sum->n += n;
}

static bool fold_kinds(struct schema *s, const struct frame *f)
{
	const struct batch *b = f->batch;
	struct sum *sums = arena_array(f->a, b->kind.n_entries + 1, sizeof(*sums));

	if (!sums)
		return false;
	for (uint32_t i = 0; i < b->n; i++)
		if (f->base[i])
			add(&sums[b->kind.codes[i]], 1, b->times[i]);
	for (uint32_t k = 1; k <= b->kind.n_entries; k++)
		if (sums[k].n && !schema_note(&s->kinds, b->kind.entries[k - 1].s, SCHEMA_STRING,
					 sums[k].n, sums[k].last_ms, 0))
			return false;
	return true;
}

/* Notes what a column holds, by type. */
static bool note_column(struct schema_list *l, struct str key, enum key_class class,
	const struct column *c, const struct sum *sums)
{
	struct sum types[SCHEMA_TYPES] = {{0}};
	char scratch[VALUE_TEXT_MAX];

	for (uint32_t k = 1; k <= c->n_entries; k++) {
		const struct value *v = &c->entries[k - 1];

		/* an empty text in a promoted slot is a missing one (1.1) */
		if (class != KEY_PLAIN && value_text(v, class, scratch).n == 0)
			continue;
		add(&types[class == KEY_PLAIN ? type_of(v->type) : SCHEMA_STRING], sums[k].n,
			sums[k].last_ms);
	}
	for (unsigned t = SCHEMA_STRING; t < SCHEMA_TYPES; t++)
		if (types[t].n &&
			!schema_note(l, key, (enum schema_type)t, types[t].n, types[t].last_ms, 0))
			return false;
	return true;
}

static bool fold_column(struct schema *s, const struct frame *f, const struct evseg *seg,
	const struct evseg_part *part, const uint8_t *in)
{
	struct schema_list *l = part->scope == SCOPE_AUTO ? &s->autos : &s->customs;
	enum key_class class = part->scope == SCOPE_AUTO ? value_key_class(part->key) : KEY_PLAIN;
	struct column c;
	struct sum *sums;

	/* the three promoted keys that are no text are never listed (2.5) */
	if (class != KEY_PLAIN && class != KEY_STRING)
		return true;
	if (!evseg_column(seg, part, f->a, &c))
		return false;
	sums = arena_array(f->a, c.n_entries + 1, sizeof(*sums));
	if (!sums)
		return false;
	for (uint32_t i = 0; i < c.n_present; i++) {
		uint32_t row = c.sparse ? c.rows[i] : i;

		if (in[row] && c.codes[i])
			add(&sums[c.codes[i]], 1, f->batch->times[row]);
	}
	return note_column(l, part->key, class, &c, sums);
}

/* The events whose keys are asked for; *any says whether there is one. NULL at the cap. */
static const uint8_t *in_scope(const struct schema *s, const struct frame *f, bool *any)
{
	const struct batch *b = f->batch;
	uint8_t *in = arena_alloc(f->a, b->n);
	uint32_t wanted = 0;

	if (!in)
		return NULL;
	for (uint32_t k = 0; k < b->kind.n_entries && s->event_kind.n; k++)
		if (str_eq(b->kind.entries[k].s, s->event_kind))
			wanted = k + 1;
	*any = false;
	for (uint32_t i = 0; i < b->n; i++) {
		in[i] = f->base[i] && (s->event_kind.n == 0 || b->kind.codes[i] == wanted);
		*any |= in[i];
	}
	return in;
}

bool schema_fold(struct schema *s, const struct frame *f, const struct evseg *seg)
{
	bool any, ok = fold_kinds(s, f);
	const uint8_t *in = ok ? in_scope(s, f, &any) : NULL;

	if (!in)
		return false;
	for (uint32_t i = 0; i < seg->n_parts && any && ok; i++) {
		struct arena_mark mark = arena_mark(f->a);

		if (seg->parts[i].kind != PART_PROP)
			continue;
		ok = fold_column(s, f, seg, &seg->parts[i], in);
		arena_release(f->a, &mark);
	}
	return ok;
}
