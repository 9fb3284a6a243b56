/*
 * The worker's event loop: one epoll, a timer heap, work to do at the end of a
 * turn. Not thread-safe but for loop_post(). Callbacks never block.
 */
#ifndef WORKER_LOOP_H
#define WORKER_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* A file descriptor being watched; embed it. `ready` gets EPOLL* bits. */
struct loop_io {
	int fd;
	void (*ready)(struct loop_io *io, uint32_t events);
};

/* A one-shot timer; embed it, zero it, set `fire`. */
struct loop_timer {
	void (*fire)(struct loop_timer *t);
	uint64_t due_ms; /* CLOCK_MONOTONIC */
	uint32_t index;  /* heap position + 1; 0 = not armed */
};

/* Runs once at the end of the turn in which it was asked for (for example one
 * flush of a database connection); asking twice is the same as once. */
struct loop_chore {
	void (*run)(struct loop_chore *ch);
	struct loop_chore *next;
	bool queued;
};

/* NULL on failure (errno). */
struct loop *loop_new(void);
/* NULL is fine. What was posted and has not run is forgotten; watched descriptors stay open,
 * they are their owners'. */
void loop_free(struct loop *l);
/* 0 or -errno. Events are level-triggered EPOLL* bits. `io` is the caller's and must stay where
 * it is until loop_del(), which comes before its fd is closed. */
int loop_add(struct loop *l, struct loop_io *io, uint32_t events);
int loop_mod(struct loop *l, struct loop_io *io, uint32_t events);
/* Also drops events of this turn that were not delivered yet. */
void loop_del(struct loop *l, struct loop_io *io);
/* Once, that long after the time of this turn (loop_now_ms()); an armed timer is moved. `t` is
 * the caller's and must stay where it is while armed. */
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_ms);
/* One that is not armed is left as it is. */
void loop_timer_stop(struct loop *l, struct loop_timer *t);
void loop_chore(struct loop *l, struct loop_chore *ch);
/* From any thread: fn(arg) runs on the loop soon, in the order of posting. 0 or -ENOMEM. */
int loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
/* Until loop_stop(); `tick` (may be NULL) runs once a turn, at least every second. */
void loop_run(struct loop *l, void (*tick)(void *arg), void *arg);
/* One turn that waits at most most_ms (tests, start-up). */
void loop_once(struct loop *l, uint64_t most_ms);
/* From the loop's own thread: loop_run() returns after this turn. */
void loop_stop(struct loop *l);
/* CLOCK_MONOTONIC in ms, read once a turn. */
uint64_t loop_now_ms(const struct loop *l);

#endif
