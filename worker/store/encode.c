/*
 * The encoder. Per column it keeps a dictionary and the present (row, code)
 * pairs; one hash table over (column, value) serves all columns. Events of one
 * client tend to have the same keys in the same order and the same values as
 * the event before, so both are guessed before anything is hashed.
 */
#include <lz4.h>
#include "shm/base/hash.h"
#include "worker/store/bytes.h"
#include "worker/store/encode.h"
#include "worker/store/evseg.h"

enum { LATELY = 16 };

enum { COL_KIND, COL_DISTINCT, COL_SESSION, COL_COOKIELESS, COLS_FIXED, NO_COLUMN = -1 };

struct col {
	enum part_kind kind;
	enum prop_scope scope;
	struct str key;
	struct value *entries;
	/* ascending, each row once: put() looks at the last one only */
	uint32_t *rows, *codes;
	uint32_t n_entries, cap_entries, n_present, cap_present;
	int32_t follower; /* the column that came next last time */
	struct lately {
		struct str s;
		uint32_t code;
	} lately[LATELY]; /* strings by address */
};

/* Open addressing; used for values (col, code) and for keys (col only). At most half full, so
 * that probing ends; tables that were outgrown remain in the arena, together as large as this
 * one. */
struct table {
	struct place {
		uint64_t hash;
		uint32_t col, code; /* code 0: free */
	} * v;
	uint32_t mask, used;
};

struct encoder {
	struct arena *a;
	uint32_t n;
	uint8_t *ids;
	int64_t *times;
	uint32_t cap;
	struct col *cols;
	uint32_t n_cols, cap_cols;
	struct table values, keys;
	struct buf overflow;
	uint32_t n_overflow;
};

/* Makes room for one more of n items; doubles. */
static void *room(struct arena *a, void *old, uint32_t n, uint32_t *cap, size_t size)
{
	uint32_t more = *cap ? *cap * 2 : 8;
	void *p;

	if (n < *cap)
		return old;
	p = arena_grow(a, old, *cap * size, more * size);
	if (p)
		*cap = more;
	return p;
}

static bool table_grow(struct table *t, struct arena *a)
{
	struct table old = *t;
	uint32_t size = old.v ? (old.mask + 1) * 2 : 256;

	if (old.v && old.used * 2 < old.mask)
		return true;
	t->v = arena_array(a, size, sizeof(*t->v));
	if (!t->v)
		return false;
	t->mask = size - 1;
	for (uint32_t i = 0; old.v && i <= old.mask; i++) {
		uint32_t k = (uint32_t)old.v[i].hash & t->mask;

		if (!old.v[i].code)
			continue;
		while (t->v[k].code)
			k = (k + 1) & t->mask;
		t->v[k] = old.v[i];
	}
	return true;
}

static int32_t col_new(
	struct encoder *e, enum part_kind kind, enum prop_scope scope, struct str key)
{
	struct col *cols = room(e->a, e->cols, e->n_cols, &e->cap_cols, sizeof(*cols));

	if (!cols)
		return NO_COLUMN;
	e->cols = cols;
	cols[e->n_cols] =
		(struct col){.kind = kind, .scope = scope, .key = key, .follower = NO_COLUMN};
	return (int32_t)e->n_cols++;
}

struct encoder *encoder_new(struct arena *a)
{
	struct encoder *e = arena_zalloc(a, sizeof(*e));

	if (!e)
		return NULL;
	e->a = a;
	buf_init(&e->overflow, a);
	/* in the order of the COL_ numbers */
	for (enum part_kind kind = PART_KIND; kind <= PART_COOKIELESS; kind++)
		if (col_new(e, kind, SCOPE_AUTO, STR("")) == NO_COLUMN)
			return NULL;
	return e;
}

uint32_t encoder_count(const struct encoder *e)
{
	return e->n;
}

static bool key_is(const struct encoder *e, int32_t col, const struct prop *p)
{
	const struct col *c = &e->cols[col];

	return c->scope == p->scope && str_eq(c->key, p->key);
}

/* The column of a property; NO_COLUMN with *full when the segment has too many. More go to the
 * overflow part: keys that were imported are in no catalogue (D82), so any number may come. */
static int32_t col_of(struct encoder *e, const struct prop *p, bool *full)
{
	uint64_t hash = hash_text(p->key.p, p->key.n) ^ p->scope;
	uint32_t k;
	int32_t col;

	if (!table_grow(&e->keys, e->a))
		return NO_COLUMN;
	for (k = (uint32_t)hash & e->keys.mask; e->keys.v[k].code; k = (k + 1) & e->keys.mask)
		if (e->keys.v[k].hash == hash && key_is(e, (int32_t)e->keys.v[k].col, p))
			return (int32_t)e->keys.v[k].col;
	*full = e->n_cols >= COLS_FIXED + EVSEG_KEYS_MAX;
	if (*full)
		return NO_COLUMN;
	col = col_new(e, PART_PROP, p->scope, p->key);
	if (col != NO_COLUMN) {
		e->keys.v[k] = (struct place){hash, (uint32_t)col, 1};
		e->keys.used++;
	}
	return col;
}

