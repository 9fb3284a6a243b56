/* Fields as they lie on the wire, one by one, without any table. */
#ifndef PROTO_WIRE_ITEM_H
#define PROTO_WIRE_ITEM_H

#include "shm/base/str.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* One field as it lies on the wire. */
struct item {
	uint32_t number;
	unsigned wire;
	uint64_t value;   /* WIRE_VARINT, WIRE_64, WIRE_32 */
	struct str bytes; /* WIRE_BYTES */
};

/* Numbers take ten bytes at most; tags and lengths five. */
enum { LONG = 10, SHORT = 5 };

/* The tenth byte has room for one bit of 64. Longer forms than a number needs are taken. */
static inline bool take_varint(const char **p, const char *end, unsigned most, uint64_t *out)
{
	uint64_t v = 0;

	if (*p < end && (uint8_t) * *p < 0x80) {
		*out = (uint8_t) * *p;
		++*p;
		return true;
	}
	for (unsigned shift = 0; shift < 7 * most; shift += 7) {
		uint8_t c;

		if (*p == end)
			return false;
		c = (uint8_t) * *p;
		++*p;
		if (shift == 63 && c > 1)
			return false;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*out = v;
			return true;
		}
	}
	return false;
}

static inline bool take_length(const char **p, const char *end, struct str *out)
{
	uint64_t n;

	if (!take_varint(p, end, SHORT, &n) || n > (uint64_t)(end - *p))
		return false;
	*out = (struct str){*p, (size_t)n};
	*p += n;
	return true;
}

static inline uint64_t fixed(const char *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = n; i-- > 0;)
		v = v << 8 | (uint8_t)p[i];
	return v;
}

static inline bool take_fixed(const char **p, const char *end, size_t n, uint64_t *out)
{
	if ((size_t)(end - *p) < n)
		return false;
	*out = fixed(*p, n);
	*p += n;
	return true;
}

/* NULL, or why the bytes at *p are not a field. Groups (3, 4) are refused even where the field
 * is unknown. */
static inline const char *take_item(const char **p, const char *end, struct item *it)
{
	uint64_t tag;
	bool ok;

	if (!take_varint(p, end, SHORT, &tag) || tag > UINT32_MAX)
		return "has a malformed tag";
	it->number = (uint32_t)(tag >> 3);
	it->wire = tag & 7;
	if (it->number == 0)
		return "has a field with number 0";
	switch (it->wire) {
	case WIRE_VARINT:
		ok = take_varint(p, end, LONG, &it->value);
		break;
	case WIRE_BYTES:
		ok = take_length(p, end, &it->bytes);
		break;
	case WIRE_64:
		ok = take_fixed(p, end, 8, &it->value);
		break;
	case WIRE_32:
		ok = take_fixed(p, end, 4, &it->value);
		break;
	default:
		return "has a field of an unsupported wire type";
	}
	return ok ? NULL : "is cut off or malformed";
}

#endif
