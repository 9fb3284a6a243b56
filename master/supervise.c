/*
 * The master's one loop: one event at a time, then whatever is due. Nothing in
 * it blocks, so a dead worker is seen within the scheduler's delay.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "master/admin.h"
#include "master/generation.h"
#include "master/master.h"
#include "master/reload.h"
#include "master/salt.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"

/* A loop that turned this late was itself stopped (suspend, SIGSTOP, debugger), so
 * the workers' heartbeats may be as old through no fault of theirs. While a heartbeat is watched
 * it turns every 250 ms (child.c); else a long sleep sets a grace that nobody needs. WAIT_MAX_MS
 * keeps waits within an int. */
enum { STOOD_STILL_MS = 1500, WAIT_MAX_MS = 60000 };

/* False: fd is still the caller's to close. */
bool watch_add(struct master *m, struct watch *w, int fd, uint32_t events,
	void (*fn)(struct master *m, struct watch *w, uint32_t events))
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		return false;
	w->fn = fn;
	w->fd = fd;
	return true;
}

void watch_drop(struct master *m, struct watch *w)
{
	if (w->fd < 0)
		return;
	epoll_ctl(m->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	close(w->fd);
	w->fd = -1;
}

/* No READY=1 while a reload is under way: it is what ends a RELOADING=1 (systemd/README.md). */
void supervise_announce(struct master *m)
{
	const char *state = m->over_budget ? "degraded, workers keep dying; " : "";
	const char *ready = m->reload.pid != 0 || m->next ? "" : "READY=1\n";
	uint32_t number = m->current ? m->current->number : 0;
	int workers = generation_ready_workers(m->current);

	if (m->stopping)
		return;
	if (m->last_error[0])
		notify_send(&m->notify, "%sSTATUS=%sreload failed: %s; generation %u, %d workers",
			ready, state, m->last_error, number, workers);
	else
		notify_send(&m->notify, "%sSTATUS=%sgeneration %u, %d workers", ready, state,
			number, workers);
}

static void stop_now(struct master *m)
{
	for (int g = 0; g < GENERATIONS; g++)
		for (int i = 0; m->gens[g].state != GEN_NONE && i < m->gens[g].seats; i++)
			child_stop(&m->gens[g].child[i], "stop");
}

void supervise_stop(struct master *m)
{
	if (m->stopping) {
		log_info("stopping at once");
		stop_now(m);
		return;
	}
	m->stopping = true;
	log_info("stopping");
	notify_send(&m->notify, "STOPPING=1\nSTATUS=finishing calls");
	if (m->reload.pid != 0)
		kill(m->reload.pid, SIGKILL);
	for (int g = 0; g < GENERATIONS; g++)
		if (m->gens[g].state == GEN_STARTING || m->gens[g].state == GEN_CURRENT)
			generation_drain(m, &m->gens[g]);
	/* Nobody left: no exit will come that says so. */
	m->quit = !m->current && !m->next && !m->old;
}

static void on_signal(struct master *m, struct watch *w, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	if (read(w->fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return;
	if (si.ssi_signo == SIGHUP)
		reload_begin(m);
	else if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
		supervise_stop(m);
}

/* SIGTERM and SIGINT stop, SIGHUP reloads; they stay blocked across exec, so that one
 * that arrives in between is not lost. No SIGCHLD: every child has a pidfd. SIGPIPE is ignored
 * because the log is written with write(2), and a reader that goes away must not end the
 * master. */
bool supervise_signals(struct master *m)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd >= 0 && watch_add(m, &m->signals, fd, EPOLLIN, on_signal))
		return true;
	log_err("cannot watch signals error=%s", strerror(errno));
	return false;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Everything that is due. Returns when something will be due next. */
static uint64_t tick(struct master *m)
{
	uint64_t now_ms = clock_mono_ms(), next = now_ms + WAIT_MAX_MS;

	if (now_ms - m->turn_ms > STOOD_STILL_MS)
		m->grace_ms = now_ms;
	m->turn_ms = now_ms;
	next = sooner(next, notify_tick(&m->notify, now_ms));
	next = sooner(next, reload_tick(m, now_ms));
	next = sooner(next, admin_tick(m, now_ms));
	next = sooner(next, salt_tick(m, now_ms));
	for (int g = 0; g < GENERATIONS; g++)
		if (m->gens[g].state != GEN_NONE)
			next = sooner(next, generation_tick(m, &m->gens[g], now_ms));
	return next;
}

static void wait_event(struct master *m, uint64_t until_ms)
{
	uint64_t now_ms = clock_mono_ms();
	struct epoll_event ev;
	struct watch *w;

	if (epoll_wait(m->epoll_fd, &ev, 1, until_ms > now_ms ? (int)(until_ms - now_ms) : 0) != 1)
		return;
	w = ev.data.ptr;
	w->fn(m, w, ev.events);
}

int supervise_run(struct master *m)
{
	m->turn_ms = clock_mono_ms();
	while (!m->quit)
		wait_event(m, tick(m));
	log_info("stopped exit=%d", m->exit_code);
	return m->exit_code;
}
