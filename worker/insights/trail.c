/*
 * See trail.h. A day's events are grouped by owner in two passes, like one digit of a
 * radix sort, and then sorted owner by owner: most have few, and segments hold them in
 * order, so that little is left to sort. Blocks of a day that was visited are used again.
 */
#include <endian.h>
#include "worker/insights/trail.h"
#include "worker/insights/watch.h"

enum { BLOCK = 128, SHORT = 16, DAY_MS = 86400000 };

struct trail_block {
	struct trail_block *next;
	uint32_t n;
	struct trail_item v[BLOCK];
};

/* One owner's part of a day. */
struct trail_group {
	uint32_t owner, n, at;
};

void trail_id(uint64_t out[2], const uint8_t *ids, uint32_t row)
{
	out[0] = out[1] = 0;
	if (!ids)
		return;
	memcpy(out, ids + (size_t)row * 16, 16);
	out[0] = be64toh(out[0]);
	out[1] = be64toh(out[1]);
}

bool trails_init(struct trails *t, struct arena *a, int64_t from_ms, int64_t to_ms)
{
	int64_t rest = from_ms % DAY_MS;

	*t = (struct trails){.a = a, .from_ms = from_ms, .base = 1};
	t->first_ms = from_ms - (rest < 0 ? rest + DAY_MS : rest);
	t->n_days = to_ms > from_ms ? (uint32_t)((to_ms - 1 - t->first_ms) / DAY_MS) + 1 : 0;
	t->days = arena_array(a, (size_t)t->n_days + 1, sizeof(*t->days));
	return t->days != NULL;
}

/* ---- collecting ---- */

static struct trail_block *block_new(struct trails *t)
{
	struct trail_block *b = t->spare;

	if (b)
		t->spare = b->next;
	else
		b = arena_alloc(t->a, sizeof(*b));
	if (b) {
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
	b->v[b->n++] = (struct trail_item){
		{{id[0], id[1]}, (uint64_t)(time_ms - t->from_ms) << TRAIL_VALUE_BITS | value},
		owner};
	day->n++;
	return true;
}

/* ---- one owner's day in order ---- */

static bool before(const struct trail_event *a, const struct trail_event *b)
{
	int64_t x = trail_time(a), y = trail_time(b);

	if (x != y)
		return x < y;
	return a->id[0] != b->id[0] ? a->id[0] < b->id[0] : a->id[1] < b->id[1];
}

static void sort_short(struct trail_event *v, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		struct trail_event e = v[i];
		uint32_t k = i;

		for (; k > 0 && before(&e, &v[k - 1]); k--)
			v[k] = v[k - 1];
		v[k] = e;
	}
}

static void merge(const struct trail_event *a, uint32_t n_a, const struct trail_event *b,
	uint32_t n_b, struct trail_event *out)
{
	while (n_a && n_b) {
		if (before(b, a)) {
			*out++ = *b++;
			n_b--;
		} else {
			*out++ = *a++;
			n_a--;
		}
	}
	memcpy(out, a, n_a * sizeof(*a));
	memcpy(out + n_a, b, n_b * sizeof(*b));
}

/* Bottom-up merge sort with room for as many: the C library's takes memory that no
 * cap knows of. Returns where the result is. */
static struct trail_event *sort(struct trail_event *v, struct trail_event *spare, uint32_t n)
{
	uint64_t run = SHORT;

	for (uint32_t i = 0; i < n; i += SHORT)
		sort_short(v + i, n - i < SHORT ? n - i : SHORT);
	for (; run < n; run *= 2) {
		struct trail_event *to = spare;

		if (n > WATCH_EVERY && watch_over())
			return NULL;
		for (uint64_t i = 0; i < n; i += run * 2) {
			uint64_t a = n - i < run ? n - i : run;
			uint64_t b = n - i - a < run ? n - i - a : run;

			merge(v + i, (uint32_t)a, v + i + a, (uint32_t)b, to + i);
		}
		spare = v;
		v = to;
	}
	return v;
}

