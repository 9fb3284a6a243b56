/* A query's memory goes back to the kernel on a thread, not on the loop's. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <time.h>
#include "shm/base/clock.h"
#include "shm/options.h"
#include "worker/coro.h"
#include "worker/insights/scan_internal.h"
#include "worker/loop.h"
#include "worker/offload.h"
#include "worker/worker.h"

enum { MB = 1 << 20, BIG = 192 };

static struct options opt;
static struct worker w;
static struct call c;

static void setup(void)
{
	opt.insight_timeout = 30000;
	opt.insight_memory = 256 * MB;
	w.opt = &opt;
	c.w = &w;
	w.loop = loop_new();
	w.offload = offload_new(w.loop, (int[]){1, 1, 1, 1, 1}, (int[]){4, 4, 4, 4, 4});
	cr_assert(w.loop && w.offload);
}

static void teardown(void)
{
	offload_free(w.offload);
	loop_free(w.loop);
}

/* This thread's own time, which other processes do not lengthen. */
static int64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void fill(struct arena *a, int mb)
{
	for (int i = 0; i < mb; i++) {
		char *p = arena_alloc(a, MB - 64);

		cr_assert(p);
		memset(p, 1, MB - 64);
	}
}

static int64_t time_free(struct offload *o)
{
	struct scan s;
	int64_t start;

	scan_init(&s, &c);
	s.offload = o;
	fill(&s.a, BIG - 8);
	start = cpu_us();
	scan_free(&s);
	cr_assert_eq(s.a.held, 0);
	cr_assert_null(s.a.chunk);
	return cpu_us() - start;
}

Test(scan, large_memory_is_freed_elsewhere, .init = setup, .fini = teardown)
{
	int64_t here = time_free(NULL), away = time_free(w.offload);

	fprintf(stderr, "freeing %d MB: %lld us here, %lld us given away\n", BIG - 8,
		(long long)here, (long long)away);
	cr_assert_gt(here, 1000);
	cr_assert_lt(away, here / 4);
}

static void wait_for(void *gate)
{
	pthread_mutex_lock(gate);
	pthread_mutex_unlock(gate);
}

/* With the queue full it is slow, but nothing is lost (the sanitizers would say so). */
Test(scan, memory_is_freed_even_with_a_full_queue, .init = setup, .fini = teardown)
{
	static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* the last ones wait after this */
	int taken = 0;

	pthread_mutex_lock(&gate);
	while (offload_give(w.offload, OFFLOAD_FREE, wait_for, &gate))
		taken++;
	cr_assert_geq(taken, 4);
	for (int i = 0; i < 8; i++) {
		struct scan s;

		scan_init(&s, &c);
		fill(&s.a, 4);
		scan_free(&s);
		cr_assert_eq(s.a.held, 0);
	}
	pthread_mutex_unlock(&gate);
}

/* Whoever joins may have more time than who asked first, but not more than the budget; and
 * nobody joins once the snapshot is being taken. */
Test(scan, joining, .init = setup, .fini = teardown)
{
	uint64_t now = clock_mono_ms();
	struct scan s;

	c.deadline_ms = now + 5000;
	scan_init(&s, &c);
	cr_assert(s.until_ms >= now + 5000 && s.until_ms < now + 5100);
	cr_assert(scan_join(&s, now + 2000));
	cr_assert_lt(s.until_ms, now + 5100);
	cr_assert(scan_join(&s, now + 9000));
	cr_assert_eq(s.until_ms, now + 9000);
	cr_assert(scan_join(&s, UINT64_MAX / 2));
	cr_assert_eq(s.until_ms, s.budget_ms);
	cr_assert(s.budget_ms >= now + 30000 && s.budget_ms < now + 40000);
	s.until_ms |= (uint64_t)1 << 63;
	cr_assert_not(scan_join(&s, now + 1000));
	cr_assert_eq(s.until_ms & (UINT64_MAX >> 1), s.budget_ms);
	scan_free(&s);
	c.deadline_ms = 0;
}

/* With other workers the deadline is one word of all; whatever is in it, neither the caller's
 * nor the budget's end is missed. */
Test(scan, sharing, .init = setup, .fini = teardown)
{
	uint64_t now = clock_mono_ms();
	_Atomic uint64_t shared = now + 1000;
	struct scan s;

	c.deadline_ms = now + 5000;
	scan_init(&s, &c);
	scan_share(&s, &shared);
	cr_assert(shared >= now + 5000 && shared < now + 5100, "at least its own");
	cr_assert(scan_join(&s, now + 9000));
	cr_assert_eq(shared, now + 9000);
	shared = now + 10000;
	cr_assert_eq(scan_fix(&s), now + 10000);
	cr_assert_not(scan_join(&s, now + 1000));
	cr_assert(shared & FLIGHT_FIXED);
	shared = 0;
	cr_assert(
		scan_fix(&s) >= now + 5000 && scan_fix(&s) < now + 5100, "another's place by now");
	shared = UINT64_MAX;
	cr_assert_eq(scan_fix(&s), s.budget_ms);
	scan_free(&s);
	c.deadline_ms = 0;
}
