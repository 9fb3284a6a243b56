/*
 * A reload in three acts: the installed binary checks the configuration in a
 * process of its own (which also proves that it runs at all); then this process
 * execs it, keeping its pid, children and sockets (handover.c); the new image
 * starts the next generation. Whatever fails leaves the current one serving.
 */
#include "master/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/config.h"
#include "master/generation.h"
#include "master/handover.h"
#include "master/spawn.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/keycache.h"
#include "shm/segment.h"

enum { CHECK_MS = 10000, ARGV_MAX = 2 * ARGS_OVERRIDES + 16 };

/* The binary is always named: /proc/self/exe of an image that was called back is the old file.
 * Callers have room for all ARGS_OVERRIDES. */
int reload_argv(const struct master *m, const char *command, const char **argv, int max)
{
	int n = 0;

	argv[n++] = m->argv0;
	argv[n++] = command;
	if (m->args.config_given) {
		argv[n++] = "--config";
		argv[n++] = m->args.config;
	}
	argv[n++] = "--binary";
	argv[n++] = m->binary;
	for (int i = 0; i < m->args.override_count && n + 3 < max; i++) {
		argv[n++] = "-o";
		argv[n++] = m->args.overrides[i];
	}
	argv[n] = NULL;
	return n;
}

void reload_options(struct master *m)
{
	if (m->current && config_read_memfd(m->current->options_fd, &m->opt))
		log_setup("master", (int)m->opt.log_level);
}

/* why may be last_error itself, which snprintf() must not print onto itself. */
void reload_rejected(struct master *m, const char *why)
{
	m->rejected++;
	reload_options(m);
	if (why != m->last_error)
		snprintf(m->last_error, sizeof(m->last_error), "%s", why);
	log_err("reload rejected generation=%u why=%s", m->current ? m->current->number : 0,
		m->last_error);
	supervise_announce(m);
}

