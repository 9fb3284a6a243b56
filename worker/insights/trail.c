/*
 * See trail.h. The keys of a day are spread by owner, by counting: each has few of them, which
 * are sorted without a branch. Only owners with events of one time and several values are
 * brought into order by what is known besides. Blocks of a day that was visited are used again.
 */
#include "worker/insights/trail_internal.h"
#include "worker/insights/trail_sort.h"
#include "worker/insights/watch.h"

enum { DAY_MS = 86400000, TIME_BITS = 27 };
/* given to the kernel at a time; and of one owner; blocks after which somebody may have left */
enum { RUNS = 64, LONG = WATCH_EVERY, EVERY = 256, AHEAD = 16 };

bool trails_init(struct trails *t, struct arena *a, int64_t from_ms, int64_t to_ms)
{
	int64_t rest = from_ms % DAY_MS;

	*t = (struct trails){.a = a, .from_ms = from_ms};
	t->first_ms = from_ms - (rest < 0 ? rest + DAY_MS : rest);
	t->n_days = to_ms > from_ms ? (uint32_t)((to_ms - 1 - t->first_ms) / DAY_MS) + 1 : 0;
	t->days = arena_array(a, (size_t)t->n_days + 1, sizeof(*t->days));
	chunks_init(&t->counts, a, sizeof(uint32_t));
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

/* Of all owners up to the largest of these. False at the arena's cap. */
static bool make_counts(struct trails *t, const struct trail_rows *e)
{
	struct chunks *counts = &t->counts;
	uint32_t most = 0;

	for (uint32_t k = 0; k < e->n; k++)
		most = e->owners[k] > most ? e->owners[k] : most;
	t->n_owners = most >= t->n_owners ? most + 1 : t->n_owners;
	for (uint32_t chunk = most >> CHUNK_SHIFT; chunk >= counts->cap || !counts->v[chunk];
		chunk--) {
		if (!chunks_make(counts, chunk << CHUNK_SHIFT))
			return false;
		if (chunk == 0)
			break;
	}
	return true;
}

bool trails_add(struct trails *t, const struct batch *b, const struct trail_rows *e)
{
	t->source++;
	if (!values_fit(e) || !make_counts(t, e))
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

/* ---- a day by owner ---- */

/* As chunks_at(), of items whose size the compiler knows. */
static inline uint32_t *count_of(char *const *counts, uint32_t owner)
{
	return (uint32_t *)(void *)counts[owner >> CHUNK_SHIFT] + (owner & (CHUNK_ITEMS - 1));
}

/* How many owners there are with those of a block, of whom some were counted before. What the
 * loop needs is not read through pointers. */
static uint32_t count_block(
	char *const *counts, uint32_t *owners, uint32_t end, const struct trail_block *b)
{
	for (uint32_t k = 0, n = b->n; k < n; k++) {
		uint32_t owner = b->owners[k];

		owners[end] = owner;
		end += (*count_of(counts, owner))++ == 0;
	}
	return end;
}

/* How many owners there are, with how much each did; 0 when nobody waits. */
static uint32_t count_owners(struct trails *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n_blocks; i++) {
		if (i % EVERY == 0 && watch_over())
			return 0;
		n = count_block(t->counts.v, t->owners, n, t->blocks[i]);
	}
	return n;
}

/* Afterwards the count of an owner is where their keys end. False when nobody waits. */
static bool spread_keys(struct trails *t, uint32_t n)
{
	char *const *counts = t->counts.v;
	uint64_t *keys = t->keys;
	uint32_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t *count = count_of(counts, t->owners[i]), some = *count;

		*count = at;
		at += some;
	}
	for (uint32_t i = 0; i < t->n_blocks; i++) {
		const struct trail_block *b = t->blocks[i];

		if (i % EVERY == 0 && watch_over())
			return false;
		for (uint32_t k = 0, some = b->n; k < some; k++)
			keys[(*count_of(counts, b->owners[k]))++] = b->keys[k];
	}
	return true;
}

/* Runs that the kernel was not given yet. Keys of short ones are here. */
struct runs {
	struct trail_run v[RUNS];
	uint32_t n, keys, n_sorted;
	uint64_t sorted[(RUNS + 1) * TRAIL_SORT_SHORT];
};

static bool give(struct trails *t, struct runs *r)
{
	if (r->keys >= WATCH_EVERY) {
		if (watch_over())
			return false;
		r->keys = 0;
	}
	if (r->n > 0 && !t->visit(t->kernel, t->day_ms, r->v, r->n))
		return false;
	r->n = r->n_sorted = 0;
	return true;
}

static bool add_run(
	struct trails *t, struct runs *r, uint32_t owner, const uint64_t *keys, uint32_t n)
{
	for (uint32_t i = 0, some; i < n; i += some) {
		some = n - i < LONG ? n - i : LONG;
		r->v[r->n++] = (struct trail_run){keys + i, owner, some};
		r->keys += some;
		if (r->n == RUNS && !give(t, r))
			return false;
	}
	return true;
}

/* ---- owners whose keys do not tell their order ---- */

/* Room for n where there was less, which stays in the arena: so there is none to spare the first
 * time, but then by quarters. */
static uint32_t more_than(uint32_t cap, uint32_t n)
{
	return n - cap > cap / 4 ? n : cap + cap / 4;
}

