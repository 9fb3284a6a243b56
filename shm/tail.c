/* The unsealed tail in the segment's head: see tail.h. */
#include "shm/tail.h"

#include "shm/options.h"
#include "shm/segment_priv.h"

static void set(_Atomic uint64_t *word, uint64_t v)
{
	atomic_store_explicit(word, v, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

void tail_put(struct segment *seg, const struct tail *t)
{
	set(&seg->head.tail_events, t->events);
	set(&seg->head.tail_oldest_us, t->oldest_us);
	set(&seg->head.tail_seen_us, t->seen_us);
}

struct tail tail_get(const struct segment *seg)
{
	return (struct tail){
		.events = get(&seg->head.tail_events),
		.oldest_us = get(&seg->head.tail_oldest_us),
		.seen_us = get(&seg->head.tail_seen_us),
	};
}

uint64_t tail_age_us(const struct tail *t, uint64_t now_us)
{
	return t->oldest_us > 0 && now_us > t->oldest_us ? now_us - t->oldest_us : 0;
}

bool tail_over(const struct tail *t, const struct options *o, uint64_t now_us)
{
	/* Waiting for seal_age is what events are meant to do. */
	uint64_t most_us = (uint64_t)(o->seal_age + o->tail_age) * 1000;

	return t->seen_us > 0 &&
	       (t->events > (uint64_t)o->tail_events || tail_age_us(t, now_us) > most_us);
}
