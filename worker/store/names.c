/*
 * See names.h. A column is unpacked, counted by (kind, type) and forgotten before the next
 * one, so that memory depends on the widest column and the number of kinds.
 */
#include <stdlib.h>
#include "shm/base/hash.h"
#include "shm/base/list.h"
#include "worker/store/bytes.h"
#include "worker/store/names.h"

enum { TYPES = VALUE_UUID + 1, VERSION = 1, CRC_BYTES = 4 };

/* ---- counting ---- */

struct cell {
	uint64_t n;
	int64_t last_ms;
};

struct count {
	const struct names_of *of;
	struct names_sink *sink;
	struct cell *cells; /* by kind and type */
	/* those that are not 0: of all kinds and types a column has few */
	uint32_t *touched, n_touched;
};

static bool count_init(
	struct count *c, const struct names_of *of, struct names_sink *sink, struct arena *a)
{
	size_t n = ((size_t)of->n_kinds + 1) * TYPES;

	*c = (struct count){.of = of, .sink = sink};
	c->cells = arena_array(a, n, sizeof(*c->cells));
	c->touched = arena_array(a, n, sizeof(*c->touched));
	return c->cells && c->touched;
}

static void count_row(struct count *c, uint32_t row, uint32_t type)
{
	uint32_t at = c->of->kinds[row] * TYPES + type;
	struct cell *cell = &c->cells[at];
	int64_t ms = c->of->times[row];

	if (cell->n++ == 0)
		c->touched[c->n_touched++] = at;
	if (cell->n == 1 || ms > cell->last_ms)
		cell->last_ms = ms;
}

/* Tells what was counted, and begins anew. */
static bool count_tell(struct count *c, enum name_list list, struct str key)
{
	bool ok = true;

	for (uint32_t i = 0; i < c->n_touched; i++) {
		struct cell *cell = &c->cells[c->touched[i]];
		uint32_t kind = c->touched[i] / TYPES;
		struct name_seen seen = {.list = list,
			.kind = kind ? c->of->entries[kind - 1].s : STR(""),
			.name = key,
			.kind_code = kind,
			.type = (enum value_type)(c->touched[i] % TYPES),
			.n = cell->n,
			.last_ms = cell->last_ms};

		if (list == NAME_KIND)
			seen.name = seen.kind;
		ok = ok && c->sink->note(c->sink, &seen);
		*cell = (struct cell){0};
	}
	c->n_touched = 0;
	return ok;
}

bool names_kinds(const struct names_of *of, struct names_sink *sink, struct arena *a)
{
	struct count c;

	if (!count_init(&c, of, sink, a))
		return false;
	for (uint32_t i = 0; i < of->seg->n; i++)
		if (of->kinds[i] && (!of->in || of->in[i]))
			count_row(&c, i, VALUE_STR);
	return count_tell(&c, NAME_KIND, STR(""));
}

/* Promoted keys are texts; an empty one in a promoted slot is a missing one (1.1). */
static uint8_t type_of(const struct value *v, enum key_class class)
{
	char scratch[VALUE_TEXT_MAX];

	if (class == KEY_PLAIN)
		return (uint8_t)v->type;
	return value_text(v, class, scratch).n ? VALUE_STR : VALUE_NONE;
}

/* A custom key that is called like a promoted one is a plain one. */
static bool count_column(struct count *c, const struct evseg_part *part, struct arena *a)
{
	enum key_class class = part->scope == SCOPE_AUTO ? value_key_class(part->key) : KEY_PLAIN;
	const struct names_of *of = c->of;
	struct column col;
	uint8_t *types;

	/* the three promoted keys that are no text are never listed (2.5) */
	if (class != KEY_PLAIN && class != KEY_STRING)
		return true;
	if (!evseg_column(of->seg, part, a, &col))
		return false;
	types = arena_zalloc(a, (size_t)col.n_entries + 1);
	if (!types)
		return false;
	for (uint32_t k = 0; k < col.n_entries; k++)
		types[k + 1] = type_of(&col.entries[k], class);
	for (uint32_t i = 0; i < col.n_present; i++) {
		uint32_t row = col.sparse ? col.rows[i] : i;

		if (types[col.codes[i]] && (!of->in || of->in[row]))
			count_row(c, row, types[col.codes[i]]);
	}
	return count_tell(c, part->scope == SCOPE_AUTO ? NAME_AUTO : NAME_CUSTOM, part->key);
}

