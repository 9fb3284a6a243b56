/* See sealed.h. */
#include "worker/store/sealed.h"

static bool lists_agree(const struct sealed *row)
{
	int n = row->part.n;

	return row->scope.n == n && row->raw.n == n && row->stored.n == n && row->crc.n == n &&
	       row->key.n == n;
}

/* Lists and data are aggregates over the same rows, in one order; checksums would tell if not. */
bool sealed_open(struct evseg *s, const struct sealed *row, struct arena *a)
{
	struct evseg_part *parts = arena_array(a, (size_t)row->part.n + 1, sizeof(*parts));
	size_t at = 0;

	if (!parts || row->n < 0 || !lists_agree(row))
		return false;
	for (int i = 0; i < row->part.n; i++) {
		if (row->stored.v[i] < 0 || (size_t)row->stored.v[i] > row->data.n - at)
			return false;
		parts[i] = (struct evseg_part){.kind = (enum part_kind)row->part.v[i],
			.scope = (enum prop_scope)row->scope.v[i],
			.key = row->key.v[i],
			.raw_n = (uint32_t)row->raw.v[i],
			.stored = {row->data.p + at, (size_t)row->stored.v[i]}};
		at += parts[i].stored.n;
	}
	return at == row->data.n && evseg_of_parts(s, row->id, (uint32_t)row->n, parts,
					    (uint32_t)row->part.n, row->crc.v);
}