static const struct trail_event *in_order(struct trails *t, struct trail_event *v, uint32_t n)
{
	uint32_t sorted = 1;

	while (sorted < n && !before(&v[sorted], &v[sorted - 1]))
		sorted++;
	if (sorted >= n)
		return v;
	if (n <= SHORT) {
		sort_short(v, n);
		return v;
	}
	if (n > t->cap_scratch) {
		t->scratch = arena_alloc(t->a, (size_t)n * 2 * sizeof(*t->scratch));
		t->cap_scratch = n * 2;
	}
	return t->scratch ? sort(v, t->scratch, n) : NULL;
}

/* ---- a day ---- */

/* Room for a day of n events. */
static bool make_room(struct trails *t, uint32_t n)
{
	if (n <= t->cap)
		return true;
	t->cap = n + n / 4;
	t->sorted = arena_alloc(t->a, (size_t)t->cap * sizeof(*t->sorted));
	t->groups = arena_alloc(t->a, (size_t)t->cap * sizeof(*t->groups));
	return t->sorted && t->groups;
}

static bool make_owner(struct trails *t, uint32_t owner)
{
	uint32_t n = t->n_owners * 2 > owner ? t->n_owners * 2 : owner + 64;
	uint32_t *v = arena_grow(t->a, t->group_of, t->n_owners * sizeof(*v), n * sizeof(*v));

	if (!v)
		return false;
	memset(v + t->n_owners, 0, (n - t->n_owners) * sizeof(*v));
	t->group_of = v;
	t->n_owners = n;
	return true;
}

/* Counts each owner's events, and leaves the group in place of the owner. False at the
 * arena's cap. */
static bool make_groups(struct trails *t, const struct trail_day *day, uint32_t *n)
{
	uint32_t at = 0;

	*n = 0;
	for (struct trail_block *b = day->first; b; b = b->next)
		for (uint32_t i = 0; i < b->n; i++) {
			uint32_t owner = b->v[i].owner;

			if (owner >= t->n_owners && !make_owner(t, owner))
				return false;
			if (t->group_of[owner] < t->base) {
				t->group_of[owner] = t->base + *n;
				t->groups[(*n)++] = (struct trail_group){owner, 0, 0};
			}
			b->v[i].owner = t->group_of[owner] - t->base;
			t->groups[b->v[i].owner].n++;
		}
	for (uint32_t i = 0; i < *n; i++) {
		t->groups[i].at = at;
		at += t->groups[i].n;
	}
	return true;
}

/* Puts a group's events side by side, and gives the blocks back. */
static void scatter(struct trails *t, struct trail_day *day)
{
	for (struct trail_block *b = day->first; b; b = b->next)
		for (uint32_t i = 0; i < b->n; i++)
			t->sorted[t->groups[b->v[i].owner].at++] = b->v[i].e;
	day->last->next = t->spare;
	t->spare = day->first;
	day->first = day->last = NULL;
}

static bool visit_day(struct trails *t, struct trail_day *day)
{
	uint32_t n;

	/* the numbers of groups begin anew before they run out */
	if (t->base > UINT32_MAX - day->n) {
		memset(t->group_of, 0, t->n_owners * sizeof(*t->group_of));
		t->base = 1;
	}
	if (watch_over() || !make_room(t, day->n) || !make_groups(t, day, &n) || watch_over())
		return false;
	scatter(t, day);
	t->base += n;
	for (uint32_t i = 0; i < n; i++) {
		const struct trail_group *g = &t->groups[i];
		const struct trail_event *v = in_order(t, t->sorted + g->at - g->n, g->n);

		if (watch_due(i) || !v || !t->visit(t->kernel, g->owner, v, g->n))
			return false;
	}
	return true;
}

bool trails_settle(struct trails *t, int64_t settled_ms)
{
	for (; t->next < t->n_days; t->next++) {
		if (t->first_ms + ((int64_t)t->next + 1) * DAY_MS > settled_ms)
			break;
		if (t->days[t->next].n > 0 && !visit_day(t, &t->days[t->next]))
			return false;
	}
	return true;
}
