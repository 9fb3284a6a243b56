/*
 * See trail.h. What is sorted are the numbers of a day's events, by time, whoever did them: they
 * come from a few segments, each in order already, and somebody who does something often does so
 * again soon. Blocks of a day that was visited are used again.
 */
#include "worker/insights/trail_internal.h"
#include "worker/insights/watch.h"

enum { DAY_MS = 86400000 };
/* MANY: events of a day that is sorted in slices; EVERY: blocks until somebody may have left */
enum { SLICE_BITS = 9, MANY = 1 << 19, EVERY = 256 };
bool trails_init(struct trails *t, struct arena *a, int64_t from_ms, int64_t to_ms)
{
	int64_t rest = from_ms % DAY_MS;

	*t = (struct trails){.a = a, .from_ms = from_ms};
	t->first_ms = from_ms - (rest < 0 ? rest + DAY_MS : rest);
	t->n_days = to_ms > from_ms ? (uint32_t)((to_ms - 1 - t->first_ms) / DAY_MS) + 1 : 0;
	t->days = arena_array(a, (size_t)t->n_days + 1, sizeof(*t->days));
	return t->days != NULL;
}

/* ---- collecting ---- */

static struct trail_block *block_new(struct trails *t)
{
	struct trail_block *b = t->spare;

	if (b) {
		t->spare = b->next;
	} else {
		b = arena_alloc(t->a, sizeof(*b));
		if (!b)
			return NULL;
		b->origins = NULL;
		b->ids = NULL;
	}
	b->next = NULL;
	b->n = 0;
	b->mixed = false;
	memset(b->known, 0, sizeof(b->known));
	return b;
}

/* The day's last block, which has room; NULL at the arena's cap. */
static struct trail_block *last_block(struct trails *t, struct trail_day *day)
{
	struct trail_block *b = day->last;

	if (b && b->n < TRAIL_BLOCK)
		return b;
	b = block_new(t);
	if (!b)
		return NULL;
	if (day->last)
		day->last->next = b;
	else
		day->first = b;
	day->last = b;
	return b;
}

static uint32_t row_at(const struct trail_rows *e, uint32_t k)
{
	return e->rows ? e->rows[k] : k;
}

/* How many from the one at `from` on are of its day. Rows mostly are in order. */
static uint32_t of_one_day(
	const struct batch *b, const struct trail_rows *e, uint32_t from, int64_t begin_ms)
{
	uint32_t k = from + 1;

	if (b->ordered && b->times[row_at(e, e->n - 1)] - begin_ms < DAY_MS)
		return e->n - from;
	while (k < e->n && (uint64_t)(b->times[row_at(e, k)] - begin_ms) < DAY_MS)
		k++;
	return k - from;
}

/* Notes the ids of the last n items of a block, as far as they are known. */
static bool add_ids(struct trails *t, struct trail_block *to, uint32_t n, const struct batch *b,
	const struct trail_rows *e, uint32_t from)
{
	for (uint32_t k = 0, at = to->n - n; k < n; k++, at++) {
		uint64_t id[2];

		if (!batch_id(b, row_at(e, from + k), id))
			continue;
		if (!to->ids)
			to->ids = arena_alloc(t->a, TRAIL_BLOCK * sizeof(*to->ids));
		if (!to->ids)
			return false;
		memcpy(to->ids[at], id, sizeof(id));
		to->known[at / 64] |= (uint64_t)1 << at % 64;
	}
	return true;
}

/* The segment of the next n. False at the arena's cap. */
static bool add_origin(struct trails *t, struct trail_block *to, uint32_t n)
{
	if (to->n == 0)
		to->origin = t->source;
	if (!to->mixed && to->origin == t->source)
		return true;
	if (!to->origins)
		to->origins = arena_alloc(t->a, TRAIL_BLOCK * sizeof(*to->origins));
	if (!to->origins)
		return false;
	for (uint32_t k = 0; !to->mixed && k < to->n; k++)
		to->origins[k] = to->origin;
	for (uint32_t k = 0; k < n; k++)
		to->origins[to->n + k] = t->source;
	to->mixed = true;
	return true;
}

