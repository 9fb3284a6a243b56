/*
 * Opens level 0 segments; see evseg.h for the format. The bytes come from our
 * own database, but a flipped bit or a bug of another version must end as an
 * error of one query: everything is bounded before it is used.
 */
#include <endian.h>
#include <lz4.h>
#include "shm/base/hash.h"
#include "worker/store/bytes.h"
#include "worker/store/evseg.h"

enum { HEADER_BYTES = 20, CRC_AT = 8, CRC_FROM = 12, VERSION = 1 };

static bool read_part(struct bytes *dir, struct evseg_part *part)
{
	uint32_t stored_n;

	*part = (struct evseg_part){.kind = (enum part_kind)bytes_u8(dir)};
	/* what is beyond is of level 1 only */
	if (part->kind < PART_ID || part->kind > PART_OVERFLOW)
		return false;
	if (part->kind == PART_PROP) {
		part->scope = (enum prop_scope)bytes_u8(dir);
		part->key = bytes_take(dir, bytes_varint32(dir));
	}
	part->raw_n = bytes_varint32(dir);
	stored_n = bytes_varint32(dir);
	part->stored = (struct str){NULL, stored_n};
	return !dir->bad && part->scope <= SCOPE_CUSTOM && stored_n <= part->raw_n &&
	       part->raw_n <= EVSEG_PART_MAX;
}

static bool read_directory(struct evseg *s, struct bytes *dir, struct bytes *body, struct arena *a)
{
	struct evseg_part *parts;
	uint32_t n = bytes_varint32(dir);

	/* the shortest directory entry takes three bytes */
	if (dir->bad || n > bytes_left(dir) / 3)
		return false;
	parts = arena_alloc(a, (n + 1) * sizeof(*parts));
	if (!parts)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (!read_part(dir, &parts[i]))
			return false;
		parts[i].stored = bytes_take(body, parts[i].stored.n);
		if (body->bad)
			return false;
	}
	s->parts = parts;
	s->n_parts = n;
	return bytes_left(dir) == 0 && bytes_left(body) == 0;
}

bool evseg_open(struct evseg *s, struct str blob, struct arena *a)
{
	struct bytes b = bytes_of(blob), dir;
	struct str head;
	uint32_t crc, version;

	*s = (struct evseg){0};
	if (blob.n > EVSEG_BLOB_MAX)
		return false;
	head = bytes_take(&b, 4);
	version = bytes_u32(&b);
	crc = bytes_u32(&b);
	/* version, level 0 and zeros, as one number */
	if (b.bad || !str_eq(head, STR("PUGS")) || version != VERSION)
		return false;
	if (crc != hash_crc32c(0, blob.p + CRC_FROM, blob.n - CRC_FROM))
		return false;
	s->n = bytes_u32(&b);
	dir = bytes_of(bytes_take(&b, bytes_u32(&b)));
	if (b.bad || s->n == 0 || s->n > EVSEG_EVENTS_MAX)
		return false;
	return read_directory(s, &dir, &b, a);
}

/* Below 64 bytes LZ4 saves nothing that its own overhead does not eat. */
enum { PACK_FROM = 64 };

bool evseg_pack(struct evseg_part *part, struct str raw, struct arena *a, struct arena *scratch)
{
	int bound = LZ4_compressBound((int)raw.n), n = 0;
	struct str stored = raw;
	char *out;

	if (raw.n >= PACK_FROM) {
		out = arena_alloc(scratch, (size_t)bound);
		if (!out)
			return false;
		n = LZ4_compress_default(raw.p, out, (int)raw.n, bound);
		/* equal lengths say that it is not compressed */
		if (n > 0 && (size_t)n < raw.n)
			stored = (struct str){out, (size_t)n};
	}
	part->raw_n = (uint32_t)raw.n;
	part->stored = (struct str){arena_str(a, stored), stored.n};
	return part->stored.p != NULL;
}

/* With the id a column cannot be taken for that of another segment; with the key's length no byte
 * of it passes for one of the data. */
