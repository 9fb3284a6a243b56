/* See watch.h: the question belongs to the thread, and a sort that asks it. */
#include "worker/insights/watch.h"

#include <stdlib.h>

/* The C library sorts as many without being asked to stop: some milliseconds. */
enum { BLOCK = 16384 };

/* Each of a scan's threads (scan.c) has its own. */
static _Thread_local struct {
	bool (*over)(void *arg);
	void *arg;
} watch;

void watch_begin(bool (*over)(void *arg), void *arg)
{
	watch.over = over;
	watch.arg = arg;
}

void watch_end(void)
{
	watch.over = NULL;
}

bool watch_over(void)
{
	return watch.over && watch.over(watch.arg);
}

struct sorting {
	size_t size;
	int (*order)(const void *x, const void *y, void *arg);
	void *arg;
	uint64_t turns;
};

/* Two runs, the second right behind the first, into `out`. False to stop. */
static bool merge(struct sorting *s, const char *a, size_t n_a, size_t n_b, char *out)
{
	const char *b = a + n_a * s->size;

	while (n_a && n_b) {
		/* of equal ones the first run's goes first */
		bool second = s->order(a, b, s->arg) > 0;

		memcpy(out, second ? b : a, s->size);
		out += s->size;
		if (second) {
			b += s->size;
			n_b--;
		} else {
			a += s->size;
			n_a--;
		}
		if (watch_due(s->turns++))
			return false;
	}
	memcpy(out, a, n_a * s->size);
	memcpy(out + n_a * s->size, b, n_b * s->size);
	return true;
}

/* Sorted blocks into one. False to stop. */
static bool merge_all(struct sorting *s, char *v, char *spare, size_t n)
{
	char *from = v, *to = spare;

	for (size_t run = BLOCK; run < n; run *= 2) {
		char *last = from;

		for (size_t i = 0; i < n; i += run * 2) {
			size_t a = n - i < run ? n - i : run;
			size_t b = n - i - a < run ? n - i - a : run;

			if (!merge(s, from + i * s->size, a, b, to + i * s->size))
				return false;
		}
		from = to;
		to = last;
	}
	if (from != v)
		memcpy(v, from, n * s->size);
	return true;
}

/* order() must take nothing from the arena: it would be given back with the spare room. */
bool watch_sort(struct arena *a, void *v, size_t n, size_t size,
	int (*order)(const void *x, const void *y, void *arg), void *arg)
{
	struct sorting s = {.size = size, .order = order, .arg = arg};
	struct arena_mark mark;
	char *spare;
	bool done;

	for (size_t i = 0; i < n; i += BLOCK) {
		if (i > 0 && watch_over())
			return false;
		qsort_r((char *)v + i * size, n - i < BLOCK ? n - i : BLOCK, size, order, arg);
	}
	if (n <= BLOCK)
		return true;
	mark = arena_mark(a);
	spare = arena_alloc(a, n * size);
	done = spare && merge_all(&s, v, spare, n);
	arena_release(a, &mark);
	return done;
}
