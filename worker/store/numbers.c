/* See numbers.h. */
#include "worker/store/numbers.h"
#include "worker/store/bytes.h"

enum { WIDTH_MAX = 4 };

/* A loop for each width: compilers vectorise these. */
static void widen(uint32_t *out, const uint8_t *p, uint32_t n, unsigned width)
{
	for (uint32_t i = 0; i < n && width == 1; i++)
		out[i] = p[i];
	for (uint32_t i = 0; i < n && width == 2; i++, p += 2)
		out[i] = p[0] | (uint32_t)p[1] << 8;
	for (uint32_t i = 0; i < n && width == 3; i++, p += 3)
		out[i] = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
	for (uint32_t i = 0; i < n && width == 4; i++, p += 4)
		out[i] = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
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
	out = arena_array(a, s->n, sizeof(*out));
	if (!out)
		return false;
	widen(out, (const uint8_t *)raw.p + 1, s->n, width);
	for (uint32_t i = 0; i < s->n; i++)
		worst = out[i] > worst ? out[i] : worst;
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
