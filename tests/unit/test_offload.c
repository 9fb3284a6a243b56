/* Offload threads: results, bounded queue, nice value, crumbs. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/slots.h"
#include "worker/coro.h"
#include "worker/loop.h"
#include "worker/offload.h"

TestSuite(offload, .timeout = 30);

static struct loop *l;
static struct offload *o;
static int running;

struct job_test {
	int rc, nice, index;
	enum offload_pool pool;
	uint64_t deadline_ms;
	_Atomic int *gate;
	struct crumb *crumbs;
	bool crumb_seen, signals_blocked;
	pthread_t thread;
	bool ran;
};

static void on_thread(void *arg)
{
	struct job_test *t = arg;
	sigset_t mask;

	t->ran = true;
	t->thread = pthread_self();
	t->nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
	t->index = offload_crumb_index();
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	t->signals_blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGHUP);
	if (t->crumbs)
		t->crumb_seen = t->crumbs[t->index].busy && t->crumbs[t->index].method == 42;
	while (t->gate && !*t->gate)
		usleep(1000);
}

static void call(void *arg)
{
	struct job_test *t = arg;

	t->rc = offload_run(o, t->pool, t->deadline_ms, on_thread, t);
	if (--running == 0)
		loop_stop(l);
}

static void start(struct job_test *t)
{
	running++;
	cr_assert(coro_start(call, t));
}

static void setup(int fast, int scan, int queue)
{
	l = loop_new();
	o = offload_new(
		l, (int[]){fast, scan, 1, 1, 1}, (int[]){queue, queue, queue, queue, queue});
	cr_assert(l && o);
}

static void teardown(void)
{
	offload_free(o);
	loop_free(l);
	coro_teardown();
}

Test(offload, runs_on_threads_of_both_pools)
{
	struct job_test fast = {.pool = OFFLOAD_FAST}, scan = {.pool = OFFLOAD_SCAN};
	int base = getpriority(PRIO_PROCESS, 0);

	setup(1, 2, 8);
	start(&fast);
	start(&scan);
	loop_run(l, NULL, NULL);
	cr_assert(fast.rc == 0 && scan.rc == 0);
	cr_assert_not(pthread_equal(fast.thread, pthread_self()));
	cr_assert(fast.signals_blocked && scan.signals_blocked);
	cr_assert_eq(fast.nice, base > 10 ? base : 10);
	cr_assert_eq(scan.nice, base > 10 ? base : 10);
	cr_assert_eq(fast.index, 1);
	cr_assert(scan.index == 2 || scan.index == 3);
	cr_assert_eq(offload_crumb_index(), 0);
	teardown();
}

Test(offload, full_queue_refuses)
{
	_Atomic int gate = 0;
	struct job_test t[6] = {0};
	int i, busy = 0;

	setup(1, 1, 3);
	for (i = 0; i < 6; i++) {
		t[i].gate = &gate;
		start(&t[i]);
		if (i == 0)
			usleep(100000); /* the thread takes the first off the queue */
	}
	for (i = 0; i < 6; i++)
		busy += t[i].rc == -EBUSY;
	cr_assert_eq(busy, 2);
	gate = 1;
	loop_run(l, NULL, NULL);
	cr_assert_eq(t[0].rc, 0);
	cr_assert_eq(t[5].rc, -EBUSY);
	teardown();
}

Test(offload, each_pool_has_its_own_bound)
{
	_Atomic int gate = 0;
	struct job_test t[6] = {0};
	int i;

	l = loop_new();
	o = offload_new(l, (int[]){1, 1, 1, 1, 1}, (int[]){1, 3, 1, 1, 1});
	cr_assert(l && o);
	for (i = 0; i < 6; i++) {
		t[i].gate = &gate;
		t[i].pool = i < 3 ? OFFLOAD_FAST : OFFLOAD_SCAN;
		start(&t[i]);
		if (i % 3 == 0)
			usleep(100000); /* the thread takes it off the queue */
	}
	cr_assert_eq(t[2].rc, -EBUSY);
	gate = 1;
	loop_run(l, NULL, NULL);
	for (i = 0; i < 6; i++)
		cr_assert_eq(t[i].rc, i == 2 ? -EBUSY : 0);
	teardown();
}