/* Everything the check printed, as log lines. Returns the first one. */
static const char *log_output(struct reload *r)
{
	char *save = NULL, *first = NULL;

	r->text[r->text_n] = '\0';
	for (char *l = strtok_r(r->text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		log_err("check: %s", l);
		first = first ? first : l;
	}
	return first ? first : "it said nothing";
}

/* The layout that the checked binary printed; ours when it printed none. It is of another
 * release: what cli_check_good() prints is an interface. */
static uint64_t printed_layout(struct reload *r)
{
	unsigned long long layout;
	const char *at;

	r->text[r->text_n] = '\0';
	at = strstr(r->text, "layout=");
	if (!at || sscanf(at, "layout=%16llx", &layout) != 1)
		return segment_layout();
	return layout;
}

static void take_over(struct master *m)
{
	/* The new image could not reach the old segment any more, so its cache stops
	 * counting now: a revocation seen by new workers would never reach it. Sticky, also when
	 * the exec fails: the next generation then gets a segment of its own (find_segment). */
	bool other_layout = printed_layout(&m->reload) != segment_layout();

	if (other_layout && m->current->seg) {
		keycache_retire(m->current->seg);
		m->current->retired = true;
	}
	handover_exec(m);
	/* Still here: exec failed, handover_exec has said why. */
	reload_rejected(m, m->last_error);
	reload_pending(m);
}

/* Of much output the middle goes: the first complaint is wanted, and the layout, which is said
 * last. */
static void make_room(struct reload *r)
{
	enum { HEAD = sizeof(r->text) / 2, GONE = sizeof(r->text) / 4 };

	memmove(r->text + HEAD, r->text + HEAD + GONE, r->text_n - HEAD - GONE);
	r->text_n -= GONE;
}

/* The last byte stays free for the NUL of who reads the text. */
static void check_output(struct reload *r)
{
	ssize_t n;

	while (r->output.fd >= 0) {
		if (r->text_n == sizeof(r->text) - 1)
			make_room(r);
		n = read(r->output.fd, r->text + r->text_n, sizeof(r->text) - 1 - r->text_n);
		if (n <= 0)
			return;
		r->text_n += (size_t)n;
	}
}

static void on_output(struct master *m, struct watch *w, uint32_t events)
{
	struct reload *r = &m->reload;

	check_output(r);
	if (events & (EPOLLHUP | EPOLLERR))
		watch_drop(m, w);
}

/* The exit may be seen before the last output, so that is fetched first. pid is cleared before
 * anything is announced: READY=1 is not said while a check runs. */
static void on_checked(struct master *m, struct watch *w, uint32_t events)
{
	struct reload *r = &m->reload;
	siginfo_t si = {0};

	(void)events;
	if (waitid(P_PIDFD, (id_t)w->fd, &si, WEXITED | WNOHANG) != 0 || si.si_pid == 0)
		return;
	check_output(r);
	watch_drop(m, &r->exit);
	watch_drop(m, &r->output);
	r->pid = 0;
	if (m->stopping)
		return;
	if (si.si_code == CLD_EXITED && si.si_status == 0) {
		take_over(m);
		return;
	}
	if (si.si_code != CLD_EXITED)
		snprintf(m->last_error, sizeof(m->last_error), "check died of signal %d",
			si.si_status);
	else
		snprintf(m->last_error, sizeof(m->last_error), "%s", log_output(r));
	reload_rejected(m, m->last_error);
	reload_pending(m);
}

/* Started by its path, as the exec will do it. A check that nobody could watch is killed, or the
 * reload would never end. */
static bool start_check(struct master *m)
{
	struct reload *r = &m->reload;
	const char *argv[ARGV_MAX];
	int pipe_fd[2], pidfd;

	if (pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK) != 0)
		return false;
	reload_argv(m, "check", argv, ARGV_MAX);
	r->text_n = 0;
	r->pid = spawn_helper(m->binary, -1, (char *const *)(const void *)argv, pipe_fd[1]);
	close(pipe_fd[1]);
	if (r->pid < 0) {
		close(pipe_fd[0]);
		errno = -r->pid;
		r->pid = 0;
		return false;
	}
	pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	r->deadline_ms = clock_mono_ms() + CHECK_MS;
	if (!watch_add(m, &r->output, pipe_fd[0], EPOLLIN, on_output))
		close(pipe_fd[0]);
	if (pidfd >= 0 && watch_add(m, &r->exit, pidfd, EPOLLIN, on_checked))
		return true;
	if (pidfd >= 0)
		close(pidfd);
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	watch_drop(m, &r->output);
	r->pid = 0;
	return false;
}

void reload_begin(struct master *m)
{
	if (m->stopping)
		return;
	/* The first generation must serve before it can be replaced. And at most one drains: a
	 * HUP meanwhile is remembered once (D87). */
	if (m->reload.pid != 0 || m->next || m->old || !m->current) {
		log_info("reload remembered");
		m->hup_pending = true;
		return;
	}
	m->hup_pending = false;
	log_info("reload requested generation=%u binary=%s", m->current->number, m->binary);
	notify_reloading(&m->notify);
	if (!start_check(m)) {
		snprintf(m->last_error, sizeof(m->last_error), "cannot run check: %s",
			strerror(errno));
		reload_rejected(m, m->last_error);
	}
}

void reload_pending(struct master *m)
{
	if (m->hup_pending && m->reload.pid == 0 && !m->next && !m->old && m->current)
		reload_begin(m);
}

uint64_t reload_tick(struct master *m, uint64_t now_ms)
{
	struct reload *r = &m->reload;

	if (r->pid == 0)
		return UINT64_MAX;
	if (now_ms >= r->deadline_ms) {
		log_err("check takes too long, killing it");
		kill(r->pid, SIGKILL);
		r->deadline_ms = UINT64_MAX;
	}
	return r->deadline_ms;
}
