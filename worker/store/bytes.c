/*
 * Little-endian integers, varints (LEB128) and zigzag; see bytes.h.
 */
#include "worker/store/bytes.h"

static uint64_t fixed(struct bytes *b, size_t n)
{
	struct str s = bytes_take(b, n);
	uint64_t v = 0;

	for (size_t i = s.n; i > 0; i--)
		v = v << 8 | (uint8_t)s.p[i - 1];
	return v;
}

uint32_t bytes_u32(struct bytes *b)
{
	return (uint32_t)fixed(b, 4);
}

uint64_t bytes_u64(struct bytes *b)
{
	return fixed(b, 8);
}

uint64_t bytes_varint(struct bytes *b)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t c = bytes_u8(b);

		/* the tenth byte has room for one bit */
		if (b->bad || (shift == 63 && c > 1))
			break;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return v;
	}
	b->bad = true;
	return 0;
}

uint32_t bytes_varint32_long(struct bytes *b)
{
	uint64_t v = bytes_varint(b);

	if (v > UINT32_MAX) {
		b->bad = true;
		return 0;
	}
	return (uint32_t)v;
}

int64_t bytes_zigzag(struct bytes *b)
{
	uint64_t v = bytes_varint(b);

	return (int64_t)(v >> 1 ^ (~(v & 1) + 1));
}

void bytes_put_u32(struct buf *out, uint32_t v)
{
	uint8_t raw[4];

	for (int i = 0; i < 4; i++)
		raw[i] = (uint8_t)(v >> 8 * i);
	buf_add(out, raw, sizeof(raw));
}

void bytes_put_u64(struct buf *out, uint64_t v)
{
	uint8_t raw[8];

	for (int i = 0; i < 8; i++)
		raw[i] = (uint8_t)(v >> 8 * i);
	buf_add(out, raw, sizeof(raw));
}

void bytes_put_varint(struct buf *out, uint64_t v)
{
	uint8_t raw[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		raw[n++] = (uint8_t)(v | 0x80);
	raw[n++] = (uint8_t)v;
	buf_add(out, raw, n);
}

void bytes_put_zigzag(struct buf *out, int64_t v)
{
	bytes_put_varint(out, (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0));
}