static uint32_t look_up(struct encoder *e, uint32_t col, const struct value *v)
{
	struct col *c = &e->cols[col];
	uint64_t hash;
	uint32_t k;

	if (!table_grow(&e->values, e->a))
		return 0;
	hash = value_hash(v) ^ (uint64_t)col * 0xff51afd7ed558ccdu;
	for (k = (uint32_t)hash & e->values.mask; e->values.v[k].code;
		k = (k + 1) & e->values.mask) {
		const struct place *p = &e->values.v[k];

		if (p->hash == hash && p->col == col && value_eq(&c->entries[p->code - 1], v))
			return p->code;
	}
	c->entries = room(e->a, c->entries, c->n_entries, &c->cap_entries, sizeof(*c->entries));
	if (!c->entries)
		return 0;
	c->entries[c->n_entries++] = *v;
	e->values.v[k] = (struct place){hash, col, c->n_entries};
	e->values.used++;
	return c->n_entries;
}

/* The code of a value in a column, adding it; 0 at the arena's cap. Equal strings of a
 * message mostly lie in one place (proto/wire_read.c). One address is one text, for callers leave
 * their bytes alone until the end (encode.h). */
static uint32_t code_of(struct encoder *e, uint32_t col, const struct value *v)
{
	struct col *c = &e->cols[col];
	struct lately *l = &c->lately[((uintptr_t)v->s.p >> 3 ^ (uintptr_t)v->s.p >> 8) % LATELY];
	uint32_t code;

	if (c->n_present && value_eq(&c->entries[c->codes[c->n_present - 1] - 1], v))
		return c->codes[c->n_present - 1];
	if (v->type != VALUE_STR)
		return look_up(e, col, v);
	if (l->s.p == v->s.p && l->s.n == v->s.n && l->code)
		return l->code;
	code = look_up(e, col, v);
	*l = (struct lately){v->s, code};
	return code;
}

static bool put(struct encoder *e, uint32_t col, const struct value *v)
{
	uint32_t code = code_of(e, col, v), cap;
	struct col *c = &e->cols[col];

	if (!code)
		return false;
	if (c->n_present && c->rows[c->n_present - 1] == e->n) { /* key given twice */
		c->codes[c->n_present - 1] = code;
		return true;
	}
	/* one capacity for both arrays: the first room() moves a copy, or the second would not
	 * grow */
	cap = c->cap_present;
	c->rows = room(e->a, c->rows, c->n_present, &cap, sizeof(*c->rows));
	c->codes = room(e->a, c->codes, c->n_present, &c->cap_present, sizeof(*c->codes));
	if (!c->rows || !c->codes)
		return false;
	c->rows[c->n_present] = e->n;
	c->codes[c->n_present++] = code;
	return true;
}

static void put_overflow(struct encoder *e, const struct prop *p)
{
	bytes_put_varint(&e->overflow, e->n);
	buf_c(&e->overflow, (char)p->scope);
	bytes_put_varint(&e->overflow, p->key.n);
	buf_str(&e->overflow, p->key);
	column_put_value(&e->overflow, &p->value);
	e->n_overflow++;
}

static bool put_props(struct encoder *e, const struct event *ev)
{
	int32_t before = COL_KIND;

	for (uint32_t i = 0; i < ev->n_props; i++) {
		const struct prop *p = &ev->props[i];
		int32_t col = e->cols[before].follower;
		bool full = ev->excess && ev->excess[i];

		if (full)
			col = NO_COLUMN;
		else if (col == NO_COLUMN || !key_is(e, col, p))
			col = col_of(e, p, &full);
		if (full) {
			put_overflow(e, p);
			continue;
		}
		if (col == NO_COLUMN || !put(e, (uint32_t)col, &p->value))
			return false;
		e->cols[before].follower = col;
		before = col;
	}
	return true;
}

/* After false the encoder is of no more use: some columns have the event already, and would take
 * the next one's values for keys given twice. */
bool encoder_add(struct encoder *e, const struct event *ev)
{
	struct value kind = {.type = VALUE_STR, .s = ev->kind};
	struct value distinct = {.type = VALUE_STR, .s = ev->distinct_id};
	struct value session = {.type = VALUE_UUID, .s = {(const char *)ev->session, 16}};
	struct value yes = {.type = VALUE_BOOL, .i = 1};
	uint32_t cap = e->cap;

	e->ids = room(e->a, e->ids, e->n, &cap, 16);
	e->times = room(e->a, e->times, e->n, &e->cap, sizeof(*e->times));
	if (!e->ids || !e->times)
		return false;
	memcpy(e->ids + (size_t)e->n * 16, ev->id, 16);
	e->times[e->n] = ev->time_ms;
	if (!put(e, COL_KIND, &kind) || !put(e, COL_DISTINCT, &distinct))
		return false;
	if (ev->has_session && !put(e, COL_SESSION, &session))
		return false;
	if ((ev->cookieless && !put(e, COL_COOKIELESS, &yes)) || !put_props(e, ev))
		return false;
	e->n++;
	return true;
}

