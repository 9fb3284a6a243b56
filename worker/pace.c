/* Pauses of a thread that computes: a timer of its own interrupts it, and the handler
 * sleeps. */
#include "worker/pace.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	PACE_NS = 500 * 1000,
	/* With the kernel's timer slack some 100 us. Longer ones help nobody more. */
	PAUSE_NS = 50 * 1000
};

static _Thread_local uint64_t paused_at; /* the thread's CPU time, ns */

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Whoever waited for the CPU all the time has paused enough: it would never end on a host
 * that is busy. */
static void pause_now(int signo)
{
	const struct timespec moment = {.tv_nsec = PAUSE_NS};
	uint64_t now = cpu_ns();
	int saved = errno;

	(void)signo;
	if (now - paused_at >= PACE_NS / 2) {
		paused_at = now;
		/* signal-safety(7) names this one, and not nanosleep(). */
		(void)pselect(0, NULL, NULL, NULL, &moment, NULL);
	}
	errno = saved;
}

static void install(void)
{
	struct sigaction act = {.sa_handler = pause_now, .sa_flags = SA_RESTART};

	sigemptyset(&act.sa_mask);
	(void)sigaction(SIGALRM, &act, NULL);
}

static void mask_alarm(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	(void)pthread_sigmask(how, &set, NULL);
}

void pace_begin(struct pace *p)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct sigevent to_me = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
	const struct timespec step = {.tv_nsec = PACE_NS};
	const struct itimerspec often = {.it_interval = step, .it_value = step};

	pthread_once(&once, install);
	to_me._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	p->on = timer_create(CLOCK_MONOTONIC, &to_me, &p->timer) == 0;
	if (!p->on)
		return;
	paused_at = cpu_ns();
	mask_alarm(SIG_UNBLOCK);
	(void)timer_settime(p->timer, 0, &often, NULL);
}

void pace_end(struct pace *p)
{
	if (!p->on)
		return;
	(void)timer_delete(p->timer);
	mask_alarm(SIG_BLOCK); /* one that was on its way has come before */
	p->on = false;
}
