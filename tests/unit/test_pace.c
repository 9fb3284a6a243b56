/* Pauses of a thread that computes: that they come, that they let it finish, that they end. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

#include "worker/pace.h"

TestSuite(pace, .timeout = 30);

static uint64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* How often this thread has gone to sleep of its own accord. */
static long sleeps(void)
{
	struct rusage use;

	getrusage(RUSAGE_THREAD, &use);
	return use.ru_nvcsw;
}

static long sleeps_in(uint64_t compute_us)
{
	long before = sleeps();
	uint64_t end = cpu_us() + compute_us;

	while (cpu_us() < end)
		;
	return sleeps() - before;
}

/* As threads of offload.c: no signal reaches them. */
static void block_all(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static bool alarm_blocked(void)
{
	sigset_t mask;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	return sigismember(&mask, SIGALRM) && sigismember(&mask, SIGTERM);
}

Test(pace, sleeps_while_it_computes)
{
	struct pace p;
	long paced;

	block_all();
	pace_begin(&p);
	cr_assert(p.on);
	paced = sleeps_in(100000);
	pace_end(&p);
	/* 200 when nobody else wants the CPU; a timer that is late costs some. */
	cr_assert_geq(paced, 50, "%ld pauses in 100 ms", paced);
	cr_assert_leq(paced, 400, "%ld pauses in 100 ms", paced);
}

Test(pace, ends)
{
	struct pace p;
	long after;

	block_all();
	pace_begin(&p);
	(void)sleeps_in(2000);
	pace_end(&p);
	cr_assert(alarm_blocked());
	after = sleeps_in(50000);
	cr_assert_leq(after, 5, "%ld pauses after the end", after);
	pace_end(&p); /* once more does nothing */
}

/* A thread that had no CPU between two signals has paused enough. */
Test(pace, never_holds_up_who_gets_no_further)
{
	enum { SIGNALS = 2000 };
	uint64_t took = cpu_us();
	long before = sleeps(), paused;
	struct pace p;
	int i;

	block_all();
	pace_begin(&p);
	for (i = 0; i < SIGNALS; i++)
		pthread_kill(pthread_self(), SIGALRM);
	pace_end(&p);
	took = cpu_us() - took;
	paused = sleeps() - before;
	cr_assert_leq((uint64_t)paused, took / 250 + 2, "%ld pauses in %lu us of computing", paused,
		(unsigned long)took);
}

static void *compute(void *arg)
{
	long *paused = arg;
	struct pace p;

	block_all();
	pace_begin(&p);
	*paused = sleeps_in(50000);
	pace_end(&p);
	return NULL;
}

Test(pace, belongs_to_one_thread)
{
	long paced[2] = {0}, mine;
	pthread_t threads[2];
	int i;

	block_all();
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, compute, &paced[i]);
	mine = sleeps_in(20000);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < 2; i++)
		cr_assert_geq(paced[i], 20, "thread %d: %ld pauses in 50 ms", i, paced[i]);
	cr_assert_leq(mine, 3, "%ld pauses of a thread that asked for none", mine);
}