uint32_t evseg_part_crc(const struct evseg_part *part, int64_t id)
{
	uint64_t numbers[] = {(uint64_t)id, part->key.n, part->raw_n};
	uint8_t head[2 + sizeof(numbers)] = {(uint8_t)part->kind, (uint8_t)part->scope};
	uint32_t crc;

	for (size_t i = 0; i < sizeof(numbers); i++)
		head[2 + i] = (uint8_t)(numbers[i / 8] >> 8 * (i % 8));
	crc = hash_crc32c(0, head, sizeof(head));
	crc = hash_crc32c(crc, part->key.p, part->key.n);
	return hash_crc32c(crc, part->stored.p, part->stored.n);
}

bool evseg_of_parts(struct evseg *s, int64_t id, uint32_t n, const struct evseg_part *parts,
	uint32_t n_parts, const int32_t *crcs)
{
	*s = (struct evseg){.n = n, .parts = parts, .n_parts = n_parts, .id = id};
	if (n == 0 || n > EVSEG_EVENTS_MAX)
		return false;
	for (uint32_t i = 0; i < n_parts; i++) {
		const struct evseg_part *p = &parts[i];

		if (p->kind < PART_ID || p->kind >= PART_KINDS || p->scope > SCOPE_CUSTOM ||
			p->raw_n > EVSEG_PART_MAX || p->stored.n > p->raw_n ||
			(crcs && evseg_part_crc(p, id) != (uint32_t)crcs[i]))
			return false;
	}
	return true;
}

bool evseg_mask(struct evseg *s, const int32_t *refused, uint32_t n, struct arena *a)
{
	uint8_t *masked;

	if (n == 0)
		return true;
	masked = arena_zalloc(a, s->n);
	if (!masked)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (refused[i] < 0 || (uint32_t)refused[i] >= s->n)
			return false;
		masked[refused[i]] = 1;
	}
	s->masked = masked;
	return true;
}

const struct evseg_part *evseg_find(
	const struct evseg *s, enum part_kind kind, enum prop_scope scope, struct str key)
{
	for (uint32_t i = 0; i < s->n_parts; i++) {
		const struct evseg_part *part = &s->parts[i];

		if (part->kind != kind)
			continue;
		if (kind != PART_PROP || (part->scope == scope && str_eq(part->key, key)))
			return part;
	}
	return NULL;
}

/* raw_n is at most EVSEG_PART_MAX: whoever made the part of stored bytes has looked. What is not
 * compressed stays where it is. */
bool evseg_unpack(const struct evseg_part *part, struct arena *a, struct str *raw)
{
	char *out;
	int n;

	if (part->stored.n == part->raw_n) {
		*raw = part->stored;
		return true;
	}
	out = arena_alloc(a, part->raw_n + 1);
	if (!out)
		return false;
	n = LZ4_decompress_safe(part->stored.p, out, (int)part->stored.n, (int)part->raw_n);
	*raw = (struct str){out, part->raw_n};
	return n >= 0 && (uint32_t)n == part->raw_n;
}

/*
 * Readers take the string of a kind or an id, and the 16 bytes of a session,
 * without asking again; only a property may be of any type.
 */
static bool right_types(enum part_kind kind, const struct column *c)
{
	enum value_type type = kind == PART_SESSION ? VALUE_UUID : VALUE_STR;

	if (kind != PART_KIND && kind != PART_DISTINCT && kind != PART_SESSION)
		return true;
	for (uint32_t i = 0; i < c->n_entries; i++)
		if (c->entries[i].type != type)
			return false;
	return true;
}

bool evseg_column(
	const struct evseg *s, const struct evseg_part *part, struct arena *a, struct column *c)
{
	struct str raw;

	return evseg_unpack(part, a, &raw) && column_decode(c, raw, s->n, a) &&
	       right_types(part->kind, c);
}

bool evseg_uuids(
	const struct evseg *s, const struct evseg_part *part, struct arena *a, struct column *c)
{
	struct str raw;

	return evseg_unpack(part, a, &raw) && column_decode_uuids(c, raw, s->n, a);
}

bool evseg_kinds(const struct evseg *s, struct arena *a, struct str **kinds, uint32_t *n)
{
	const struct evseg_part *part = evseg_find(s, PART_KIND, SCOPE_AUTO, STR(""));
	struct column c;
	uint8_t *used;

	*n = 0;
	if (!part || !evseg_column(s, part, a, &c))
		return false;
	used = arena_zalloc(a, (size_t)c.n_entries + 1);
	*kinds = arena_array(a, (size_t)c.n_entries + 1, sizeof(**kinds));
	if (!used || !*kinds)
		return false;
	for (uint32_t i = 0; i < c.n_present; i++)
		used[c.codes[i]] = 1;
	for (uint32_t i = 0; i < c.n_entries; i++)
		if (used[i + 1])
			(*kinds)[(*n)++] = c.entries[i].s;
	return true;
}