bool names_keys(const struct names_of *of, struct names_sink *sink, struct arena *a)
{
	struct count c;
	bool ok = count_init(&c, of, sink, a);

	for (uint32_t i = 0; i < of->seg->n_parts && ok; i++) {
		struct arena_mark mark = arena_mark(a);

		if (of->seg->parts[i].kind != PART_PROP)
			continue;
		ok = count_column(&c, &of->seg->parts[i], a);
		arena_release(a, &mark);
	}
	return ok;
}

/* ---- a segment ---- */

static bool open_segment(const struct evseg *seg, struct names_of *of, struct arena *a)
{
	const struct evseg_part *part = evseg_find(seg, PART_KIND, SCOPE_AUTO, STR(""));
	uint8_t *in = seg->masked ? arena_alloc(a, seg->n) : NULL;
	uint32_t *codes = arena_array(a, seg->n, sizeof(*codes));
	struct column kind;

	*of = (struct names_of){.seg = seg, .in = in, .kinds = codes};
	if (!part || !codes || (seg->masked && !in) || !evseg_times(seg, a, &of->times) ||
		!evseg_column(seg, part, a, &kind))
		return false;
	column_spread(&kind, codes);
	of->entries = kind.entries;
	of->n_kinds = kind.n_entries;
	for (uint32_t i = 0; i < seg->n && in; i++)
		in[i] = !seg->masked[i];
	return true;
}

bool names_all(const struct evseg *seg, struct names_sink *sink, struct arena *a)
{
	struct names_of of;

	return open_segment(seg, &of, a) && names_kinds(&of, sink, a) && names_keys(&of, sink, a);
}

/* ---- packing ---- */

struct packer {
	struct names_sink sink;
	struct buf *out;
	uint32_t *numbers, n_kinds; /* of kinds, by code */
	struct str key;             /* of the entry before */
};

/* Kinds are told first (names_all()), so that keys find the number of theirs. */
static bool pack_entry(struct names_sink *sink, const struct name_seen *seen)
{
	struct packer *p = list_item(sink, struct packer, sink);

	buf_c(p->out, (char)(seen->list << 4 | seen->type));
	if (seen->list == NAME_KIND) {
		p->numbers[seen->kind_code] = ++p->n_kinds;
		bytes_put_varint(p->out, seen->name.n);
		buf_str(p->out, seen->name);
	} else {
		bytes_put_varint(p->out, p->numbers[seen->kind_code]);
		if (p->key.p && str_eq(p->key, seen->name)) {
			buf_c(p->out, 0);
		} else {
			bytes_put_varint(p->out, seen->name.n + 1);
			buf_str(p->out, seen->name);
		}
		p->key = seen->name;
	}
	bytes_put_varint(p->out, seen->n);
	bytes_put_zigzag(p->out, seen->last_ms);
	return !p->out->over;
}

static int by_key(const void *x, const void *y)
{
	const struct evseg_part *a = x, *b = y;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->scope != b->scope)
		return a->scope < b->scope ? -1 : 1;
	return str_cmp(a->key, b->key);
}

/* Columns in one order, whoever has read them. Rows of segment_column come in any: pugd verify
 * compares bytes. */
static bool in_order(const struct evseg *seg, struct evseg *out, struct arena *a)
{
	struct evseg_part *parts = arena_array(a, (size_t)seg->n_parts + 1, sizeof(*parts));

	if (!parts)
		return false;
	for (uint32_t i = 0; i < seg->n_parts; i++)
		parts[i] = seg->parts[i];
	qsort(parts, seg->n_parts, sizeof(*parts), by_key);
	*out = *seg;
	out->parts = parts;
	return true;
}

