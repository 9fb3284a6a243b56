/* See hits.h. */
#include "worker/insights/hits.h"
#include "worker/insights/watch.h"

enum { WORD = 8 };

/* All of a word's rows at once when they are all alike, which in most segments they are. Of other
 * words each row is written, and the next one overwrites it unless it stays: so bytes of `match`
 * must be 0 or 1, and there is room for a whole word before one is begun. */
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

/* Where the ids are not 0, which is a cookieless visitor's (numbers.h). */
static void with_ids(uint8_t *out, const uint8_t *match, const uint32_t *codes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		out[i] = match[i] & (codes[i] != 0);
}

static void with_consent(uint8_t *out, const struct frame *f, const uint8_t *match)
{
	for (uint32_t i = 0; i < f->batch->n; i++)
		out[i] = match[i] & frame_consented(f, i);
}

static uint32_t sum(const uint8_t *match, uint32_t n)
{
	uint32_t all = 0;

	for (uint32_t i = 0; i < n; i++)
		all += match[i];
	return all;
}

bool hits_pick(struct picked *p, const struct frame *f, const uint8_t *match, bool consented)
{
	uint32_t n = f->batch->n;
	uint8_t *out;

	*p = (struct picked){.f = f, .match = match};
	if (consented) {
		out = arena_alloc(f->a, n);
		if (!out)
			return false;
		if (f->cookieless)
			with_consent(out, f, match);
		else
			with_ids(out, match, f->batch->distinct.codes, n);
		p->match = out;
	}
	p->every = !memchr(p->match, 0, n);
	p->n = p->every ? n : sum(p->match, n);
	return true;
}

/* Bytes may be anybody's: what the loops need is not read through pointers. Rows behind the last
 * one that is picked are written behind it: `out` has room for one more. */
static void pick(uint32_t *out, const uint32_t *column, const uint8_t *match, uint32_t rows)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < rows; i++) {
		out[n] = column[i];
		n += match[i];
	}
}

static void pick_rows(uint32_t *out, const uint8_t *match, uint32_t rows)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < rows; i++) {
		out[n] = i;
		n += match[i];
	}
}

const uint32_t *hits_column(const struct picked *p, const uint32_t *column)
{
	uint32_t rows = p->f->batch->n;
	uint32_t *out;

	if (p->every)
		return column;
	out = arena_alloc(p->f->a, ((size_t)p->n + 1) * sizeof(*out));
	if (out)
		pick(out, column, p->match, rows);
	return out;
}

bool hits_rows(struct picked *p)
{
	uint32_t *rows;

	if (p->every)
		return true;
	rows = arena_alloc(p->f->a, ((size_t)p->n + 1) * sizeof(*rows));
	if (rows)
		pick_rows(rows, p->match, p->f->batch->n);
	p->rows = rows;
	return rows != NULL;
}

/* A flat segment lies in one stretch: the edges that its plan names are where stretches begin
 * (compile.c). Rows of the inbox are in no order, which only makes runs shorter. */
uint32_t hits_in_bucket(const struct picked *p, const struct buckets *b, struct buckets_near *near,
	uint32_t at, uint32_t *bucket)
{
	const int64_t *times = p->f->batch->times;
	int64_t from, to;
	uint32_t k = at + 1;

	*bucket = buckets_find_near(b, near, times[p->f->batch->flat ? 0 : hits_row(p, at)]);
	if (p->f->batch->flat)
		return p->n - at;
	from = near->from;
	to = near->to;
	while (k < p->n && times[hits_row(p, k)] >= from && times[hits_row(p, k)] < to)
		k++;
	return k - at;
}

const uint32_t *hits_ids(const struct picked *p)
{
	const struct frame *f = p->f;
	const uint32_t *codes = hits_column(p, f->batch->distinct.codes);
	uint32_t *out;

	if (!codes || f->batch->numbered)
		return codes;
	out = arena_alloc(f->a, ((size_t)p->n + 1) * sizeof(*out));
	for (uint32_t i = 0; out && i < p->n; i++)
		out[i] = people_id(f->people, f->persons[codes[i]]);
	return out;
}

