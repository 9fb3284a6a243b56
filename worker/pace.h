/*
 * A thread that computes for long sleeps a moment every half millisecond.
 *
 * A low priority is not enough for others to go first: it counts within a session or a
 * service only (sched(7), autogroup), and since Linux 6.6 whoever runs may finish its
 * slice, so whoever wakes up beside it waits for the next tick, 4 ms, at each step of a
 * commit. A thread that sleeps is in nobody's way, whatever the groups and the kernel:
 * with one CPU of two busy the p99 of BatchCreate is 20 ms without pauses and 4 with
 * them, as on an idle host. Pauses take some 30% of the time.
 */
#ifndef WORKER_PACE_H
#define WORKER_PACE_H

#include <stdbool.h>
#include <time.h>

struct pace {
	timer_t timer;
	bool on;
};

/* From here to pace_end() the calling thread pauses, by SIGALRM. Only around code that
 * computes: a system call may be interrupted. Without a timer (timer_create(2): EAGAIN)
 * the thread goes on as before. The end leaves SIGALRM blocked in the thread. */
void pace_begin(struct pace *p);
void pace_end(struct pace *p);

#endif