/* Room to sort n numbers elsewhere. */
static bool make_spares(struct trails *t, uint32_t n)
{
	if (n > t->cap_spares) {
		t->cap_spares = more_than(t->cap_spares, n);
		t->spares = arena_alloc(t->a, (size_t)t->cap_spares * sizeof(*t->spares));
	}
	return t->spares != NULL;
}

/* Room for the order of n. */
static bool make_order_room(struct trails *t, uint32_t n)
{
	if (n > t->cap_order) {
		t->cap_order = more_than(t->cap_order, n);
		t->order = arena_alloc(t->a, (size_t)t->cap_order * sizeof(*t->order));
	}
	return t->order && make_spares(t, n);
}

/* What owners did whose count is not 0: some n events. */
static bool give_tied(struct trails *t, struct runs *r, uint32_t n)
{
	const uint64_t *order;
	uint32_t found = 0;

	if (!make_order_room(t, n))
		return false;
	for (uint32_t i = 0; i < t->n_blocks; i++) {
		const struct trail_block *b = t->blocks[i];

		for (uint32_t k = 0; k < b->n; k++)
			if (*count_of(t->counts.v, b->owners[k]) > 0)
				t->order[found++] = b->keys[k] >> TRAIL_VALUE_BITS << 32 |
						    (i * TRAIL_BLOCK + k);
	}
	order = trail_order(t, n);
	for (uint32_t i = 0; order && i < n; i++) {
		uint32_t owner = trail_owner(t, order[i]);

		*count_of(t->counts.v, owner) = 0;
		if (!add_run(t, r, owner, trail_key(t, order[i]), 1))
			return false;
	}
	return order != NULL;
}

/* ---- a day ---- */

/* Room for a day of n events. */
static bool make_room(struct trails *t, uint32_t n)
{
	uint32_t owners = n < t->n_owners ? n : t->n_owners;

	if (n > t->cap) {
		t->cap = more_than(t->cap, n);
		t->keys = arena_alloc(t->a, ((size_t)t->cap + TRAIL_SORT_SHORT) * sizeof(*t->keys));
		t->blocks = arena_alloc(
			t->a, ((size_t)t->cap / TRAIL_BLOCK + 1) * sizeof(struct trail_block *));
	}
	if (owners > t->cap_owners) {
		t->cap_owners = more_than(t->cap_owners, owners);
		/* one more is written than there are */
		t->owners = arena_alloc(t->a, ((size_t)t->cap_owners + 1) * sizeof(*t->owners));
	}
	return t->keys && t->owners && t->blocks;
}

/* Sorts what one owner did, if it is much. False as trails_settle() is. */
static bool sort_long(struct trails *t, uint64_t *v, uint32_t n)
{
	uint64_t *sorted;

	if (n <= TRAIL_SORT_FEW) {
		trail_sort_few(v, n);
		return true;
	}
	if (!make_spares(t, n))
		return false;
	sorted = trail_sort_digits(v, t->spares, n, TRAIL_VALUE_BITS, TIME_BITS);
	if (sorted && sorted != v)
		memcpy(v, sorted, n * sizeof(*v));
	return sorted != NULL;
}

/* Whether several values have the same time. */
static bool is_tied(const uint64_t *v, uint32_t n)
{
	/* 0, for two that are alike, becomes the largest */
	for (uint32_t i = 1; i < n; i++)
		if ((v[i] ^ v[i - 1]) - 1 < TRAIL_VALUE_MAX)
			return true;
	return false;
}

/* What one owner did; *tied when keys do not tell its order, and it was not given. */
static bool give_owner(
	struct trails *t, struct runs *r, uint32_t owner, uint64_t *v, uint32_t n, bool *tied)
{
	uint64_t *to = r->sorted + r->n_sorted;

	if (n == 1) {
		*tied = false;
	} else if (n <= TRAIL_SORT_SHORT) {
		*tied = trail_sort_short(to, v, n, TRAIL_VALUE_MAX);
		r->n_sorted += *tied ? 0 : n;
		v = to;
	} else {
		if (!sort_long(t, v, n))
			return false;
		*tied = is_tied(v, n);
	}
	return *tied || add_run(t, r, owner, v, n);
}

static bool give_day(struct trails *t, uint32_t owners)
{
	char *const *counts = t->counts.v;
	struct runs runs = {.n = 0};
	uint32_t n_tied = 0, begin = 0;

	for (uint32_t i = 0; i < owners; i++) {
		uint32_t ahead = i + AHEAD < owners ? i + AHEAD : i;
		uint32_t *count = count_of(counts, t->owners[i]), end = *count, n = end - begin;
		bool tied;

		__builtin_prefetch(count_of(counts, t->owners[ahead]), 1);
		if (!give_owner(t, &runs, t->owners[i], t->keys + begin, n, &tied))
			return false;
		n_tied += tied ? n : 0;
		*count = tied ? n : 0;
		begin = end;
	}
	return (n_tied == 0 || give_tied(t, &runs, n_tied)) && give(t, &runs);
}

static bool visit_day(struct trails *t, struct trail_day *day, int64_t day_ms)
{
	uint32_t owners;

	if (!make_room(t, day->n))
		return false;
	t->day_ms = day_ms;
	t->n_blocks = 0;
	for (struct trail_block *b = day->first; b; b = b->next)
		t->blocks[t->n_blocks++] = b;
	owners = count_owners(t);
	if (owners == 0 || !spread_keys(t, owners) || !give_day(t, owners))
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
