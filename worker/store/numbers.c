/* See numbers.h. */
#include <endian.h>
#include "worker/store/numbers.h"
#include "worker/store/bytes.h"

enum { WIDTH_MAX = 4 };

/* Four of three bytes at once, from three words. */
static uint32_t widen_3(uint32_t *out, const uint8_t *p, uint32_t n)
{
	uint32_t i = 0;

	for (; i + 4 <= n; i += 4, p += 12) {
		uint32_t a, b, c;

		memcpy(&a, p, 4);
		memcpy(&b, p + 4, 4);
		memcpy(&c, p + 8, 4);
		a = le32toh(a);
		b = le32toh(b);
		c = le32toh(c);
		out[i] = a & 0xffffff;
		out[i + 1] = a >> 24 | (b & 0xffff) << 8;
		out[i + 2] = b >> 16 | (c & 0xff) << 16;
		out[i + 3] = c >> 8;
	}
	return i;
}

/* A loop for each width: compilers vectorise these. */
static void widen(uint32_t *out, const uint8_t *p, uint32_t n, unsigned width)
{
	for (uint32_t i = 0; i < n && width == 1; i++)
		out[i] = p[i];
	for (uint32_t i = 0; i < n && width == 2; i++, p += 2)
		out[i] = p[0] | (uint32_t)p[1] << 8;
	for (uint32_t i = width == 3 ? widen_3(out, p, n) : n; i < n; i++)
		out[i] = p[3 * i] | (uint32_t)p[3 * i + 1] << 8 | (uint32_t)p[3 * i + 2] << 16;
	for (uint32_t i = 0; i < n && width == 4; i++, p += 4)
		out[i] = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* None is so great that it would be negative, which vectors of numbers need to know. */
static uint32_t greatest_of(const uint32_t *v, uint32_t n)
{
	int32_t worst = 0;
	uint32_t high = 0;

	for (uint32_t i = 0; i < n; i++) {
		worst = (int32_t)v[i] > worst ? (int32_t)v[i] : worst;
		high |= v[i];
	}
	return high > INT32_MAX ? UINT32_MAX : (uint32_t)worst;
}

bool numbers_read(
	const struct evseg *s, struct arena *a, const uint32_t **numbers, uint32_t *greatest)
{
	const struct evseg_part *part = evseg_find(s, PART_NUMBER, SCOPE_AUTO, STR(""));
	uint32_t *out, worst = 0;
	struct str raw;
	unsigned width;

	if (!part || !evseg_unpack(part, a, &raw) || raw.n == 0)
		return false;
	width = (uint8_t)raw.p[0];
	if (width < 1 || width > WIDTH_MAX || raw.n - 1 != (size_t)s->n * width)
		return false;
	out = arena_alloc(a, s->n * sizeof(*out));
	if (!out)
		return false;
	widen(out, (const uint8_t *)raw.p + 1, s->n, width);
	worst = greatest_of(out, s->n);
	*numbers = out;
	*greatest = worst;
	return worst <= NUMBERS_MAX;
}

void numbers_encode(struct buf *out, const uint32_t *numbers, uint32_t n)
{
	uint32_t worst = 0;
	unsigned width = 1;

	for (uint32_t i = 0; i < n; i++)
		worst = numbers[i] > worst ? numbers[i] : worst;
	while (width < WIDTH_MAX && worst >> 8 * width)
		width++;
	buf_c(out, (char)width);
	if (!buf_room(out, (size_t)n * width))
		return;
	for (uint32_t i = 0; i < n; i++)
		for (unsigned k = 0; k < width; k++)
			out->p[out->n++] = (char)(numbers[i] >> 8 * k);
}
