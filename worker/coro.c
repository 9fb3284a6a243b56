/*
 * Coroutines in the manner of QEMU: makecontext once per stack, then only
 * sigsetjmp/siglongjmp, which cost no system call. A finished coroutine keeps
 * its context and waits in a pool for its next function.
 *
 * This file is compiled with -U_FORTIFY_SOURCE (Makefile): the fortified
 * longjmp takes a switch between stacks for a smashed one. Everything here
 * belongs to the loop's thread; hence one plain static struct.
 */
#include "worker/coro.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "shm/base/log.h"
#include "worker/sanitize.h"

#ifdef WORKER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WORKER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum {
/* A deep message on a sanitizer build needs more; a release build uses
 * under 32 KB (the nesting limits of the codecs see to it). */
#if defined(WORKER_ASAN) || defined(WORKER_TSAN)
	CORO_STACK = 1024 * 1024,
#else
	CORO_STACK = 256 * 1024,
#endif
	/* Idle stacks that keep all their pages, and those that keep only the top. */
	CORO_HOT = 16,
	CORO_WARM = 128,
	/* The frames of an idle coroutine live here and must survive madvise. */
	CORO_KEEP = 16 * 1024
};

struct coro {
	sigjmp_buf env;
	void (*fn)(void *arg);
	void *arg;
	void *data;
	struct coro *caller; /* whom to return to; NULL while parked */
	struct coro *next;   /* in the pool */
	char *map;           /* guard page, then the stack */
	size_t map_size;
	bool done;
#ifdef WORKER_ASAN
	void *fake_stack;
	const void *stack_low;
	size_t stack_size;
#endif
#ifdef WORKER_TSAN
	void *fiber;
#endif
};

static struct {
	struct coro loop; /* stands for the loop's own stack */
	struct coro *running;
	struct coro *idle;
	unsigned idle_n, live, limit;
	size_t page;
} pool = {.limit = 512};

void coro_setup(unsigned max_stacks)
{
	pool.limit = max_stacks;
}

/* ---- switching ---- */

#ifdef WORKER_ASAN
static void switch_start(struct coro *from, const struct coro *to)
{
	__sanitizer_start_switch_fiber(&from->fake_stack, to->stack_low, to->stack_size);
}

/* `from` is whom we came from: the first arrival tells us the loop's bounds. */
static void switch_finish(struct coro *self, struct coro *from)
{
	__sanitizer_finish_switch_fiber(self->fake_stack, &from->stack_low, &from->stack_size);
}
#else
static void switch_start(struct coro *from, const struct coro *to)
{
	(void)from;
	(void)to;
}

static void switch_finish(struct coro *self, struct coro *from)
{
	(void)self;
	(void)from;
}
#endif

/* Where to jump back to is kept by fiber, so the jump comes next. What one does happens before
 * what the other does then: they are one thread. */
static inline void switch_jump(struct coro *from, const struct coro *to)
{
#ifdef WORKER_TSAN
	if (!from->fiber)
		from->fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(to->fiber, 0);
#else
	(void)from;
	(void)to;
#endif
}

/* Not inlined, so that no compiler keeps something of one stack in a register
 * across the jump to another. */