static bool read_times(struct bytes *b, uint32_t n, int64_t *times)
{
	int64_t base = (int64_t)bytes_u64(b);
	uint8_t width = bytes_u8(b);
	const uint8_t *p = b->p;

	if (b->bad || (width != 4 && width != 8) || bytes_left(b) != (size_t)n * width)
		return false;
	/* one check for all short deltas, so that the loop is only loads and additions */
	if (width == 4 && base <= INT64_MAX - UINT32_MAX) {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t delta;

			memcpy(&delta, p + sizeof(delta) * i, sizeof(delta));
			times[i] = base + (int64_t)le32toh(delta);
		}
		return true;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t delta = width == 4 ? bytes_u32(b) : bytes_u64(b);

		if (__builtin_add_overflow(base, (int64_t)delta, &times[i]))
			return false;
	}
	return true;
}

bool evseg_times(const struct evseg *s, struct arena *a, const int64_t **times)
{
	const struct evseg_part *part = evseg_find(s, PART_TIME, SCOPE_AUTO, STR(""));
	struct str raw;
	struct bytes b;
	int64_t *out;

	if (!part || !evseg_unpack(part, a, &raw))
		return false;
	out = arena_alloc(a, s->n * sizeof(*out));
	b = bytes_of(raw);
	*times = out;
	return out && read_times(&b, s->n, out);
}

bool evseg_ids(const struct evseg *s, struct arena *a, const uint8_t **ids)
{
	const struct evseg_part *part = evseg_find(s, PART_ID, SCOPE_AUTO, STR(""));
	struct str raw;

	if (!part || !evseg_unpack(part, a, &raw) || raw.n != (size_t)s->n * 16)
		return false;
	*ids = (const uint8_t *)raw.p;
	return true;
}

bool evseg_overflow_open(struct evseg_overflow *o, struct str raw)
{
	*o = (struct evseg_overflow){.b = bytes_of(raw)};
	o->left = bytes_varint32(&o->b);
	return !o->b.bad;
}

/* encode.c writes them in the order of their rows. Their number was not held against the bytes:
 * too great a one ends here. */
static bool fetch(const struct evseg *s, struct evseg_overflow *o)
{
	uint32_t row = bytes_varint32(&o->b);
	struct prop *p = &o->prop;

	p->scope = (enum prop_scope)bytes_u8(&o->b);
	p->key = bytes_take(&o->b, bytes_varint32(&o->b));
	if (o->b.bad || p->scope > SCOPE_CUSTOM || row >= s->n || row < o->row ||
		!column_take_value(&o->b, &p->value))
		return false;
	o->row = row;
	o->left--;
	return o->pending = true;
}

int evseg_overflow_next(
	const struct evseg *s, struct evseg_overflow *o, uint32_t row, struct prop *out)
{
	while (o->pending || o->left > 0) {
		if (!o->pending && !fetch(s, o))
			return -1;
		if (o->row > row)
			return 0;
		o->pending = false;
		if (o->row == row) {
			*out = o->prop;
			return 1;
		}
	}
	return 0;
}

bool evseg_overflow_index(
	const struct evseg *s, struct str raw, struct arena *a, const struct evseg_spilled **of)
{
	struct evseg_spilled *out = arena_array(a, (size_t)s->n + 1, sizeof(*out));
	struct evseg_overflow o;

	if (!out || !evseg_overflow_open(&o, raw))
		return false;
	while (o.left > 0) {
		uint32_t at = (uint32_t)(o.b.p - (const uint8_t *)raw.p);

		if (!fetch(s, &o))
			return false;
		if (out[o.row].n++ == 0)
			out[o.row].at = at;
	}
	*of = out;
	return true;
}

void evseg_overflow_at(struct evseg_overflow *o, struct str raw, const struct evseg_spilled *at)
{
	struct str rest = {raw.p + at->at, raw.n - at->at};

	*o = (struct evseg_overflow){.b = bytes_of(rest), .left = at->n};
}
