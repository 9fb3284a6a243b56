/*
 * See schema.h. Here names are added up; who finds them in a segment is store/names.c.
 */
#include <stdlib.h>
#include "shm/base/list.h"
#include "worker/insights/schema.h"

struct schema_seen {
	uint64_t count, once;
	int64_t last_ms[SCHEMA_TYPES]; /* NEVER: not of this type */
};

#define NEVER INT64_MIN

/* ---- lists ---- */

/* Promoted keys first: they are answered without any event, too (insights-dashboards.md 2.5), and
 * must not be what SCHEMA_NAMES_MAX leaves out. */
static bool schema_list_init(struct schema_list *l, bool promoted, struct arena *a)
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
	return schema_list_init(&s->kinds, false, a) && schema_list_init(&s->autos, true, a) &&
	       schema_list_init(&s->customs, false, a) && schema_list_init(&s->traits, false, a);
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
	/* one profile may have a path twice: "a.b", and b within a */
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

/* A total order, for names differ: the answer does not depend on who was seen first. */
static int by_count(const void *x, const void *y)
{
	const struct schema_entry *a = x, *b = y;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return str_cmp(a->name, b->name);
}

/* Called on the loop: SCHEMA_NAMES_MAX bounds what is sorted here. */
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

/* What is told of a segment, or was packed of it (store/names.h): one meaning for both. */
struct noting {
	struct names_sink sink;
	struct schema *s;
};

/* Kinds are those of all events, whichever kind's keys are asked for (2.5). */
static bool note_name(struct names_sink *sink, const struct name_seen *seen)
{
	struct schema *s = list_item(sink, struct noting, sink)->s;

	if (seen->list == NAME_KIND)
		return schema_note(&s->kinds, seen->name, SCHEMA_STRING, seen->n, seen->last_ms, 0);
	if (s->event_kind.n && !str_eq(seen->kind, s->event_kind))
		return true;
	return schema_note(seen->list == NAME_AUTO ? &s->autos : &s->customs, seen->name,
		type_of(seen->type), seen->n, seen->last_ms, 0);
}

bool schema_names(struct schema *s, struct str packed, struct arena *a)
{
	struct noting noting = {{note_name}, s};

	return names_read(packed, &noting.sink, a);
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
	const struct batch_column *kind = &f->batch->kind;
	struct names_of of = {
		seg, f->base, f->batch->times, kind->codes, kind->entries, kind->n_entries};
	struct noting noting = {{note_name}, s};
	bool any;

	if (!names_kinds(&of, &noting.sink, f->a))
		return false;
	of.in = in_scope(s, f, &any);
	/* properties are the dear part: without an event in scope none is unpacked */
	return of.in && (!any || names_keys(&of, &noting.sink, f->a));
}
