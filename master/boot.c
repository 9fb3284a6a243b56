/*
 * From nothing, or from the image before us, to a turning loop. The order at a
 * first start: configuration, sockets (needs root for low ports), another user,
 * credentials (as that user, for a reload must read them too), migrations,
 * children.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/admin.h"
#include "master/config.h"
#include "master/generation.h"
#include "master/handover.h"
#include "master/reload.h"
#include "master/salt.h"
#include "master/spawn.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/base/str.h"

enum { ARGV_MAX = 2 * ARGS_OVERRIDES + 16 };

/* The path that a reload starts again. A binary replaced by rename shows as deleted. */
static char *own_path(void)
{
	static const char deleted[] = " (deleted)";
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	size_t tail = sizeof(deleted) - 1;

	if (n <= 0)
		return NULL;
	path[n] = '\0';
	if ((size_t)n > tail && strcmp(path + n - (ssize_t)tail, deleted) == 0)
		path[n - (ssize_t)tail] = '\0';
	return strdup(path);
}

static bool prepare(struct master *m, const struct args *args, const char *argv0)
{
	m->args = *args;
	m->argv0 = argv0;
	m->found_binary = args->binary ? NULL : own_path();
	m->binary = args->binary ? args->binary : m->found_binary;
	m->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	m->started_ms = clock_mono_ms();
	m->salt.fd = -1;
	m->signals.fd = m->reload.exit.fd = m->reload.output.fd = m->admin.listener.fd = -1;
	for (int i = 0; i < ADMIN_CLIENTS; i++)
		m->admin.client[i].watch.fd = -1;
	notify_open(&m->notify);
	return m->binary && m->exe_fd >= 0 && m->epoll_fd >= 0;
}

/* Every connection of a worker is a descriptor; the usual soft limit is for select(2). */
static void raise_limits(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
}

static void log_problems(const struct config_report *r)
{
	struct str text = {r->text.p, r->text.n};

	while (text.n > 0) {
		long nl = str_find(text, '\n');
		size_t n = nl < 0 ? text.n : (size_t)nl;

		log_err("config: %.*s", (int)n, text.p);
		text.p += n + (nl >= 0);
		text.n -= n + (nl >= 0);
	}
}

/* Configuration (and, when `whole`, credentials) into *o. Problems are logged; the first
 * one becomes m->last_error. */
static bool load(struct master *m, struct options *o, bool whole)
{
	struct config_report r;
	bool ok;

	config_report_init(&r);
	config_load(o, &m->args, &r);
	if (whole)
		config_credentials(o, &r);
	log_setup("master", (int)o->log_level);
	ok = r.count == 0;
	if (!ok) {
		long nl = str_find((struct str){r.text.p, r.text.n}, '\n');
		snprintf(m->last_error, sizeof(m->last_error), "%.*s", (int)nl, r.text.p);
		log_problems(&r);
	}
	config_report_free(&r);
	return ok;
}

/* Blocks: nothing is served before the schema fits. */
static bool migrate(struct master *m)
{
	const char *argv[ARGV_MAX];
	int status = -1;
	pid_t pid;

	reload_argv(m, "migrate", argv, ARGV_MAX);
	pid = spawn_helper(NULL, m->exe_fd, (char *const *)(const void *)argv, STDERR_FILENO);
	if (pid > 0)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	log_err("migration failed, not starting");
	return false;
}

/* 78 is not tried again by systemd (RestartPreventExitStatus= in pugd.service), 1 is: an address
 * in use or a database that is down may be over soon. */
static int boot_first(struct master *m)
{
	if (!load(m, &m->opt, false))
		return EXIT_HOPELESS;
	if (!listen_open(&m->listeners, &m->opt, SALT_FD_NAME, &m->salt.fd))
		return 1;
	/* Before the user changes: root may lock as much memory as it likes. */
	salt_open(m, false);
	if (!listen_drop_privileges(&m->opt) || !load(m, &m->opt, true))
		return EXIT_HOPELESS;
	if (m->opt.migrate && !migrate(m))
		return 1;
	if (!supervise_signals(m))
		return 1;
	admin_open(m);
	if (generation_start(m, &m->opt))
		return supervise_run(m);
	log_err("cannot start error=%s", m->last_error);
	return 1;
}

/* Compares with the page of the running generation, if it is of the same shape. */
static void warn_fixed(const struct master *m)
{
	struct options *was = malloc(sizeof(*was));

	if (was && config_read_memfd(m->current->options_fd, was))
		config_warn_fixed(was, &m->opt);
	if (was)
		explicit_bzero(was, sizeof(*was));
	free(was);
}

/* The new image with the new configuration starts the next generation, or says why not. */
static void begin_next(struct master *m)
{
	if (load(m, &m->opt, true)) {
		warn_fixed(m);
		if (generation_start(m, &m->opt))
			return;
	}
	reload_rejected(m, m->last_error);
	/* Only the image that made the segment can supervise on it (generation.c). */
	if (!m->current->seg)
		handover_back(m);
	reload_pending(m);
}

/* origin_fd is the way back, so it is closed when nothing can go wrong any more. An image that
 * was called back reads a state that still says begin_next: fallback is asked first. */
static int boot_resume(struct master *m)
{
	if (!handover_read(m))
		handover_give_up(m, "the state makes no sense");
	if (!supervise_signals(m) || !handover_adopt(m))
		handover_give_up(m, "cannot watch the children");
	if (m->args.origin_fd >= 0)
		close(m->args.origin_fd);
	close(m->args.resume_fd);
	reload_options(m);
	salt_open(m, true);
	admin_resume(m);
	log_info("image resumed generation=%u", m->current->number);
	if (m->args.fallback)
		reload_rejected(m, "the new binary could not take over");
	else if (m->begin_next)
		begin_next(m);
	reload_pending(m);
	return supervise_run(m);
}

/* Limits survive an exec, so they are raised once. What is closed and wiped below is at the very
 * end only: an exec does not come back. */
int boot_run(struct args *args, int argc, char **argv)
{
	struct master *m = calloc(1, sizeof(*m));
	int code = 1;

	log_setup("master", LOG_LEVEL_INFO);
	/* Whoever started us may ignore it, which an exec keeps: children would then be reaped by
	 * nobody, and there would be no exit to see. */
	signal(SIGCHLD, SIG_DFL);
	if (argc < 1 || !m || !prepare(m, args, argv[0])) {
		log_err("cannot start error=%s", strerror(errno));
	} else if (args->resume_fd >= 0) {
		code = boot_resume(m);
	} else {
		raise_limits();
		code = boot_first(m);
	}
	if (m) {
		admin_close(m);
		listen_remove(&m->listeners);
		salt_close(m);
		notify_close(&m->notify);
		explicit_bzero(&m->opt, sizeof(m->opt));
		free(m->found_binary);
	}
	free(m);
	return code;
}
