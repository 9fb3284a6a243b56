/*
 * See trail.h. The events of a day stay where they are: what is sorted, by counting digits
 * of the time, is their numbers. Segments are in order, so that walking the events by time
 * reads as many places one after the other as there are segments. Blocks of a day that was
 * visited are used again.
 */
#include "worker/insights/trail.h"
#include "worker/insights/watch.h"

enum { BLOCK = 128, DAY_MS = 86400000, TIME_BITS = 27, DIGIT = 9 };
/* so many of one instant are compared each with each; given to the kernel at a time */
enum { SHORT = 32, RUN = 128 };

struct trail_block {
	struct trail_block *next;
	uint32_t n;
	uint64_t (*ids)[2]; /* of those in v that have one; or NULL */
	struct trail_item v[BLOCK];
};

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
	bool recycled = b != NULL;

	if (recycled)
		t->spare = b->next;
	else
		b = arena_alloc(t->a, sizeof(*b));
	if (b) {
		b->ids = recycled ? b->ids : NULL;
		b->next = NULL;
		b->n = 0;
	}
	return b;
}

bool trail_add(
	struct trails *t, uint32_t owner, int64_t time_ms, const uint64_t id[2], uint32_t value)
{
	struct trail_day *day = &t->days[(uint64_t)(time_ms - t->first_ms) / DAY_MS];
	struct trail_block *b = day->last;

	if (value > TRAIL_VALUE_MAX)
		return false;
	if (!b || b->n == BLOCK) {
		b = block_new(t);
		if (!b)
			return false;
		if (day->last)
			day->last->next = b;
		else
			day->first = b;
		day->last = b;
	}
	if (id) {
		if (!b->ids)
			b->ids = arena_alloc(t->a, BLOCK * sizeof(*b->ids));
		if (!b->ids)
			return false;
		memcpy(b->ids[b->n], id, sizeof(*b->ids));
	}
	b->v[b->n++] =
		(struct trail_item){(uint64_t)(time_ms - t->from_ms) << TRAIL_VALUE_BITS | value,
			owner, t->source & INT32_MAX, id != NULL};
	day->n++;
	return true;
}

/* ---- a day in order ---- */

static struct trail_item *item_at(const struct trails *t, uint64_t number)
{
	uint32_t no = (uint32_t)number;

	return &t->blocks[no / BLOCK]->v[no % BLOCK];
}

/* One digit. False when they are all the same, and nothing was done. */
static bool sort_digit(const uint64_t *v, uint64_t *to, uint32_t n, unsigned shift)
{
	uint32_t counts[1 << DIGIT] = {0}, at = 0;

	for (uint32_t i = 0; i < n; i++)
		counts[v[i] >> shift & ((1 << DIGIT) - 1)]++;
	if (counts[v[0] >> shift & ((1 << DIGIT) - 1)] == n)
		return false;
	for (uint32_t i = 0; i < 1 << DIGIT; i++) {
		uint32_t count = counts[i];

		counts[i] = at;
		at += count;
	}
	for (uint32_t i = 0; i < n; i++)
		to[counts[v[i] >> shift & ((1 << DIGIT) - 1)]++] = v[i];
	return true;
}

/* By `bits` from the 32nd on; equal ones stay as they are. Returns where the result is, NULL
 * when nobody waits. */
static uint64_t *sort(uint64_t *v, uint64_t *spare, uint32_t n, unsigned bits)
{
	for (unsigned shift = 32; shift < 32 + bits; shift += DIGIT) {
		uint64_t *sorted = spare;

		if (n > WATCH_EVERY && watch_over())
			return NULL;
		if (!sort_digit(v, spare, n, shift))
			continue;
		spare = v;
		v = sorted;
	}
	return v;
}

static const uint64_t *id_of(const struct trails *t, uint64_t number)
{
	uint32_t no = (uint32_t)number;

	return t->blocks[no / BLOCK]->ids[no % BLOCK];
}

static int by_id(const void *x, const void *y, void *arg)
{
	const uint64_t *a = id_of(arg, *(const uint64_t *)x), *b = id_of(arg, *(const uint64_t *)y);
	uint32_t word = a[0] == b[0];

	return a[word] < b[word] ? -1 : a[word] > b[word];
}

static bool sort_ids(struct trails *t, uint64_t *v, uint32_t n)
{
	if (n > SHORT)
		return watch_sort(t->a, v, n, sizeof(*v), by_id, t);
	for (uint32_t i = 1; i < n; i++) {
		uint64_t one = v[i];
		uint32_t k = i;

		for (; k > 0 && by_id(&one, &v[k - 1], t) < 0; k--)
			v[k] = v[k - 1];
		v[k] = one;
	}
	return true;
}

