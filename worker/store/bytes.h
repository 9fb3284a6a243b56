/*
 * Reading and writing of the small integers inside segments. A reader never
 * passes its end: `bad` sticks and every later read gives zero.
 */
#ifndef STORE_BYTES_H
#define STORE_BYTES_H

#include "shm/base/arena.h"

struct bytes {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct bytes bytes_of(struct str s)
{
	const uint8_t *p = (const uint8_t *)(s.p ? s.p : "");

	return (struct bytes){p, p + (s.p ? s.n : 0), false};
}

static inline size_t bytes_left(const struct bytes *b)
{
	return (size_t)(b->end - b->p);
}

/* Little-endian; 0 and `bad` where too few bytes are left. */
static inline uint8_t bytes_u8(struct bytes *b)
{
	if (b->bad || b->p == b->end) {
		b->bad = true;
		return 0;
	}
	return *b->p++;
}

uint32_t bytes_u32(struct bytes *b);
uint64_t bytes_u64(struct bytes *b);
/* LEB128; 0 and `bad` beyond 64 bits, too. */
uint64_t bytes_varint(struct bytes *b);
uint32_t bytes_varint32_long(struct bytes *b); /* for bytes_varint32() */
/* A varint that must fit 32 bits. Nearly all are one byte long, and a small blob is mostly
 * such numbers. */
static inline uint32_t bytes_varint32(struct bytes *b)
{
	if (!b->bad && b->p != b->end && *b->p < 0x80)
		return *b->p++;
	return bytes_varint32_long(b);
}

/* A varint in which the sign is the lowest bit, so that small numbers are short. */
int64_t bytes_zigzag(struct bytes *b);
/* n bytes without copying; {NULL, 0} past the end. */
static inline struct str bytes_take(struct bytes *b, size_t n)
{
	struct str s = {(const char *)b->p, n};

	if (b->bad || n > bytes_left(b)) {
		b->bad = true;
		return (struct str){NULL, 0};
	}
	b->p += n;
	return s;
}

/* Their inverses; at the arena's cap out->over, as for any buf. */
void bytes_put_u32(struct buf *out, uint32_t v);
void bytes_put_u64(struct buf *out, uint64_t v);
void bytes_put_varint(struct buf *out, uint64_t v);
void bytes_put_zigzag(struct buf *out, int64_t v);

#endif
