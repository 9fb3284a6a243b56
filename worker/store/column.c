/*
 * Encoder and decoder of one column body; the format is in column.h. The
 * decoder trusts nothing: counts are held against the bytes that are left
 * before anything is allocated, codes against the dictionary.
 */
#include <endian.h>
#include "worker/store/column.h"
#include "worker/store/bytes.h"

enum { LAYOUT_DENSE = 0, LAYOUT_SPARSE = 1, UUID = 16 };

bool column_take_value(struct bytes *b, struct value *v)
{
	uint64_t bits;

	v->type = (enum value_type)bytes_u8(b);
	switch (v->type) {
	case VALUE_STR:
		v->s = bytes_take(b, bytes_varint32(b));
		return !b->bad;
	case VALUE_INT:
	case VALUE_TIME:
		v->i = bytes_zigzag(b);
		return !b->bad;
	case VALUE_DOUBLE:
		bits = bytes_u64(b);
		memcpy(&v->d, &bits, sizeof(bits));
		return !b->bad;
	case VALUE_BOOL:
		v->i = bytes_u8(b);
		return !b->bad && v->i <= 1;
	case VALUE_UUID:
		v->s = bytes_take(b, UUID);
		return !b->bad;
	case VALUE_NONE:
	default:
		return false;
	}
}

/* What nearly all entries are: a string whose length takes one byte, or a UUID. False, and
 * nothing taken: something else. What it takes column_take_value() would take in the same way. */
static inline bool take_usual(struct bytes *b, struct value *v)
{
	size_t left = bytes_left(b), at, n;

	if (left < 2)
		return false;
	v->type = (enum value_type)b->p[0];
	at = v->type == VALUE_STR ? 2 : 1;
	n = v->type == VALUE_STR ? b->p[1] : UUID;
	if ((v->type != VALUE_STR && v->type != VALUE_UUID) || n >= 0x80 || left - at < n)
		return false;
	v->s = (struct str){(const char *)b->p + at, n};
	b->p += at + n;
	return true;
}

static bool read_entries(struct column *c, struct bytes *b, struct arena *a)
{
	c->n_entries = bytes_varint32(b);
	/* the shortest entry takes two bytes */
	if (b->bad || c->n_entries > bytes_left(b) / 2)
		return false;
	c->entries = arena_alloc(a, (c->n_entries + 1) * sizeof(*c->entries));
	if (!c->entries)
		return false;
	for (uint32_t i = 0; i < c->n_entries; i++)
		if (!take_usual(b, &c->entries[i]) && !column_take_value(b, &c->entries[i]))
			return false;
	return true;
}

/* They stay where they are. */
static bool read_uuids(struct column *c, struct bytes *b)
{
	uint8_t differ = 0;
	const char *p;

	c->n_entries = bytes_varint32(b);
	if (b->bad || c->n_entries > bytes_left(b) / COLUMN_UUID)
		return false;
	p = bytes_take(b, (size_t)c->n_entries * COLUMN_UUID).p;
	for (uint32_t i = 0; i < c->n_entries; i++)
		differ |= (uint8_t)p[(size_t)i * COLUMN_UUID] ^ VALUE_UUID;
	c->uuids = p + 1;
	return !differ;
}

/* row stays below n_rows, so that the difference cannot wrap. The same row twice would be two
 * values of one event, and column_code() counts on ascending ones. */
static bool read_rows(struct column *c, struct bytes *b, struct arena *a)
{
	uint32_t *rows, row = 0;

	c->n_present = bytes_varint32(b);
	if (b->bad || c->n_present > c->n_rows || c->n_present > bytes_left(b))
		return false;
	rows = arena_alloc(a, (c->n_present + 1) * sizeof(*rows));
	if (!rows)
		return false;
	for (uint32_t i = 0; i < c->n_present; i++) {
		uint32_t step = bytes_varint32(b);

		if (b->bad || step >= c->n_rows - row || (i > 0 && step == 0))
			return false;
		row += step;
		rows[i] = row;
	}
	c->rows = rows;
	return true;
}

/* The codes, and the largest of them. A loop for each width, which compilers vectorise. */
static uint32_t spread_1(uint32_t *codes, const uint8_t *p, uint32_t n)
{
	uint8_t worst = 0;

	for (uint32_t i = 0; i < n; i++) {
		codes[i] = p[i];
		worst = p[i] > worst ? p[i] : worst;
	}
	return worst;
}

static uint32_t spread_2(uint32_t *codes, const uint8_t *p, uint32_t n)
{
	uint16_t worst = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint16_t code;

		memcpy(&code, p + sizeof(code) * i, sizeof(code));
		code = le16toh(code);
		codes[i] = code;
		worst = code > worst ? code : worst;
	}
	return worst;
}

static uint32_t spread_4(uint32_t *codes, const uint8_t *p, uint32_t n)
{
	uint32_t worst = 0;

	memcpy(codes, p, sizeof(*codes) * n);
	for (uint32_t i = 0; i < n; i++) {
		codes[i] = le32toh(codes[i]);
		worst = codes[i] > worst ? codes[i] : worst;
	}
	return worst;
}

static bool has_zero(const uint32_t *codes, uint32_t n)
{
	bool zero = false;

	for (uint32_t i = 0; i < n; i++)
		zero |= codes[i] == 0;
	return zero;
}

