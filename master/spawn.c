/*
 * fork + exec with nothing inherited by accident: a fresh address layout per
 * child, an environment from a list, file descriptors by number, the rest
 * closed. The map is in shm/message.h.
 */
#include "master/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "master/master.h"
#include "shm/segment.h"

/* Descriptors are moved up here before they are put in their places, so that a
 * target number is never the source of a later one. */
enum { FD_HIGH = 200, FDS_MAX = FD_LISTEN + LISTEN_MAX + 1, ENV_MAX = 128 };
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4U
#endif

/* Prefixes. Not among them: NOTIFY_SOCKET and WATCHDOG_*, for only the master speaks to
 * systemd. */
static const char *const env_kept[] = {
	"PATH=",
	"HOME=",
	"LANG=",
	"LC_ALL=",
	"TZ=",
	"USER=",
	"LOGNAME=",
	"PG",
	"SSL_",
	"ASAN_OPTIONS=",
	"UBSAN_OPTIONS=",
	"LSAN_OPTIONS=",
	"TSAN_OPTIONS=",
	"CREDENTIALS_DIRECTORY=",
	"JOURNAL_STREAM=",
	"LLVM_PROFILE_FILE=",
	"PUGD_TEST_",
};

static bool env_is_kept(const char *assignment)
{
	for (size_t i = 0; i < sizeof(env_kept) / sizeof(env_kept[0]); i++)
		if (strncmp(assignment, env_kept[i], strlen(env_kept[i])) == 0)
			return true;
	return false;
}

struct child_env {
	char generation[48], listen[48], visitors[48];
	const char *list[ENV_MAX + 4];
};

/* visitors: the number of that descriptor, or less than 0. */
static void build_env(struct child_env *env, uint32_t generation, int listen_count, int visitors)
{
	size_t n = 0;

	for (char **e = environ; *e && n < ENV_MAX; e++)
		if (env_is_kept(*e))
			env->list[n++] = *e;
	snprintf(env->generation, sizeof(env->generation), "PUGD_GENERATION=%u", generation);
	snprintf(env->listen, sizeof(env->listen), "PUGD_LISTEN_COUNT=%d", listen_count);
	env->list[n++] = env->generation;
	env->list[n++] = env->listen;
	snprintf(env->visitors, sizeof(env->visitors), "PUGD_VISITORS_FD=%d", visitors);
	if (visitors >= 0)
		env->list[n++] = env->visitors;
	env->list[n] = NULL;
}

/* Puts fds[i] at number FD_CONTROL + i, without CLOEXEC. */
static bool place_fds(const int *fds, int n)
{
	int high[FDS_MAX];

	for (int i = 0; i < n; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FD_HIGH);
		if (high[i] < 0)
			return false;
	}
	for (int i = 0; i < n; i++)
		if (dup2(high[i], FD_CONTROL + i) < 0)
			return false;
	return true;
}

/* Signals as a fresh program expects them; input from nowhere; output to the log. Ignored
 * signals and the mask survive exec, and the master has some of both. */
static void reset_process(int out_fd)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(out_fd, STDOUT_FILENO);
	if (out_fd != STDERR_FILENO)
		dup2(out_fd, STDERR_FILENO);
}

/* A child that outlived its master would serve an address nobody supervises. A master that died
 * before the prctl() is found by getppid(). */
static void die_with(pid_t master)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != master)
		_exit(EXIT_DRAINED);
}

/* The pid is stored here because the master does so only when its fork() returns, and it must
 * stand there before the child runs (shm/message.h). */
static _Noreturn void run_child(struct master *m, struct child *c, pid_t master, int control)
{
	int fds[FDS_MAX];
	int n = 0, visitors = -1, listen_count = c->keeper ? 0 : m->listeners.count;
	struct slot *slot = segment_slot(c->gen->seg, c->slot_no);
	struct child_env env;
	char slot_text[16], name[] = "pugd", worker[] = "--worker", keeper[] = "--keeper";
	char *argv[] = {name, c->keeper ? keeper : worker, slot_text, NULL};
	int exe = fcntl(c->gen->exe_fd, F_DUPFD_CLOEXEC, FD_HIGH);

	die_with(master);
	atomic_store(&slot->pid, getpid());
	snprintf(slot_text, sizeof(slot_text), "%d", c->slot_no);
	fds[n++] = control;
	fds[n++] = c->gen->segment_fd;
	fds[n++] = c->gen->options_fd;
	for (int i = 0; i < listen_count; i++)
		fds[n++] = m->listeners.one[i].fd;
	if (!c->keeper && m->salt.fd >= 0) {
		visitors = FD_CONTROL + n;
		fds[n++] = m->salt.fd;
	}
	build_env(&env, c->gen->number, listen_count, visitors);
	reset_process(STDERR_FILENO);
	if (exe < 0 || !place_fds(fds, n))
		_exit(127);
	/* Whatever else is open goes, even what a library forgot to mark. At the exec, which
	 * still needs exe. A kernel before 5.11 refuses; then only the forgotten stay. */
	syscall(SYS_close_range, (unsigned)(FD_CONTROL + n), ~0U, CLOSE_RANGE_CLOEXEC);
	fexecve(exe, argv, (char *const *)(const void *)env.list);
	dprintf(STDERR_FILENO, "pugd: cannot start a worker: %s\n", strerror(errno));
	_exit(127);
}

/* The master has no threads, so between fork and exec a child may call anything. */
pid_t spawn_child(struct master *m, struct child *c, int *control_fd)
{
	pid_t master = getpid(), pid;
	int pair[2], error;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		run_child(m, c, master, pair[1]);
	error = errno;
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -error;
	}
	*control_fd = pair[0];
	return pid;
}

pid_t spawn_helper(const char *path, int exe_fd, char *const argv[], int out_fd)
{
	pid_t master = getpid(), pid = fork();

	if (pid != 0)
		return pid < 0 ? -errno : pid;
	die_with(master);
	reset_process(out_fd);
	if (path)
		execv(path, argv);
	else
		fexecve(exe_fd, argv, environ);
	dprintf(STDERR_FILENO, "%s: %s\n", path ? path : "pugd", strerror(errno));
	_exit(127);
}
