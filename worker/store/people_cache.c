/* See people_cache.h. */
#include "worker/store/people_cache.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under the lock, as is `refs` of all bases, by those who hold one: */
static struct list bases = {&bases, &bases}; /* the last one that was used first */
static size_t bytes;

/* Counted in and out with the same value: nobody changes a base that is in the cache. */
static size_t size_of(const struct people_base *b)
{
	return b->a.held;
}

static bool same_project(const struct people_state *a, const struct people_state *b)
{
	return a->project == b->project && !memcmp(a->key, b->key, sizeof(a->key)) &&
	       str_eq(a->server, b->server);
}

static struct people_base *find(const struct people_state *s)
{
	list_each (node, &bases) {
		struct people_base *b = list_item(node, struct people_base, in_cache);

		if (same_project(&b->state, s))
			return b;
	}
	return NULL;
}

/* Out of the cache; into `doomed` if nobody holds it. */
static void drop(struct people_base *b, struct list *doomed)
{
	list_del(&b->in_cache);
	if (b->refs > 0)
		return;
	bytes -= size_of(b);
	list_push(doomed, &b->in_cache);
}

/* Lets go of what nobody holds, the last ones first, until no more than `most` are left. */
static void shrink(size_t most, struct list *doomed)
{
	struct list *node = bases.prev, *before;

	for (; node != &bases && bytes > most; node = before) {
		struct people_base *b = list_item(node, struct people_base, in_cache);

		before = node->prev;
		if (b->refs == 0)
			drop(b, doomed);
	}
}

/* Not under the lock. */
static void bury(struct list *doomed)
{
	while (!list_empty(doomed))
		people_base_free(list_item(list_pop(doomed), struct people_base, in_cache));
}

struct people_base *people_cache_get(const struct people_state *s, size_t limit)
{
	struct list doomed;
	struct people_base *b;

	list_init(&doomed);
	pthread_mutex_lock(&lock);
	b = find(s);
	if (b) {
		b->refs++;
		list_del(&b->in_cache);
		list_push(&bases, &b->in_cache);
	}
	shrink(limit, &doomed);
	pthread_mutex_unlock(&lock);
	bury(&doomed);
	return b;
}

bool people_cache_offer(struct people_base *b, size_t limit)
{
	struct list doomed;
	struct people_base *now;
	bool taken;

	list_init(&doomed);
	if (size_of(b) > limit)
		return false;
	pthread_mutex_lock(&lock);
	now = find(&b->state);
	taken = !now || now->state.snapshot <= b->state.snapshot;
	/* the one before it goes in any case: it is what the next query would have to change */
	if (taken && now)
		drop(now, &doomed);
	if (taken)
		shrink(limit - size_of(b), &doomed);
	taken = taken && bytes <= limit - size_of(b);
	if (taken) {
		b->refs = 1;
		bytes += size_of(b);
		list_push(&bases, &b->in_cache);
	}
	pthread_mutex_unlock(&lock);
	bury(&doomed);
	return taken;
}

void people_cache_release(struct people_base *b)
{
	bool last;

	pthread_mutex_lock(&lock);
	last = --b->refs == 0 && !list_linked(&b->in_cache);
	if (last)
		bytes -= size_of(b);
	pthread_mutex_unlock(&lock);
	if (last)
		people_base_free(b);
}

size_t people_cache_bytes(void)
{
	size_t n;

	pthread_mutex_lock(&lock);
	n = bytes;
	pthread_mutex_unlock(&lock);
	return n;
}
