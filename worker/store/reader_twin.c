/*
 * What reader_cached.c reads, by two threads: each gives segments to a kernel of its own. All of it
 * is in memory, so that the connection stays this thread's. When that turns out wrong, or the
 * other thread has no CPU, this one does what is left.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "q.h"
#include "worker/offload.h"
#include "worker/store/reader_cached.h"

/* fewer are read before a second thread has begun */
#ifdef PUGD_TEST_HOOKS
enum { TWIN_EVENTS = 2 };
#else
enum { TWIN_EVENTS = 1 << 18 };
#endif
enum { WAIT_MS = 5 };

/* A twin, and what it has of the list. */
struct twin {
	struct reader *r;
	struct reader_cached p;
	struct colcache cache;
	struct evseg_part v[CACHED_COLUMNS];
	enum stream_next next; /* how far it came */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	enum { TWIN_WAITS, TWIN_RUNS, TWIN_ENDED } state;
};

/* Where the later half of the events begins, with a day; n: nowhere. */
static uint32_t middle(const struct reader_cached *p)
{
	uint64_t all = 0, before = 0;

	for (uint32_t k = 0; k < p->n; k++)
		all += (uint64_t)p->heads[k].row.n;
	for (uint32_t k = 0; k < p->n; k++) {
		bool begins = k > 0 && reader_day(p->heads[k].row.tmin) !=
					       reader_day(p->heads[k - 1].row.tmin);

		if (begins && before >= all / 2)
			return k;
		before += (uint64_t)p->heads[k].row.n;
	}
	return p->n;
}

/* Whether there is much, and all of it in memory. */
static bool is_much(struct reader *r)
{
	struct reader_cached *p = r->cached;
	uint64_t events = 0;

	for (uint32_t k = 0; k < p->n; k++) {
		p->heads[k].missing = cached_missing(r, &p->heads[k], 0);
		if (p->heads[k].missing)
			return false;
		events += (uint64_t)p->heads[k].row.n;
	}
	return events >= TWIN_EVENTS;
}

/* On the second thread, if that comes to it before the first one has ended. */
static void run_twin(void *arg)
{
	struct twin *t = arg;
	bool runs;

	pthread_mutex_lock(&t->lock);
	runs = t->state == TWIN_WAITS;
	if (runs)
		t->state = TWIN_RUNS;
	pthread_mutex_unlock(&t->lock);
	if (runs)
		t->next = cached_give(t->r, t->p.n);
	pthread_mutex_lock(&t->lock);
	t->state = TWIN_ENDED;
	pthread_cond_signal(&t->ended);
	pthread_mutex_unlock(&t->lock);
}

/* Heads and room for parts are copied, for this thread writes its own meanwhile. The lists of
 * what is read are not: the twin reads nothing before this thread has ended (end_twin()). */
static void start_twin(struct reader *r, struct twin *t, struct reader *other, uint32_t from)
{
	struct cached_head *heads = t->p.heads;

	*t = (struct twin){.r = other, .p = *r->cached, .cache = *r->cache};
	t->p.heads = memcpy(heads, t->p.heads, t->p.n * sizeof(*heads));
	t->p.v = t->v;
	t->p.next = from;
	t->cache.hits = t->cache.misses = t->cache.lost = t->cache.bytes = 0;
	other->cached = &t->p;
	other->cache = &t->cache;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->ended, NULL);
	if (!offload_give(r->offload, OFFLOAD_TWIN, run_twin, t))
		t->state = TWIN_ENDED;
}

/* One that has not begun does nothing any more. It is waited for all the same: the queue has a
 * pointer to it. */
static void wait_for_twin(struct reader *r, struct twin *t)
{
	struct timespec until;

	pthread_mutex_lock(&t->lock);
	if (t->state == TWIN_WAITS)
		t->state = TWIN_RUNS;
	while (t->state != TWIN_ENDED) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += WAIT_MS * 1000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (pthread_cond_clockwait(&t->ended, &t->lock, CLOCK_MONOTONIC, &until) ==
			ETIMEDOUT) {
			pthread_mutex_unlock(&t->lock);
			r->wait(r);
			pthread_mutex_lock(&t->lock);
		}
	}
	pthread_mutex_unlock(&t->lock);
	pthread_cond_destroy(&t->ended);
	pthread_mutex_destroy(&t->lock);
}

/* What the other thread left: columns that are in memory no longer, or a segment that takes more
 * memory than it had. */
static int end_twin(struct reader *r, struct twin *t, int n)
{
	struct reader *other = t->r;

	wait_for_twin(r, t);
	/* one segment at a time from now on */
	arena_free(&r->scratch);
	arena_free(&other->scratch);
	other->scratch.cap = r->scratch.cap;
	other->second = t->p.lost = false;
	if (t->next == STREAM_FAIL && !other->touched &&
		(other->leave || other->error == READER_MEMORY))
		other->error = READER_OK;
	else if (t->next == STREAM_FAIL)
		n = -1;
	if (n >= 0)
		n = cached_steps(other);
	if (r->error == READER_OK && other->error != READER_OK)
		r->error = other->error;
	if (n < 0 && r->stream.db.err.kind == DB_OK)
		r->stream.db.err = other->stream.db.err;
	r->stream.bytes += other->stream.bytes;
	r->n_segments += other->n_segments;
	r->n_events += other->n_events;
	r->cache->hits += t->cache.hits;
	r->cache->misses += t->cache.misses;
	r->cache->lost += t->cache.lost;
	r->cache->bytes += t->cache.bytes;
	return n;
}

/* Room for what the other thread has; NULL at the arena's cap. */
static struct twin *make_twin(const struct reader *r)
{
	struct arena *a = r->stream.db.arena;
	struct twin *t = arena_alloc(a, sizeof(*t));

	if (t)
		t->p.heads = arena_alloc(a, r->cached->n * sizeof(*t->p.heads));
	return t && t->p.heads ? t : NULL;
}

int cached_twins(struct reader *r)
{
	struct reader_cached *p = r->cached;
	uint32_t half = r->twin_all ? p->n : middle(p);
	struct reader *other = NULL;
	struct twin *t = NULL;

	if ((r->twin_all || half < p->n) && is_much(r))
		t = make_twin(r);
	if (t)
		other = r->twin(r);
	if (!other)
		return cached_steps(r);
	start_twin(r, t, other, r->twin_all ? 0 : half);
	p->n = half;
	return end_twin(r, t, cached_steps(r));
}
