/*
 * Coroutines: straight-line code that parks instead of blocking. One stack of
 * 256 KB with a guard page each, pooled and capped. Created by ucontext,
 * switched by setjmp/longjmp. Never switched from a thread other than the loop's.
 */
#ifndef WORKER_CORO_H
#define WORKER_CORO_H

#include <stdbool.h>

struct coro;

/* Caps the number of stacks; call before the first coro_start. */
void coro_setup(unsigned max_stacks);
/* Runs fn(arg) on a new coroutine until it parks or returns. false when the cap
 * is reached or no memory is left: then fn did not run. */
bool coro_start(void (*fn)(void *arg), void *arg);
/* The running coroutine; NULL on the loop's own stack. */
struct coro *coro_self(void);
/* A pointer that belongs to the running coroutine (its call); NULL at the start
 * of each and on the loop's stack. Setting it needs a coroutine. */
void coro_set_data(void *data);
void *coro_data(void);
/* Parks the running coroutine until somebody resumes it. */
void coro_park(void);
/* Continues a parked coroutine; returns when it parks again or ends. From the
 * loop's stack or from another coroutine (nesting is allowed). */
void coro_resume(struct coro *co);
/* Coroutines that live now, and the cap. */
unsigned coro_count(void);
unsigned coro_limit(void);
/* Frees the pooled stacks (leak checkers). */
void coro_teardown(void);

#endif
