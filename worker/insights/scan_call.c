/*
 * See scan.h: a scan as its call sees it. The call's coroutine is parked meanwhile; a timer on
 * the loop looks whether the client is still there, because a thread cannot.
 */
#include <stdlib.h>
#include <unistd.h>

#include "q.h"
#include "shm/base/clock.h"
#include "shm/options.h"
#include "shm/segment.h"
#include "worker/insights/scan_internal.h"
#include "worker/insights/turn.h"
#include "worker/loop.h"
#include "worker/offload.h"
#include "worker/worker.h"

enum {
	LOOK_MS = 200,      /* how often the client's presence is checked */
	SEGMENT_SHARE = 4,  /* one segment's decoding may take a quarter of the memory, */
	TWIN_SHARE = 16,    /* and so much, at the same time, on a second thread */
	FREE_HERE = 1 << 20 /* bytes whose release takes the loop no longer than 0.2 ms */
};

struct look {
	struct loop_timer timer;
	struct scan *scan;
	struct call *c;
};

static void look_after_client(struct loop_timer *t)
{
	struct look *look = (struct look *)t;

	if (http_gone(look->c->rq))
		scan_stop(look->scan);
	else
		loop_timer_set(look->c->w->loop, t, LOOK_MS);
}

void scan_init(struct scan *s, struct call *c)
{
	const struct options *o = c->w->opt;
	uint64_t budget = (uint64_t)o->insight_timeout, left = call_time_left(c);
	uint64_t now = clock_mono_ms();
	size_t memory = (size_t)o->insight_memory;

	*s = (struct scan){
		.project = c->who.project, .offload = c->w->offload, .settled_ms = INT64_MIN};
	s->seg = c->w->offload ? c->w->seg : NULL;
	s->slot_no = c->w->slot_no;
	s->turns = turns_of_host(o->insight_parallel);
	s->home_url = s->url = o->analytics_url[0] ? o->analytics_url : o->database_url;
	s->primary_url = o->ingest_url[0] ? o->ingest_url : o->database_url;
	s->budget_ms = now + budget;
	s->until_ms = s->deadline_ms = now + (left < budget ? left : budget);
	s->until = &s->until_ms;
	if (c->w->seg)
		colcache_open(&s->cache, c->w->seg, c->w->slot_no, (uint64_t)o->insight_cache);
	s->segment_memory = memory / SEGMENT_SHARE;
	/* a second thread is of no use to one CPU */
	s->twin_memory = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? memory / TWIN_SHARE : 0;
	s->people_cache = (size_t)o->people_cache;
	/* with what decoding a segment may take this is the option insight_memory */
	arena_init(&s->a, memory - s->segment_memory);
	s->a.spares = true;
}

static void free_away(void *arg)
{
	struct arena *a = arg;

	arena_free(a);
	free(a);
}

/* Giving 200 MB back to the kernel takes tens of milliseconds: not on the loop. The caller's
 * arena is empty before a thread has this one, and is as it was when none takes it. */
void scan_release(struct scan *s, struct arena *a)
{
	struct arena *away = a->held > FREE_HERE && s->offload ? malloc(sizeof(*away)) : NULL;

	if (away) {
		*away = *a;
		arena_init(a, away->cap);
		a->spares = away->spares;
		if (offload_give(s->offload, OFFLOAD_FREE, free_away, away))
			return;
		*a = *away;
		free(away);
	}
	arena_free(a);
}

void scan_free(struct scan *s)
{
	scan_release(s, &s->a);
}

bool scan_join(struct scan *s, uint64_t deadline_ms)
{
	uint64_t was = atomic_load(s->until), want = deadline_ms;

	if (want > s->budget_ms)
		want = s->budget_ms;
	/* a failed exchange loads it anew: what is fixed is never prolonged */
	do
		if (was & FLIGHT_FIXED)
			return false;
	while (want > was && !atomic_compare_exchange_weak(s->until, &was, want));
	return true;
}

/* Who waits here already has raised the own one only: the shared one begins with that. */
void scan_share(struct scan *s, _Atomic uint64_t *until)
{
	uint64_t own_ms = atomic_load(&s->until_ms);

	s->until = until;
	(void)scan_join(s, own_ms);
}

/* What is shared may hold anything, should a process have gone wild. May be called twice, on the
 * loop where a standby is asked, and on the thread: the bit stays. */
