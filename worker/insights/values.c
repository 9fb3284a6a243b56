/* See values.h. */
#include "worker/insights/values.h"
#include "worker/insights/watch.h"

struct ranked {
	struct str text;
	uint64_t n;
};

/* Texts differ, so the order is total, and it does not matter whether a sort is stable. */
static int by_rank(const void *x, const void *y, void *arg)
{
	const struct ranked *a = x, *b = y;

	(void)arg;
	if (a->n != b->n)
		return a->n > b->n ? -1 : 1;
	return str_cmp(a->text, b->text);
}

/* Texts and counts are both in the room, and go with it. */
static void empty(struct values *v)
{
	arena_init(&v->room, v->budget);
	intern_init(&v->texts, &v->room);
	v->counts = NULL;
	v->cap = 0;
}

void values_init(struct values *v, size_t budget, struct arena *a)
{
	*v = (struct values){.a = a, .budget = budget};
	empty(v);
}

void values_free(struct values *v)
{
	arena_free(&v->room);
}

static bool grow(struct values *v)
{
	uint32_t cap = v->cap ? v->cap * 2 : 64;
	uint64_t *counts =
		arena_grow(&v->room, v->counts, v->cap * sizeof(*counts), cap * sizeof(*counts));

	if (!counts)
		return false;
	v->counts = counts;
	v->cap = cap;
	return true;
}

/* False when the room is full. */
static bool insert(struct values *v, struct str text, uint64_t n)
{
	uint32_t no;

	if (v->texts.n == v->cap && !grow(v))
		return false;
	no = intern_add(&v->texts, text);
	if (no == INTERN_FULL)
		return false;
	v->counts[no] = n;
	return true;
}

/* All texts in order of rank; NULL at the arena's cap, or when nobody waits any more. The texts
 * themselves stay in the room. */
static struct ranked *rank(const struct values *v)
{
	struct ranked *all = arena_array(v->a, v->texts.n + 1, sizeof(*all));

	if (!all)
		return NULL;
	for (uint32_t i = 0; i < v->texts.n; i++)
		all[i] = (struct ranked){v->texts.strings[i], v->counts[i]};
	return watch_sort(v->a, all, v->texts.n, sizeof(*all), by_rank, NULL) ? all : NULL;
}

/* Keeps the more frequent half, by number and by bytes: so that this is seldom done. The old
 * room goes when all that stays was copied: hence half as much again. */
static bool clear_out(struct values *v)
{
	struct arena_mark mark = arena_mark(v->a);
	struct ranked *all = rank(v);
	struct arena old = v->room;
	uint32_t n = v->texts.n;
	bool ok = all != NULL;

	if (!ok)
		return false;
	empty(v);
	for (uint32_t i = 0; ok && i < n / 2 && v->room.held < v->budget / 2; i++)
		ok = insert(v, all[i].text, all[i].n);
	arena_free(&old);
	arena_release(v->a, &mark);
	return ok;
}

/* Of a text that was forgotten and comes again the count begins anew: beyond memory counts are
 * too small, never too large. */
bool values_add(struct values *v, struct str text, uint64_t n)
{
	uint32_t no = intern_find(&v->texts, text);

	if (text.n == 0 || text.n > VALUES_TEXT_MAX || n == 0)
		return true;
	if (no != INTERN_FULL) {
		v->counts[no] += n;
		return true;
	}
	return insert(v, text, n) || (clear_out(v) && insert(v, text, n));
}

/* Counted by code first, so that a text is looked up once a segment. Code 0 is a missing
 * property, which is no value. */
bool values_fold(struct values *v, const struct frame *f)
{
	const struct batch_column *c = &f->batch->props[0];
	uint64_t *counts = arena_array(f->a, c->n_entries + 1, sizeof(*counts));
	enum key_class class = f->plan->need.props[0].class;
	char scratch[VALUE_TEXT_MAX];

	if (!counts)
		return false;
	for (uint32_t i = 0; i < f->batch->n; i++)
		counts[c->codes[i]] += f->base[i];
	for (uint32_t k = 1; k <= c->n_entries; k++)
		if (!values_add(v, value_text(&c->entries[k - 1], class, scratch), counts[k]))
			return false;
	return true;
}

bool values_top(struct values *v, uint32_t limit, const struct str **out, uint32_t *n)
{
	struct ranked *all = rank(v);
	struct str *texts = arena_array(v->a, limit + 1, sizeof(*texts));

	if (!all || !texts)
		return false;
	*n = v->texts.n < limit ? v->texts.n : limit;
	for (uint32_t i = 0; i < *n; i++)
		texts[i] = all[i].text;
	*out = texts;
	return true;
}