/* Loops without a question inside: whether there are rows is known where this is called. */
static inline __attribute__((always_inline)) void fill_keys(
	uint64_t *keys, uint32_t n, const int64_t *times, const uint32_t *rows, int64_t begin_ms)
{
	for (uint32_t k = 0; k < n; k++)
		keys[k] = (uint64_t)(times[rows ? rows[k] : k] - begin_ms) << TRAIL_VALUE_BITS;
}

/* Those from `from` on are of one day; the block has room for them. */
static void fill(struct trail_block *to, uint32_t n, const struct batch *b,
	const struct trail_rows *e, uint32_t from, int64_t begin_ms)
{
	uint64_t *keys = to->keys + to->n;

	memcpy(to->owners + to->n, e->owners + from, n * sizeof(*to->owners));
	if (e->rows)
		fill_keys(keys, n, b->times, e->rows + from, begin_ms);
	else
		fill_keys(keys, n, b->times + from, NULL, begin_ms);
	for (uint32_t k = 0; k < n && e->values; k++)
		keys[k] |= e->values[from + k];
	for (uint32_t k = 0; k < n && !e->values; k++)
		keys[k] |= e->value;
	to->n += n;
}

static bool values_fit(const struct trail_rows *e)
{
	uint32_t all = e->values ? 0 : e->value;

	for (uint32_t k = 0; k < e->n && e->values; k++)
		all |= e->values[k];
	return all <= TRAIL_VALUE_MAX;
}

/* A value that is too large would be taken for time, hence the look at all of them. */
bool trails_add(struct trails *t, const struct batch *b, const struct trail_rows *e)
{
	t->source++;
	if (!values_fit(e))
		return false;
	for (uint32_t i = 0, n; i < e->n; i += n) {
		uint32_t no = (uint32_t)((b->times[row_at(e, i)] - t->first_ms) / DAY_MS);
		int64_t begin_ms = t->first_ms + (int64_t)no * DAY_MS;
		struct trail_day *day = &t->days[no];

		n = of_one_day(b, e, i, begin_ms);
		day->n += n;
		for (uint32_t k = 0, some; k < n; k += some) {
			struct trail_block *to = last_block(t, day);

			if (!to)
				return false;
			some = n - k < TRAIL_BLOCK - to->n ? n - k : TRAIL_BLOCK - to->n;
			if (!add_origin(t, to, some))
				return false;
			fill(to, some, b, e, i + k, begin_ms);
			if ((b->ids || b->tied) && !add_ids(t, to, some, b, e, i + k))
				return false;
		}
	}
	return true;
}

/* ---- a day in order ---- */

/* Where in t->order the slices of a day end, each of some minutes; at first how many are of each.
 * Only large days have several: so what is needed to sort one is small, and the first digit of
 * times is done with. */
struct slices {
	uint32_t ends[1 << SLICE_BITS];
	uint32_t n;
	unsigned bits; /* the low ones of a time, which differ in a slice */
};

static uint64_t numbered(const struct trail_block *b, uint32_t k, uint64_t no)
{
	return b->keys[k] >> TRAIL_VALUE_BITS << 32 | (no + k);
}

static void number_all(struct trails *t)
{
	uint64_t *order = t->order;

	for (uint32_t i = 0; i < t->n_blocks; i++)
		for (uint32_t k = 0, n = t->blocks[i]->n; k < n; k++)
			*order++ = numbered(t->blocks[i], k, (uint64_t)i * TRAIL_BLOCK);
}

/* Those of a slice together. False when nobody waits. Within a slice they stay in the order in
 * which they were added, which decide() relies on. */
static bool number_slices(struct trails *t, struct slices *s)
{
	unsigned shift = TRAIL_VALUE_BITS + s->bits;
	uint32_t at = 0;

	for (uint32_t i = 0; i < t->n_blocks; i++)
		for (uint32_t k = 0, n = t->blocks[i]->n; k < n; k++)
			s->ends[t->blocks[i]->keys[k] >> shift]++;
	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t some = s->ends[i];

		s->ends[i] = at;
		at += some;
	}
	for (uint32_t i = 0; i < t->n_blocks; i++) {
		const struct trail_block *b = t->blocks[i];

		if (i % EVERY == 0 && watch_over())
			return false;
		for (uint32_t k = 0, n = b->n; k < n; k++)
			t->order[s->ends[b->keys[k] >> shift]++] =
				numbered(b, k, (uint64_t)i * TRAIL_BLOCK);
	}
	return true;
}