Test(offload, what_nobody_waits_for_is_not_run)
{
	_Atomic int gate = 0;
	struct job_test first = {.gate = &gate};
	struct job_test late = {.deadline_ms = clock_mono_ms() + 50};
	struct job_test early = {.deadline_ms = clock_mono_ms() + 20000};

	setup(1, 1, 4);
	start(&first);
	start(&late);
	start(&early);
	usleep(100000);
	gate = 1;
	loop_run(l, NULL, NULL);
	cr_assert(first.rc == 0 && first.ran);
	cr_assert(late.rc == -ETIME && !late.ran);
	cr_assert(early.rc == 0 && early.ran);
	teardown();
}

/* Who is at a job ends with it; what waits is another's, and so is what comes. */
Test(offload, others_take_the_place_of_threads)
{
	_Atomic int gate = 0;
	struct job_test idle = {0}, busy = {.gate = &gate}, waits = {0}, comes = {0};

	setup(1, 1, 4);
	start(&idle);
	loop_run(l, NULL, NULL);
	start(&busy);
	usleep(100000); /* the thread takes it off the queue */
	cr_assert(pthread_equal(idle.thread, busy.thread));
	start(&waits);
	cr_assert_not(waits.ran);
	cr_assert(offload_renew(o));
	for (int i = 0; i < 2000 && !waits.ran; i++)
		usleep(1000);
	cr_assert(waits.ran && !gate, "while the other one is still busy");
	gate = 1;
	loop_run(l, NULL, NULL);
	cr_assert(offload_renew(o), "idle ones leave as well");
	start(&comes);
	loop_run(l, NULL, NULL);
	cr_assert(busy.rc == 0 && waits.rc == 0 && comes.rc == 0);
	cr_assert_not(pthread_equal(busy.thread, waits.thread));
	teardown();
}

Test(offload, crumb_of_the_call_goes_along)
{
	static struct crumb crumbs[CRUMBS_PER_SLOT];
	struct job_test t = {.crumbs = crumbs};

	setup(1, 1, 4);
	offload_set_crumbs(o, crumbs);
	crumbs[0].method = 42;
	crumbs[0].busy = 1;
	start(&t);
	/* Parked: the loop's thread works for nobody. */
	cr_assert_eq(crumbs[0].busy, 0);
	crumbs[0].method = 0;
	loop_run(l, NULL, NULL);
	cr_assert(t.crumb_seen);
	cr_assert_eq(crumbs[1].busy, 0);
	/* Back on the call's behalf. */
	cr_assert(crumbs[0].busy == 1 && crumbs[0].method == 42);
	teardown();
}

Test(offload, many_jobs)
{
	enum { N = 400 };
	static struct job_test t[N];
	int i;

	setup(3, 3, N);
	for (i = 0; i < N; i++) {
		t[i].pool = i % 2 ? OFFLOAD_FAST : OFFLOAD_SCAN;
		start(&t[i]);
	}
	loop_run(l, NULL, NULL);
	for (i = 0; i < N; i++)
		cr_assert_eq(t[i].rc, 0);
	teardown();
}

static _Atomic int marked;
static _Atomic bool taken;

static void mark(void *arg)
{
	(void)arg;
	marked++;
}

/* When the threads of other pools have left. */
static void give_late(void *arg)
{
	(void)arg;
	usleep(200000);
	taken = offload_give(o, OFFLOAD_TWIN, mark, NULL);
}

/* Whoever waits for what was taken would wait for ever. */
Test(offload, nothing_is_taken_that_nobody_will_do)
{
	setup(1, 1, 4);
	cr_assert(offload_give(o, OFFLOAD_TWIN, mark, NULL));
	while (marked == 0)
		usleep(1000);
	cr_assert(offload_give(o, OFFLOAD_SCAN, give_late, NULL));
	teardown();
	cr_assert_eq(marked, 1 + taken);
}