uint64_t scan_fix(struct scan *s)
{
	uint64_t shared_ms = atomic_fetch_or(s->until, FLIGHT_FIXED) & ~FLIGHT_FIXED;
	uint64_t own_ms = atomic_load(&s->until_ms) & ~FLIGHT_FIXED;
	uint64_t until_ms = shared_ms > own_ms ? shared_ms : own_ms;

	return until_ms < s->budget_ms ? until_ms : s->budget_ms;
}

/* Nobody can join the next run: it stays fixed. Who joined the first is served by a later
 * snapshot, which has no less (D21). */
void scan_again(struct scan *s)
{
	scan_release(s, &s->a);
	s->people = (struct people){0};
	s->kernel = NULL;
	s->more = NULL;
	s->twin = NULL;
	s->join = NULL;
	s->undecided = s->by_text = s->twins = false;
	s->settled_ms = INT64_MIN;
	s->end = SCAN_OK;
}

/* Only a flag: the thread looks at it between rows and every 50 ms (db/stream.h), a kernel by
 * watch.h. So whoever waits for the scan goes on waiting, but not for long. */
void scan_stop(struct scan *s)
{
	atomic_store(&s->asked_to_stop, 1);
}

int scan_no_memory(struct call *c)
{
	return call_fail(
		c, CODE_RESOURCE_EXHAUSTED, NULL, "the query needs more memory than it may use");
}

static int fail(struct call *c, enum scan_end end)
{
	switch (end) {
	case SCAN_OK:
		return 0;
	case SCAN_TIES:
	case SCAN_TEXTS:
	case SCAN_ALONE:
		return -1;
	case SCAN_TIME:
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL,
			"the query took longer than its time budget");
	case SCAN_GONE:
		return call_fail(c, CODE_CANCELED, NULL, "the client went away");
	case SCAN_MEMORY:
		return scan_no_memory(c);
	case SCAN_DB:
		return call_fail(c, CODE_UNAVAILABLE, NULL, "the database cannot be reached now");
	case SCAN_BROKEN:
	default:
		return call_fail(c, CODE_INTERNAL, NULL, "internal error");
	}
}

/* One run, which began when so many bytes had been read. A question that was asked again counts
 * once, with its last run. */
static void count(struct scan *s, struct segment *seg, int slot_no, uint64_t before)
{
	counter_add(seg, slot_no, CTR_insight_ties, s->end == SCAN_TIES);
	counter_add(seg, slot_no, CTR_insight_queries,
		s->end != SCAN_TIES && s->end != SCAN_TEXTS && s->end != SCAN_ALONE);
	counter_add(seg, slot_no, CTR_insight_twins, s->twins);
	counter_add(seg, slot_no, CTR_insight_bytes, s->bytes - before);
	counter_add(seg, slot_no, CTR_insight_cache_hits, s->cache.hits);
	counter_add(seg, slot_no, CTR_insight_cache_misses, s->cache.misses);
	counter_add(seg, slot_no, CTR_insight_cache_lost, s->cache.lost);
	counter_add(seg, slot_no, CTR_insight_cache_bytes, s->cache.bytes);
	counter_add(seg, slot_no, CTR_people_kept, s->people_origin == PEOPLE_KEPT);
	counter_add(seg, slot_no, CTR_people_changed, s->people_origin == PEOPLE_CHANGED);
	counter_add(seg, slot_no, CTR_people_made, s->people_origin == PEOPLE_MADE);
	s->cache.hits = s->cache.misses = s->cache.lost = s->cache.bytes = 0;
}

int scan_run(struct scan *s, struct call *c)
{
	struct look look = {.timer = {.fire = look_after_client}, .scan = s, .c = c};
	struct q_wal_position_row row;
	uint64_t before = s->bytes;
	int refused = 0;

	if (strcmp(s->url, s->primary_url) != 0) {
		/* whoever comes after this may know of later commits */
		(void)scan_fix(s);
		if (q_wal_position(&c->db, &row) != 1)
			return call_fail_db(c, &c->db);
		s->position = row.position;
	}
	/* a flight has no client of its own: those who wait for it look (insight_answer.c) */
	if (c->rq)
		loop_timer_set(c->w->loop, &look.timer, LOOK_MS);
	/* the deadline may still rise while it waits, so scan_thread() looks at it */
	if (c->w->offload)
		refused = offload_run(c->w->offload, OFFLOAD_SCAN, 0, scan_thread, s);
	else
		scan_thread(s);
	if (c->rq)
		loop_timer_stop(c->w->loop, &look.timer);
	if (refused)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "too many queries are waiting");
	if (c->w->seg)
		count(s, c->w->seg, c->w->slot_no, before);
	return fail(c, s->end);
}
