/* See hits.h. */
#include "worker/insights/hits.h"

enum { WORD = 8 };

/* All of a word's rows at once when they are all alike, which in most segments they are. */
bool hits_next(struct hits *h)
{
	const uint64_t all = 0x0101010101010101;
	uint32_t i = h->next, n = 0;
	uint64_t word;

	for (; i + WORD <= h->n_rows && n + WORD <= HITS; i += WORD) {
		memcpy(&word, h->match + i, sizeof(word));
		if (word == 0)
			continue;
		for (uint32_t k = 0; word == all && k < WORD; k++)
			h->rows[n + k] = i + k;
		n += word == all ? WORD : 0;
		for (uint32_t k = 0; word != all && k < WORD; k++) {
			h->rows[n] = i + k;
			n += h->match[i + k];
		}
	}
	for (; i < h->n_rows && n < HITS; i++) {
		h->rows[n] = i;
		n += h->match[i];
	}
	h->next = i;
	h->n = n;
	return n > 0;
}

uint32_t hits_consented(const struct frame *f, uint32_t *rows, uint32_t n)
{
	uint32_t kept = 0;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t row = rows[k];

		rows[kept] = row;
		kept += frame_consented(f, row);
	}
	return kept;
}

void hits_persons(const struct frame *f, const uint32_t *rows, uint32_t n, uint32_t *persons)
{
	const uint32_t *codes = f->batch->distinct.codes;

	for (uint32_t k = 0; k < n; k++)
		persons[k] = f->persons[codes[rows[k]]];
}

struct groups *groups_new(const struct frame *f, const struct batch_column *column)
{
	struct groups *g = arena_alloc(f->a, sizeof(*g));

	if (!g)
		return NULL;
	g->column = column;
	g->place = arena_array(f->a, (size_t)column->n_entries + 1, sizeof(*g->place));
	return g->place ? g : NULL;
}

/* A sort by counting that looks at no code that is not there. */
void groups_make(struct groups *g, const uint32_t *rows, uint32_t n, const uint32_t *persons)
{
	const uint32_t *codes = g->column->codes;
	uint32_t at = 0;

	g->n = 0;
	for (uint32_t k = 0; k < n; k++) {
		uint32_t code = codes[rows[k]];

		g->v[g->n].row = rows[k];
		g->v[g->n].code = code;
		g->n += g->place[code]++ == 0;
	}
	for (uint32_t i = 0; i < g->n; i++) {
		struct hits_group *group = &g->v[i];

		group->n = g->place[group->code];
		group->at = g->place[group->code] = at;
		at += group->n;
	}
	for (uint32_t k = 0; k < n && persons; k++)
		g->persons[g->place[codes[rows[k]]]++] = persons[k];
	for (uint32_t i = 0; i < g->n; i++)
		g->place[g->v[i].code] = 0;
}

/* Bytes may be anybody's: what the loop needs is not read through pointers. */
static void add_vector(uint8_t *any, const uint8_t *match, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		any[i] |= match[i];
}

const uint8_t *hits_any(const struct frame *f)
{
	uint8_t *any;

	if (f->plan->n_events == 1)
		return f->match[0];
	any = arena_zalloc(f->a, f->batch->n);
	for (uint32_t e = 0; any && e < f->plan->n_events; e++)
		add_vector(any, f->match[e], f->batch->n);
	return any;
}