/* Grows with ids that are met for the first time: to be asked for frame by frame. */
uint32_t hits_ids_end(const struct frame *f)
{
	return people_id(f->people, people_end(f->people));
}

bool groups_init(struct groups *g, uint32_t n_codes, uint32_t n, struct arena *a)
{
	size_t codes = (size_t)n_codes + 1, most = codes < n ? codes : n;

	*g = (struct groups){.n_codes = n_codes,
		.place = arena_array(a, COUNT_LANES * codes, sizeof(*g->place)),
		/* one more is written than there are */
		.v = arena_alloc(a, (most + 1) * sizeof(*g->v)),
		.values = arena_alloc(a, ((size_t)n + 1) * sizeof(*g->values))};
	return g->place && g->v && g->values;
}

/* Counts the codes that there are, in order of appearance. */
static uint32_t count_few(struct groups *g, const uint32_t *codes, uint32_t n)
{
	uint32_t found = 0;

	for (uint32_t k = 0; k < n; k++) {
		g->v[found].code = codes[k];
		found += g->place[codes[k]]++ == 0;
	}
	return found;
}

/* All codes, in lanes: the next row need not wait for the count of the one before, which is
 * often of the same code. */
static void count_many(uint32_t *place, size_t lane, const uint32_t *codes, uint32_t n)
{
	uint32_t k = 0;

	for (; k + COUNT_LANES <= n; k += COUNT_LANES)
		for (uint32_t i = 0; i < COUNT_LANES; i++)
			place[i * lane + codes[k + i]]++;
	for (; k < n; k++)
		place[codes[k]]++;
}

/* In the lanes of count_many(), or values would run into those of other codes. So a group's values
 * are by lane, not by row: they go into sets, and nobody asks for their order. */
static void spread_many(uint32_t *values, uint32_t *place, size_t lane, const uint32_t *codes,
	const uint32_t *from, uint32_t n)
{
	uint32_t k = 0;

	for (; k + COUNT_LANES <= n; k += COUNT_LANES)
		for (uint32_t i = 0; i < COUNT_LANES; i++)
			values[place[i * lane + codes[k + i]]++] = from[k + i];
	for (; k < n; k++)
		values[place[codes[k]]++] = from[k];
}

/* Where the values of a code begin in each of the lanes; the code's group, if it has any, else its
 * place is for the next one. */
static void begin_group(struct groups *g, uint32_t code, uint32_t lanes, uint32_t *at)
{
	struct group *v = &g->v[g->n];
	size_t lane = (size_t)g->n_codes + 1;

	*v = (struct group){.code = code, .at = *at};
	for (uint32_t i = 0; i < lanes; i++) {
		uint32_t n = g->place[i * lane + code];

		g->place[i * lane + code] = *at;
		*at += n;
	}
	v->n = *at - v->at;
	g->n += v->n > 0;
}

/* A sort by counting. Where there are many codes for few rows it looks at none that is not
 * there. Either way leaves g->place all 0, as the next call wants it. */
void groups_make(struct groups *g, const uint32_t *codes, uint32_t n, const uint32_t *values)
{
	size_t lane = (size_t)g->n_codes + 1;
	uint32_t at = 0;

	g->n = 0;
	if (lane * COUNT_LANES <= n) {
		count_many(g->place, lane, codes, n);
		for (uint32_t code = 0; code <= g->n_codes; code++)
			begin_group(g, code, COUNT_LANES, &at);
		if (values)
			spread_many(g->values, g->place, lane, codes, values, n);
		memset(g->place, 0, COUNT_LANES * lane * sizeof(*g->place));
		return;
	}
	for (uint32_t found = count_few(g, codes, n); g->n < found;)
		begin_group(g, g->v[g->n].code, 1, &at);
	for (uint32_t k = 0; k < n && values; k++)
		g->values[g->place[codes[k]]++] = values[k];
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
	for (uint32_t e = 0; any && e < f->plan->n_events; e++) {
		if (watch_due(e))
			return NULL;
		add_vector(any, f->match[e], f->batch->n);
	}
	return any;
}