/* Room for n where there was less, which stays in the arena: so there is none to spare the first
 * time, but then by quarters. */
static uint32_t more_than(uint32_t cap, uint32_t n)
{
	return n - cap > cap / 4 ? n : cap + cap / 4;
}

/* Room for a day of n events. */
static bool make_room(struct trails *t, uint32_t n)
{
	if (n > t->cap) {
		t->cap = more_than(t->cap, n);
		t->order = arena_alloc(t->a, (size_t)t->cap * sizeof(*t->order));
		/* all but the last one of a day are full */
		t->blocks = arena_alloc(
			t->a, ((size_t)t->cap / TRAIL_BLOCK + 1) * sizeof(struct trail_block *));
	}
	return t->order && t->blocks;
}

/* Room to order the largest slice. */
static bool make_spares(struct trails *t, const struct slices *s)
{
	uint32_t most = 0;

	for (uint32_t i = 0, begin = 0; i < s->n; begin = s->ends[i++])
		most = s->ends[i] - begin > most ? s->ends[i] - begin : most;
	if (most > t->cap_spares) {
		t->cap_spares = more_than(t->cap_spares, most);
		t->spares = arena_alloc(t->a, (size_t)t->cap_spares * sizeof(*t->spares));
	}
	return t->spares != NULL;
}

static bool give(struct trails *t, const uint64_t *order, uint32_t n)
{
	struct trail_event v[TRAIL_SOME];

	for (uint32_t i = 0, some; i < n; i += some) {
		some = n - i < TRAIL_SOME ? n - i : TRAIL_SOME;
		for (uint32_t k = 0; k < some; k++)
			v[k] = (struct trail_event){
				*trail_key(t, order[i + k]), trail_owner(t, order[i + k])};
		if ((i % WATCH_EVERY == 0 && watch_over()) ||
			!t->visit(t->kernel, t->day_ms, v, some))
			return false;
	}
	return true;
}

/* Gives all numbers of a day to its slices. False when nobody waits. */
static bool number(struct trails *t, struct slices *s, uint32_t n)
{
	bool several = n > MANY;

	s->n = several ? 1u << SLICE_BITS : 1;
	s->bits = TRAIL_DAY_BITS - (several ? SLICE_BITS : 0);
	if (several) {
		memset(s->ends, 0, sizeof(s->ends));
		return number_slices(t, s);
	}
	s->ends[0] = n;
	number_all(t);
	return true;
}

/* Blocks are given back only when all of the day was visited: the numbers in t->order refer to
 * them. They keep their room for ids and origins. */
static bool visit_day(struct trails *t, struct trail_day *day)
{
	struct slices slices;

	if (!make_room(t, day->n))
		return false;
	t->n_blocks = 0;
	for (struct trail_block *b = day->first; b; b = b->next)
		t->blocks[t->n_blocks++] = b;
	if (!number(t, &slices, day->n) || !make_spares(t, &slices))
		return false;
	for (uint32_t i = 0, begin = 0; i < slices.n; begin = slices.ends[i++]) {
		uint32_t n = slices.ends[i] - begin;
		const uint64_t *order;

		if (n == 0)
			continue;
		order = trail_order(t, t->order + begin, n, slices.bits);
		if (!order || !give(t, order, n))
			return false;
	}
	day->last->next = t->spare;
	t->spare = day->first;
	day->first = day->last = NULL;
	return true;
}

bool trails_settle(struct trails *t, int64_t settled_ms)
{
	for (; t->next < t->n_days; t->next++) {
		int64_t begin_ms = t->first_ms + (int64_t)t->next * DAY_MS;

		if (begin_ms + DAY_MS > settled_ms)
			break;
		t->day_ms = begin_ms - t->from_ms;
		if (t->days[t->next].n > 0 && !visit_day(t, &t->days[t->next]))
			return false;
	}
	return true;
}