/* Some events of one owner and time, in the order in which they were added. */
static bool decide(struct trails *t, uint64_t *v, uint32_t n)
{
	const struct trail_item *first = item_at(t, v[0]);
	bool known = first->known, one_source = true, one_value = true;

	for (uint32_t i = 1; i < n; i++) {
		const struct trail_item *e = item_at(t, v[i]);

		known &= e->known;
		one_source &= e->source == first->source;
		one_value &= e->key == first->key;
	}
	if (known && !one_value)
		return sort_ids(t, v, n);
	t->undecided = !one_source && !one_value;
	return !t->undecided;
}

/* A few events of one time: those of each owner together. */
static bool sort_few(struct trails *t, uint64_t *v, uint32_t n)
{
	uint32_t owners[SHORT];

	for (uint32_t i = 0; i < n; i++) {
		uint64_t one = v[i];
		uint32_t owner = item_at(t, one)->owner, k = i;

		for (; k > 0 && owner < owners[k - 1]; k--) {
			v[k] = v[k - 1];
			owners[k] = owners[k - 1];
		}
		v[k] = one;
		owners[k] = owner;
	}
	for (uint32_t i = 0, k; i < n; i += k) {
		for (k = 1; i + k < n && owners[i + k] == owners[i];)
			k++;
		if (k > 1 && !decide(t, v + i, k))
			return false;
	}
	return true;
}

/* How many from v on are alike but for their number. */
static uint32_t alike(const uint64_t *v, uint32_t n)
{
	uint32_t k = 1;

	while (k < n && v[k] >> 32 == v[0] >> 32)
		k++;
	return k;
}

/* Many events of one instant, by owner first: dates without a time are all alike. */
static bool sort_instant(struct trails *t, uint64_t *v, uint64_t *spare, uint32_t n)
{
	uint64_t time = v[0] >> 32 << 32, *sorted;

	for (uint32_t i = 0; i < n; i++)
		v[i] = (uint64_t)item_at(t, v[i])->owner << 32 | (uint32_t)v[i];
	sorted = sort(v, spare, n, 32);
	if (!sorted)
		return false;
	for (uint32_t i = 0, k; i < n; i += k) {
		k = alike(sorted + i, n - i);
		if (watch_due(i) || (k > 1 && !decide(t, sorted + i, k)))
			return false;
	}
	for (uint32_t i = 0; i < n; i++)
		v[i] = time | (uint32_t)sorted[i];
	return true;
}

/* Where the order of all is; NULL as trails_settle() is false. */
static uint64_t *make_order(struct trails *t, uint32_t n, int64_t day_ms)
{
	uint64_t *v = t->order, *spare;

	for (uint32_t i = 0; i < n; i++)
		v[i] = (uint64_t)(trail_time(item_at(t, i)) - day_ms) << 32 | i;
	v = sort(v, t->scratch, n, TIME_BITS);
	if (!v)
		return NULL;
	spare = v == t->order ? t->scratch : t->order;
	for (uint32_t i = 0, k; i < n; i += k) {
		k = alike(v + i, n - i);
		if (watch_due(i) || (k > 1 && !(k > SHORT ? sort_instant(t, v + i, spare, k)
							  : sort_few(t, v + i, k))))
			return NULL;
	}
	return v;
}

/* ---- a day ---- */

/* Room for a day of n events. */
static bool make_room(struct trails *t, uint32_t n)
{
	if (n <= t->cap)
		return true;
	t->cap = n + n / 4;
	t->order = arena_alloc(t->a, (size_t)t->cap * sizeof(*t->order));
	t->scratch = arena_alloc(t->a, (size_t)t->cap * sizeof(*t->scratch));
	t->blocks = arena_alloc(t->a, ((size_t)t->cap / BLOCK + 1) * sizeof(struct trail_block *));
	return t->order && t->scratch && t->blocks;
}

static bool give(struct trails *t, const uint64_t *order, uint32_t n)
{
	const struct trail_item *run[RUN];

	for (uint32_t i = 0, k; i < n; i += k) {
		for (k = 0; k < RUN && i + k < n; k++) {
			run[k] = item_at(t, order[i + k]);
			__builtin_prefetch(run[k]);
		}
		if ((i / RUN % (WATCH_EVERY / RUN) == 0 && watch_over()) ||
			!t->visit(t->kernel, run, k))
			return false;
	}
	return true;
}

static bool visit_day(struct trails *t, struct trail_day *day, int64_t day_ms)
{
	uint64_t *order;
	uint32_t n = 0;

	if (watch_over() || !make_room(t, day->n))
		return false;
	for (struct trail_block *b = day->first; b; b = b->next)
		t->blocks[n++] = b;
	order = make_order(t, day->n, day_ms);
	if (!order || watch_over() || !give(t, order, day->n))
		return false;
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
		if (t->days[t->next].n > 0 &&
			!visit_day(t, &t->days[t->next], begin_ms - t->from_ms))
			return false;
	}
	return true;
}