static bool read_codes(struct column *c, struct bytes *b, unsigned width, struct arena *a)
{
	struct str raw;
	uint32_t *codes, worst;

	if (width != 1 && width != 2 && width != 4)
		return false;
	raw = bytes_take(b, (size_t)c->n_present * width);
	if (b->bad || bytes_left(b) != 0)
		return false;
	codes = arena_alloc(a, (c->n_present + 1) * sizeof(*codes));
	if (!codes)
		return false;
	worst = (width == 1   ? spread_1
		 : width == 2 ? spread_2
			      : spread_4)(codes, (const uint8_t *)raw.p, c->n_present);
	c->codes = codes;
	/* from here on nobody asks again whether a code has an entry */
	return worst <= c->n_entries && !(c->sparse && has_zero(codes, c->n_present));
}

/* What comes behind the entries. */
static bool read_layout(struct column *c, struct bytes *b, struct arena *a)
{
	uint8_t layout = bytes_u8(b), width = bytes_u8(b);

	if (b->bad || layout > LAYOUT_SPARSE)
		return false;
	c->sparse = layout == LAYOUT_SPARSE;
	if (c->sparse && !read_rows(c, b, a))
		return false;
	return read_codes(c, b, width, a);
}

bool column_decode(struct column *c, struct str body, uint32_t n_rows, struct arena *a)
{
	struct bytes b = bytes_of(body);

	*c = (struct column){.n_rows = n_rows, .n_present = n_rows};
	return read_entries(c, &b, a) && read_layout(c, &b, a);
}

bool column_decode_uuids(struct column *c, struct str body, uint32_t n_rows, struct arena *a)
{
	struct bytes b = bytes_of(body);

	*c = (struct column){.n_rows = n_rows, .n_present = n_rows};
	return read_uuids(c, &b) && read_layout(c, &b, a);
}

uint32_t column_code(const struct column *c, uint32_t row)
{
	uint32_t lo = 0, hi = c->n_present;

	if (!c->sparse)
		return row < c->n_present ? c->codes[row] : 0;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (c->rows[mid] < row)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->n_present && c->rows[lo] == row ? c->codes[lo] : 0;
}

const struct value *column_value(const struct column *c, uint32_t row)
{
	uint32_t code = column_code(c, row);

	return code ? &c->entries[code - 1] : NULL;
}

void column_spread(const struct column *c, uint32_t *codes)
{
	if (!c->sparse) {
		memcpy(codes, c->codes, c->n_rows * sizeof(*codes));
		return;
	}
	memset(codes, 0, c->n_rows * sizeof(*codes));
	for (uint32_t i = 0; i < c->n_present; i++)
		codes[c->rows[i]] = c->codes[i];
}

void column_put_value(struct buf *out, const struct value *v)
{
	uint64_t bits;

	buf_c(out, (char)v->type);
	switch (v->type) {
	case VALUE_STR:
		bytes_put_varint(out, v->s.n);
		buf_str(out, v->s);
		break;
	case VALUE_INT:
	case VALUE_TIME:
		bytes_put_zigzag(out, v->i);
		break;
	case VALUE_DOUBLE:
		memcpy(&bits, &v->d, sizeof(bits));
		bytes_put_u64(out, bits);
		break;
	case VALUE_BOOL:
		buf_c(out, v->i ? 1 : 0);
		break;
	case VALUE_UUID:
		buf_add(out, v->s.p, 16);
		break;
	case VALUE_NONE:
	default:
		break;
	}
}

static void put_codes(struct buf *out, const uint32_t *codes, uint32_t n, unsigned width)
{
	if (!buf_room(out, (size_t)n * width))
		return;
	for (uint32_t i = 0; i < n; i++)
		for (unsigned k = 0; k < width; k++)
			out->p[out->n++] = (char)(codes[i] >> 8 * k);
}

/* Rows that are not named stay 0, which is "missing". */
static void put_dense(struct buf *out, const uint32_t *rows, const uint32_t *codes, uint32_t n,
	uint32_t n_rows, unsigned width)
{
	size_t size = (size_t)n_rows * width;

	if (!buf_room(out, size))
		return;
	memset(out->p + out->n, 0, size);
	for (uint32_t i = 0; i < n; i++)
		for (unsigned k = 0; k < width; k++)
			out->p[out->n + (size_t)rows[i] * width + k] = (char)(codes[i] >> 8 * k);
	out->n += size;
}

void column_encode(struct buf *out, const struct value *entries, uint32_t n_entries,
	const uint32_t *rows, const uint32_t *codes, uint32_t n_present, uint32_t n_rows)
{
	/* the greatest code is n_entries itself */
	unsigned width = n_entries < 256 ? 1 : n_entries < 65536 ? 2 : 4;
	/* a row delta takes at least a byte, and a binary search per lookup */
	bool sparse = (uint64_t)n_present * 2 * (width + 1) < (uint64_t)n_rows * width;
	uint32_t last = 0;

	bytes_put_varint(out, n_entries);
	for (uint32_t i = 0; i < n_entries; i++)
		column_put_value(out, &entries[i]);
	buf_c(out, sparse ? LAYOUT_SPARSE : LAYOUT_DENSE);
	buf_c(out, (char)width);
	if (!sparse) {
		put_dense(out, rows, codes, n_present, n_rows, width);
		return;
	}
	bytes_put_varint(out, n_present);
	for (uint32_t i = 0; i < n_present; i++) {
		bytes_put_varint(out, rows[i] - last);
		last = rows[i];
	}
	put_codes(out, codes, n_present, width);
}