bool names_pack(const struct evseg *seg, struct arena *a, struct arena *scratch, struct str *out)
{
	struct packer p = {.sink = {.note = pack_entry}};
	struct buf entries, packed;
	struct evseg sorted;
	struct names_of of;

	buf_init(&entries, a);
	buf_init(&packed, a);
	p.out = &entries;
	if (!in_order(seg, &sorted, scratch) || !open_segment(&sorted, &of, scratch))
		return false;
	p.numbers = arena_array(scratch, (size_t)of.n_kinds + 1, sizeof(*p.numbers));
	if (!p.numbers || !names_kinds(&of, &p.sink, scratch) || !names_keys(&of, &p.sink, scratch))
		return false;
	buf_c(&packed, VERSION);
	bytes_put_varint(&packed, p.n_kinds);
	buf_add(&packed, entries.p, entries.n);
	if (entries.over || packed.over)
		return false;
	bytes_put_u32(&packed, hash_crc32c(0, packed.p, packed.n));
	*out = (struct str){packed.p, packed.n};
	return !packed.over;
}

/* ---- reading ---- */

struct unpacker {
	struct bytes b;
	struct str *kinds, key;
	uint32_t n_kinds, seen_kinds;
};

static bool take_name(struct unpacker *u, struct name_seen *seen)
{
	uint32_t n;

	if (seen->list == NAME_KIND) {
		if (u->seen_kinds == u->n_kinds)
			return false;
		seen->name = seen->kind = bytes_take(&u->b, bytes_varint32(&u->b));
		u->kinds[++u->seen_kinds] = seen->kind;
		seen->kind_code = u->seen_kinds;
		return true;
	}
	seen->kind_code = bytes_varint32(&u->b);
	/* one that has not come yet has no name */
	if (seen->kind_code > u->seen_kinds)
		return false;
	seen->kind = u->kinds[seen->kind_code];
	n = bytes_varint32(&u->b);
	if (n > 0)
		u->key = bytes_take(&u->b, n - 1);
	seen->name = u->key;
	return u->key.p != NULL;
}

static bool take_entry(struct unpacker *u, struct names_sink *sink)
{
	uint8_t head = bytes_u8(&u->b);
	struct name_seen seen = {
		.list = (enum name_list)(head >> 4), .type = (enum value_type)(head & 15)};

	if (seen.list >= NAME_LISTS || seen.type == VALUE_NONE || (unsigned)seen.type >= TYPES ||
		!take_name(u, &seen))
		return false;
	seen.n = bytes_varint(&u->b);
	seen.last_ms = bytes_zigzag(&u->b);
	return !u->b.bad && seen.n && sink->note(sink, &seen);
}

bool names_read(struct str packed, struct names_sink *sink, struct arena *a)
{
	size_t n = packed.n - CRC_BYTES;
	struct unpacker u = {.kinds = NULL};
	struct bytes crc;

	if (!packed.p || packed.n < CRC_BYTES)
		return false;
	crc = bytes_of((struct str){packed.p + n, CRC_BYTES});
	u.b = bytes_of((struct str){packed.p, n});
	if (bytes_u32(&crc) != hash_crc32c(0, packed.p, n) || bytes_u8(&u.b) != VERSION)
		return false;
	u.n_kinds = bytes_varint32(&u.b);
	if (u.b.bad || u.n_kinds > bytes_left(&u.b))
		return false;
	/* [0]: of keys whose events have no kind */
	u.kinds = arena_array(a, (size_t)u.n_kinds + 1, sizeof(*u.kinds));
	if (!u.kinds)
		return false;
	u.kinds[0] = STR("");
	while (bytes_left(&u.b))
		if (!take_entry(&u, sink))
			return false;
	return true;
}
