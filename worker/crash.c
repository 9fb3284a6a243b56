/*
 * Fatal signals and panics write to the slot, which outlives the process, and
 * then the process dies as it would have. Only async-signal-safe calls: the
 * heap may be broken and any lock may be held. Nothing is logged here; the
 * master turns the slot into one line.
 */
#include "worker/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/base/log.h"
#include "shm/slots.h"
#include "worker/sanitize.h"

enum { CRASH_STACK = 64 * 1024, CRASH_FRAMES = 16 };

/* Signal handlers have no argument to pass it in. */
static struct slot *crash_slot;

static void crash_panic(const char *text)
{
	size_t n = strlen(text);

	if (n > SLOT_PANIC_BYTES - 1)
		n = SLOT_PANIC_BYTES - 1;
	memcpy(crash_slot->panic, text, n);
	crash_slot->panic[n] = '\0';
}

static void crash_signal(int sig, siginfo_t *si, void *context)
{
	void *frames[CRASH_FRAMES] = {0};
	struct slot *s = crash_slot;
	int i;

	(void)context;
	s->signal = sig;
	s->address = (uint64_t)(uintptr_t)si->si_addr;
	atomic_store_explicit(&s->panic_set, 1, memory_order_release);
	/* Last, because walking a smashed stack may fault once more; the handler
	 * is gone by then (SA_RESETHAND), so that would be the end. */
	backtrace(frames, CRASH_FRAMES);
	for (i = 0; i < CRASH_FRAMES; i++)
		s->backtrace[i] = (uint64_t)(uintptr_t)frames[i];
	/* Pends until we return: then the default action, also for signals that
	 * somebody sent. */
	raise(sig);
}

#ifndef WORKER_ASAN
static bool crash_alt_stack(void)
{
	/* The usual stack may be what overflowed. */
	stack_t ss = {.ss_size = CRASH_STACK};

	ss.ss_sp =
		mmap(NULL, CRASH_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return ss.ss_sp != MAP_FAILED && sigaltstack(&ss, NULL) == 0;
}

static void crash_signals(void)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
	struct sigaction sa = {.sa_sigaction = crash_signal};
	void *frame;
	size_t i;

	/* The first call loads libgcc, which a signal handler must not do. */
	backtrace(&frame, 1);
	sa.sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | (crash_alt_stack() ? SA_ONSTACK : 0));
	sigfillset(&sa.sa_mask);
	for (i = 0; i < sizeof(fatal) / sizeof(*fatal); i++)
		sigaction(fatal[i], &sa, NULL);
}
#else
/* A sanitizer's own report says more. */
static void crash_signals(void)
{
	(void)crash_signal;
}
#endif

void crash_setup(struct slot *slot)
{
	crash_slot = slot;
	panic_hook = crash_panic;
	crash_signals();
}
