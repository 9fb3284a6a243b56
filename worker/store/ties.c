/* See ties.h. */
#include "worker/store/ties.h"
#include "worker/store/bytes.h"

enum { ID = 16 };

/* The sum is of 64 bits, so that no step brings it back into range. Ascending and each once, for
 * batch_tie() searches them. */
static bool read_body(struct bytes *b, uint32_t n, uint32_t n_rows, uint32_t *rows, uint8_t *ids)
{
	uint64_t row = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t step = bytes_varint32(b);
		struct str id = bytes_take(b, ID);

		row += step;
		if (b->bad || row >= n_rows || (i > 0 && step == 0))
			return false;
		rows[i] = (uint32_t)row;
		memcpy(ids + (size_t)i * ID, id.p, ID);
	}
	return bytes_left(b) == 0;
}

bool ties_read(const struct evseg *s, struct arena *a, struct ties *out)
{
	const struct evseg_part *part = evseg_find(s, PART_TIES, SCOPE_AUTO, STR(""));
	uint32_t n, *rows;
	struct bytes b;
	struct str raw;
	uint8_t *ids;

	*out = (struct ties){.n = 0};
	if (!part)
		return true;
	if (!evseg_unpack(part, a, &raw))
		return false;
	b = bytes_of(raw);
	n = bytes_varint32(&b);
	/* without ties there is no part (put_ties()) */
	if (b.bad || n == 0 || n > s->n || n > bytes_left(&b) / ID)
		return false;
	rows = arena_array(a, n, sizeof(*rows));
	ids = arena_alloc(a, (size_t)n * ID);
	if (!rows || !ids || !read_body(&b, n, s->n, rows, ids))
		return false;
	*out = (struct ties){rows, ids, n};
	return true;
}

void ties_encode(struct buf *out, const struct ties *t)
{
	uint32_t before = 0;

	bytes_put_varint(out, t->n);
	for (uint32_t i = 0; i < t->n; i++) {
		bytes_put_varint(out, t->rows[i] - before);
		buf_add(out, t->ids + (size_t)i * ID, ID);
		before = t->rows[i];
	}
}