__attribute__((noinline)) static void coro_switch(struct coro *from, struct coro *to)
{
	pool.running = to;
	switch_start(from, to);
	if (sigsetjmp(from->env, 0) == 0) {
		switch_jump(from, to);
		siglongjmp(to->env, 1);
	}
	/* Back again: whoever switched here is the callee or the caller of `from`;
	 * the bounds of both are known by now, so nothing needs to be learnt. */
#ifdef WORKER_ASAN
	__sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

/* The bottom frame of every coroutine; never returns. The pointer comes in two
 * halves because makecontext passes ints. */
static void coro_trampoline(unsigned high, unsigned low)
{
	struct coro *co = (struct coro *)(((uintptr_t)high << 16 << 16) | low);
	struct coro *caller;

	switch_finish(co, co->caller);
	/* The first arrival is by swapcontext and only prepares the jump buffer. */
	for (;;) {
		caller = co->caller;
		co->caller = NULL;
		coro_switch(co, caller);
		co->fn(co->arg);
		co->done = true;
	}
}

static bool coro_prepare(struct coro *co)
{
	ucontext_t here, there;
	struct coro *self = pool.running;
	uintptr_t p = (uintptr_t)co;

	if (getcontext(&there) < 0)
		return false;
	there.uc_link = NULL;
	there.uc_stack.ss_sp = co->map + pool.page;
	there.uc_stack.ss_size = CORO_STACK;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-function-type"
	makecontext(
		&there, (void (*)(void))coro_trampoline, 2, (unsigned)(p >> 16 >> 16), (unsigned)p);
#pragma GCC diagnostic pop
	co->caller = self;
	switch_start(self, co);
	/* swapcontext saves `here` and is not used to come back: the trampoline
	 * jumps to the caller's environment instead. */
	if (sigsetjmp(self->env, 0) == 0) {
		switch_jump(self, co);
		swapcontext(&here, &there);
	}
#ifdef WORKER_ASAN
	__sanitizer_finish_switch_fiber(self->fake_stack, NULL, NULL);
#endif
	return true;
}

/* ---- stacks ---- */

static void coro_free(struct coro *co)
{
#ifdef WORKER_ASAN
	/* The frames of the trampoline are still poisoned; the address may serve again. */
	__asan_unpoison_memory_region(co->map + pool.page, CORO_STACK);
#endif
#ifdef WORKER_TSAN
	__tsan_destroy_fiber(co->fiber);
#endif
	munmap(co->map, co->map_size);
	free(co);
}

static struct coro *coro_new(void)
{
	struct coro *co = calloc(1, sizeof(*co));

	if (!co)
		return NULL;
	if (!pool.page)
		pool.page = (size_t)sysconf(_SC_PAGESIZE);
	co->map_size = CORO_STACK + pool.page;
	co->map = mmap(NULL, co->map_size, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (co->map == MAP_FAILED) {
		free(co);
		return NULL;
	}
#ifdef WORKER_ASAN
	co->stack_low = co->map + pool.page;
	co->stack_size = CORO_STACK;
#endif
#ifdef WORKER_TSAN
	co->fiber = __tsan_create_fiber(0);
#endif
	if (mprotect(co->map + pool.page, CORO_STACK, PROT_READ | PROT_WRITE) < 0 ||
		!coro_prepare(co)) {
		coro_free(co);
		return NULL;
	}
	return co;
}

static struct coro *coro_take(void)
{
	struct coro *co = pool.idle;

	if (!co)
		return coro_new();
	pool.idle = co->next;
	pool.idle_n--;
	return co;
}

static void coro_put(struct coro *co)
{
	if (pool.idle_n >= CORO_WARM) {
		coro_free(co);
		return;
	}
	/* A burst must not leave its touched stacks behind for good. */
	if (pool.idle_n >= CORO_HOT)
		madvise(co->map + pool.page, CORO_STACK - CORO_KEEP, MADV_DONTNEED);
	co->next = pool.idle;
	pool.idle = co;
	pool.idle_n++;
}

void coro_teardown(void)
{
	struct coro *co;

	while ((co = pool.idle)) {
		pool.idle = co->next;
		coro_free(co);
	}
	pool.idle_n = 0;
}

/* ---- what others call ---- */

void coro_resume(struct coro *co)
{
	must(co && !co->caller && !co->done);
	co->caller = pool.running;
	coro_switch(co->caller, co);
	if (!co->done)
		return;
	pool.live--;
	coro_put(co);
}

bool coro_start(void (*fn)(void *arg), void *arg)
{
	struct coro *co;

	if (!pool.running)
		pool.running = &pool.loop;
	if (pool.live >= pool.limit || !(co = coro_take()))
		return false;
	pool.live++;
	co->fn = fn;
	co->arg = arg;
	co->data = NULL;
	co->done = false;
	coro_resume(co);
	return true;
}

void coro_park(void)
{
	struct coro *self = coro_self(), *caller;

	must(self != NULL);
	caller = self->caller;
	self->caller = NULL;
	coro_switch(self, caller);
}

struct coro *coro_self(void)
{
	return pool.running == &pool.loop ? NULL : pool.running;
}

void coro_set_data(void *data)
{
	must(coro_self() != NULL);
	pool.running->data = data;
}

void *coro_data(void)
{
	return coro_self() ? pool.running->data : NULL;
}

unsigned coro_count(void)
{
	return pool.live;
}

unsigned coro_limit(void)
{
	return pool.limit;
}