/* Appends one part to the body and its line to the directory. False: no reader would take it. */
static bool pack(
	struct buf *dir, struct buf *body, enum part_kind kind, const struct col *c, struct str raw)
{
	int bound = LZ4_compressBound((int)raw.n), n = 0;

	if (raw.n > EVSEG_PART_MAX)
		return false;
	buf_c(dir, (char)kind);
	if (kind == PART_PROP) {
		buf_c(dir, (char)c->scope);
		bytes_put_varint(dir, c->key.n);
		buf_str(dir, c->key);
	}
	bytes_put_varint(dir, raw.n);
	/* below 64 bytes LZ4 saves nothing that its own overhead does not eat */
	if (raw.n >= 64 && buf_room(body, (size_t)bound))
		n = LZ4_compress_default(raw.p, body->p + body->n, (int)raw.n, bound);
	/* equal lengths say that it is not compressed */
	if (n > 0 && (size_t)n < raw.n) {
		body->n += (size_t)n;
		bytes_put_varint(dir, (uint64_t)n);
		return true;
	}
	buf_str(body, raw);
	bytes_put_varint(dir, raw.n);
	return true;
}

/* Times lie between 2000 and tomorrow (D23), but for a damaged blob that is encoded anew. */
static void put_times(const struct encoder *e, struct buf *out)
{
	int64_t lo = e->times[0], hi = e->times[0];
	uint64_t span;

	for (uint32_t i = 1; i < e->n; i++) {
		lo = e->times[i] < lo ? e->times[i] : lo;
		hi = e->times[i] > hi ? e->times[i] : hi;
	}
	span = (uint64_t)hi - (uint64_t)lo;
	bytes_put_u64(out, (uint64_t)lo);
	buf_c(out, span <= UINT32_MAX ? 4 : 8);
	for (uint32_t i = 0; i < e->n; i++) {
		uint64_t delta = (uint64_t)e->times[i] - (uint64_t)lo;

		if (span <= UINT32_MAX)
			bytes_put_u32(out, (uint32_t)delta);
		else
			bytes_put_u64(out, delta);
	}
}

/* How many parts there are; 0 when one is too large. */
static uint32_t pack_all(struct encoder *e, struct buf *dir, struct buf *body, struct buf *scratch)
{
	struct str ids = {(const char *)e->ids, (size_t)e->n * 16};
	uint32_t parts = 2;

	put_times(e, scratch);
	if (!pack(dir, body, PART_ID, NULL, ids) ||
		!pack(dir, body, PART_TIME, NULL, (struct str){scratch->p, scratch->n}))
		return 0;
	for (uint32_t i = 0; i < e->n_cols; i++) {
		const struct col *c = &e->cols[i];

		if (!c->n_present)
			continue;
		scratch->n = 0;
		column_encode(
			scratch, c->entries, c->n_entries, c->rows, c->codes, c->n_present, e->n);
		if (!pack(dir, body, c->kind, c, (struct str){scratch->p, scratch->n}))
			return 0;
		parts++;
	}
	if (e->n_overflow) {
		scratch->n = 0;
		bytes_put_varint(scratch, e->n_overflow);
		buf_add(scratch, e->overflow.p, e->overflow.n);
		if (!pack(dir, body, PART_OVERFLOW, NULL, (struct str){scratch->p, scratch->n}))
			return 0;
		parts++;
	}
	return parts;
}

static void put_u32_at(struct buf *b, size_t at, uint32_t v)
{
	for (size_t i = 0; i < 4; i++)
		b->p[at + i] = (char)(v >> 8 * i);
}

/* The checksum covers what comes behind it; of the bytes before it a reader knows what they must
 * be. It would be right for a buf to which something did not fit, too. */
struct str encoder_finish(struct encoder *e)
{
	struct buf dir, body, scratch, out, count;
	uint32_t parts;

	buf_init(&dir, e->a);
	buf_init(&body, e->a);
	buf_init(&scratch, e->a);
	buf_init(&out, e->a);
	buf_init(&count, e->a);
	parts = pack_all(e, &dir, &body, &scratch);
	bytes_put_varint(&count, parts);
	buf_str(&out, STR("PUGS\1\0\0\0\0\0\0\0"));
	bytes_put_u32(&out, e->n);
	bytes_put_u32(&out, (uint32_t)(count.n + dir.n));
	buf_add(&out, count.p, count.n);
	buf_add(&out, dir.p, dir.n);
	buf_add(&out, body.p, body.n);
	if (!parts || out.n > EVSEG_BLOB_MAX || dir.over || body.over || scratch.over || out.over ||
		e->overflow.over)
		return (struct str){NULL, 0};
	put_u32_at(&out, 8, hash_crc32c(0, out.p + 12, out.n - 12));
	return (struct str){out.p, out.n};
}
