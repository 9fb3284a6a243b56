/*
 * `pugd dev`: everything a developer needs in one command. Starts a private
 * PostgreSQL, migrates, seeds a demo org, starts the ordinary master with a few
 * settings changed (D59), and ends all of it on ^C. It is a parent of the real
 * thing, not another kind of server: what runs below it is `pugd run`.
 */
#include "master/cli/dev.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "master/cli/cli.h"
#include "shm/base/hash.h"
#include "shm/base/str.h"

/* child_args() and run_step() have some 30 words of their own. */
enum { MAX_OVERRIDES = 64, MAX_ARGS = MAX_OVERRIDES * 2 + 48 };

bool dev_fail(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("pugd dev: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return false;
}

/* In this order: after setuid() the rest is not allowed any more. The current folder may be one
 * that this user cannot enter (D88). */
static void become_pg(const struct dev *d)
{
	if (setgroups(0, NULL) != 0 || setgid(d->pg_gid) != 0 || setuid(d->pg_uid) != 0)
		_exit(126);
	if (chdir("/") != 0)
		_exit(126);
}

pid_t dev_spawn(struct dev *d, const char *path, char *const argv[], bool as_pg)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setpgid(0, 0);
	if (as_pg && d->pg_uid != 0)
		become_pg(d);
	/* After setuid(), which would clear it: nothing outlives a killed `pugd dev`. */
	(void)prctl(PR_SET_PDEATHSIG, as_pg ? SIGINT : SIGTERM);
	execv(path, argv);
	_exit(127);
}

/* Signals are blocked while children work, so ^C is asked for here. */
bool dev_wait(pid_t pid)
{
	int status = 0;
	bool asked = false;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	if (pid <= 0)
		return false;
	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);
		if (got == pid)
			return WIFEXITED(status) && WEXITSTATUS(status) == 0 && !asked;
		if (got < 0 && errno != EINTR)
			return false;
		int sig = sigtimedwait(&set, NULL, &(struct timespec){0, 100000000});
		/* It may succeed all the same; that must not lose the ^C. */
		asked = asked || sig == SIGINT || sig == SIGTERM;
		if (sig == SIGINT || sig == SIGTERM)
			(void)kill(pid, SIGTERM);
	}
}

/* ::1 on the same port, because to some clients "localhost" means only that. */
static int open_listener6(int port)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6,
		.sin6_port = htons((uint16_t)port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 4096) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

/* The master gets the sockets by activation, so that --port 0 is known at once. */
static bool open_listener(struct dev *d)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)d->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	d->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)setsockopt(d->listen_fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (d->listen_fd < 0 || bind(d->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
		listen(d->listen_fd, 4096) != 0 ||
		getsockname(d->listen_fd, (struct sockaddr *)&sa, &len) != 0)
		return dev_fail("cannot listen on 127.0.0.1:%d: %s", d->port, strerror(errno));
	d->port = ntohs(sa.sin_port);
	snprintf(d->url, sizeof(d->url), "http://127.0.0.1:%d", d->port);
	d->listen6_fd = open_listener6(d->port);
	return true;
}

/* An abstract name leaves no file behind; a random one keeps two `pugd dev` apart. */
static bool open_notify(struct dev *d)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	uint8_t salt[8];
	char hex[17];
	hash_random(salt, sizeof(salt));
	str_hex(salt, sizeof(salt), hex);
	snprintf(d->notify_path, sizeof(d->notify_path), "@pugd-dev-%s", hex);
	memcpy(sa.sun_path, d->notify_path, strlen(d->notify_path));
	sa.sun_path[0] = '\0';
	socklen_t len =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(d->notify_path));
	d->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->notify_fd < 0 || bind(d->notify_fd, (struct sockaddr *)&sa, len) != 0)
		return dev_fail("cannot open the notify socket: %s", strerror(errno));
	return true;
}

/* Random bytes that all signing keys come from; kept, so that a restart keeps sessions. 128
 * digits are OPTIONS_SECRET_MAX, the most that is read; a file that others may read is refused
 * (config_check.c), hence 0600. */
static bool write_credential(const struct dev *d)
{
	char path[PATH_MAX + 16], hex[129];
	uint8_t bytes[64];
	snprintf(path, sizeof(path), "%s/credential", d->data);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return true;
	hash_random(bytes, sizeof(bytes));
	str_hex(bytes, sizeof(bytes), hex);
	bool ok = fd >= 0 && write(fd, hex, 128) == 128;
	if (fd >= 0)
		(void)close(fd);
	return ok || dev_fail("cannot write %s: %s", path, strerror(errno));
}

/* One `pugd dev` for each folder; the lock goes with the process. So fd is never closed, and no
 * child keeps it over its exec. */
static bool lock_folder(const struct dev *d)
{
	char path[PATH_MAX + 16];
	snprintf(path, sizeof(path), "%s/lock", d->data);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0)
		return dev_fail("%s is in use by another pugd dev", d->data);
	snprintf(path, sizeof(path), "%s/dev.json", d->data);
	(void)unlink(path); /* it exists only while we serve */
	return true;
}

static bool make_folders(struct dev *d, const char *data)
{
	char mail[PATH_MAX + 8];
	if (mkdir(data, 0700) != 0 && errno != EEXIST)
		return dev_fail("cannot make %s: %s", data, strerror(errno));
	if (!realpath(data, d->data))
		return dev_fail("%s: %s", data, strerror(errno));
	snprintf(mail, sizeof(mail), "%s/mail", d->data);
	if (mkdir(mail, 0700) != 0 && errno != EEXIST)
		return dev_fail("cannot make %s: %s", mail, strerror(errno));
	ssize_t n = readlink("/proc/self/exe", d->exe, sizeof(d->exe) - 1);
	if (n <= 0)
		return dev_fail("cannot find this binary: %s", strerror(errno));
	d->exe[n] = '\0';
	return lock_folder(d);
}

/* Copies, because callers build their texts on the stack and the words are read by exec. */
struct words {
	char *v[MAX_ARGS];
	int n;
	char text[MAX_ARGS][PATH_MAX + 64];
	int used;
};

static void arg(struct words *a, const char *value)
{
	if (a->n + 1 < MAX_ARGS) {
		char *copy = a->text[a->used++];
		if ((size_t)snprintf(copy, sizeof(a->text[0]), "%s", value) < sizeof(a->text[0]))
			a->v[a->n++] = copy;
		a->v[a->n] = NULL;
	}
}

static void setting(struct words *a, const char *key, const char *value, const char *tail)
{
	char text[PATH_MAX + 64];
	if ((size_t)snprintf(text, sizeof(text), "%s=%s%s", key, value, tail) >= sizeof(text))
		return; /* a path of PATH_MAX: the child will complain about the setting */
	arg(a, "-o");
	arg(a, text);
}

/* D59: what differs from production. It wins over --config; the user's -o come last and win. */
static struct words *child_args(const struct dev *d, const char *command)
{
	struct words *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	arg(a, d->exe);
	arg(a, command);
	if (d->config) {
		arg(a, "--config");
		arg(a, d->config);
	} else {
		arg(a, "--config");
		/* Else the default file would count, which is an installed server's (args.c). */
		arg(a, "/dev/null");
	}
	setting(a, "database_url", d->database_url, "");
	setting(a, "credential_file", d->data, "/credential");
	setting(a, "admin_listen", d->admin, "");
	setting(a, "mail_dir", d->data, "/mail");
	setting(a, "dev", "yes", "");
	setting(a, "demo_sign_in", "yes", "");
	setting(a, "mail_from", "Pug <pug@localhost>", "");
	setting(a, "user", "", "");
	setting(a, "limit_scale", "100", "");
	setting(a, "trusted_proxies", "127.0.0.0/8 ::1", "");
	setting(a, "cors_origins", "http://localhost:* http://127.0.0.1:*", "");
	for (int i = 0; i < d->n_overrides; i++) {
		arg(a, "-o");
		arg(a, d->overrides[i]);
	}
	return a;
}

/* Only seed has something extra; it wants the folder, too, where it leaves demo.conf. */
static bool run_step(struct dev *d, const char *command, const char *extra, const char *value)
{
	struct words *a = child_args(d, command);
	if (!a)
		return dev_fail("out of memory");
	if (extra) {
		arg(a, extra);
		arg(a, value);
		arg(a, "--data");
		arg(a, d->data);
	}
	bool ok = dev_wait(dev_spawn(d, d->exe, a->v, false));
	free(a);
	return ok || dev_fail("`pugd %s` failed; see above", command);
}

/* Not by dev_spawn(): LISTEN_PID must name the process that execs, which only that one knows.
 * Sockets are expected from 3 on (LISTEN_FDS_START of listen.c), and dup2() leaves them open. */
static bool start_master(struct dev *d)
{
	struct words *a = child_args(d, "run");
	if (!a)
		return dev_fail("out of memory");
	fflush(NULL);
	d->master = fork();
	if (d->master == 0) {
		sigset_t none;
		char pid[16];
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		(void)setpgid(0, 0);
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		/* Out of the way first: either may be where the other has to go. */
		int v4 = fcntl(d->listen_fd, F_DUPFD_CLOEXEC, 10);
		int v6 = d->listen6_fd < 0 ? -1 : fcntl(d->listen6_fd, F_DUPFD_CLOEXEC, 10);
		(void)dup2(v4, 3);
		if (v6 >= 0)
			(void)dup2(v6, 4);
		(void)setenv("LISTEN_FDS", v6 >= 0 ? "2" : "1", 1);
		(void)setenv("LISTEN_PID", pid, 1);
		(void)setenv("NOTIFY_SOCKET", d->notify_path, 1);
		execv(d->exe, a->v);
		_exit(127);
	}
	free(a);
	return d->master > 0 || dev_fail("fork: %s", strerror(errno));
}

#define USAGE \
	"usage: pugd dev [--data DIR] [--port N] [--seed EVENTS] [--config FILE] [-o KEY=VALUE]..."

static bool parse_number(const char *text, long max, long *out)
{
	uint64_t n;
	if (!text || !str_u64(str_of(text), &n) || n > (uint64_t)max)
		return false;
	*out = (long)n;
	return true;
}

static bool parse_args(struct dev *d, int argc, char **argv, const char **data)
{
	static char *overrides[MAX_OVERRIDES];
	long port = 8080;
	d->seed = 50000;
	d->overrides = overrides;
	for (int i = 0; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (!value)
			return dev_fail("%s needs a value", argv[i]);
		if (strcmp(argv[i], "--data") == 0)
			*data = value;
		else if (strcmp(argv[i], "--config") == 0)
			d->config = value;
		else if (strcmp(argv[i], "--port") == 0 && parse_number(value, 65535, &port))
			;
		else if (strcmp(argv[i], "--seed") == 0 &&
			 parse_number(value, 1000000000, &d->seed))
			;
		else if (strcmp(argv[i], "-o") == 0 && d->n_overrides < MAX_OVERRIDES)
			overrides[d->n_overrides++] = argv[i + 1];
		else
			return dev_fail("bad option %s %s; " USAGE, argv[i], value);
	}
	d->port = (int)port;
	if (!d->config)
		d->config = getenv("PUGD_CONFIG");
	return true;
}

/* true while the service should go on. One SIGCHLD may stand for several deaths. */
static bool on_child(struct dev *d, bool stopping)
{
	int status;
	pid_t pid;
	bool go_on = true;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == d->master) {
			if (!stopping)
				(void)dev_fail("the master ended (status %d)", status);
			d->master = 0;
			go_on = false;
		} else if (pid == d->postgres) {
			d->postgres = 0;
			if (!stopping) {
				(void)dev_fail("PostgreSQL ended; starting it again");
				dev_pg_again(d);
			}
		}
	}
	return go_on;
}

static bool on_notify(struct dev *d)
{
	char text[1024];
	ssize_t n = recv(d->notify_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return false;
	text[n] = '\0';
	return strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1") != NULL;
}

/* Until ^C, SIGTERM or the end of the master. Returns the exit code. READY=1 comes after each
 * reload, too, but is told once. A second ^C is passed on like the first: the master then does
 * not wait for calls. */
static int serve(struct dev *d, int signals)
{
	struct pollfd p[2] = {
		{.fd = signals, .events = POLLIN}, {.fd = d->notify_fd, .events = POLLIN}};
	bool told = false, stopping = false;
	/* dev_wait() may have eaten the SIGCHLD of another child. */
	if (!on_child(d, false))
		return 1;
	for (;;) {
		struct signalfd_siginfo si;
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return 1;
		if (on_notify(d) && !told)
			told = dev_report(d);
		while (read(signals, &si, sizeof(si)) == sizeof(si)) {
			if (si.ssi_signo == SIGHUP && d->master > 0)
				(void)kill(d->master, SIGHUP);
			if ((si.ssi_signo == SIGINT || si.ssi_signo == SIGTERM) && d->master > 0) {
				stopping = true;
				(void)kill(d->master, SIGTERM);
			}
			if (si.ssi_signo == SIGCHLD && !on_child(d, stopping))
				return stopping ? 0 : 1;
		}
	}
}

static bool bring_up(struct dev *d)
{
	char seed[24];
	snprintf(seed, sizeof(seed), "%ld", d->seed);
	const char *folder = dev_plain_folder(d) ? d->data : d->sockets;
	if ((size_t)snprintf(d->admin, sizeof(d->admin), "unix:%s/admin.sock", folder) >=
		sizeof(d->admin))
		return dev_fail("path too long: %s", folder);
	return dev_pg_start(d) && run_step(d, "migrate", NULL, NULL) &&
	       run_step(d, "seed", "--events", seed) && start_master(d);
}

int cli_dev(int argc, char **argv)
{
	static struct dev d = {.listen_fd = -1, .listen6_fd = -1, .notify_fd = -1};
	const char *data = ".pug";
	sigset_t set;
	if (argc > 0 &&
		(strcmp(argv[argc - 1], "--help") == 0 || strcmp(argv[argc - 1], "-h") == 0))
		return puts(USAGE) < 0 ? 1 : 0;
	if (!parse_args(&d, argc, argv, &data) || !make_folders(&d, data))
		return 2;
	/* Children inherit the block, dev_spawn() lifts it: no signal is lost before serve(). */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	/* The cluster first: write_credential() marks the folder as in use. */
	if (signals < 0 || !open_listener(&d) || !open_notify(&d) || !dev_pg_prepare(&d) ||
		!write_credential(&d))
		return 1;
	int code = 1;
	if (bring_up(&d))
		code = serve(&d, signals);
	if (d.master > 0) {
		(void)kill(d.master, SIGTERM);
		(void)dev_wait(d.master);
	}
	dev_pg_stop(&d);
	char path[PATH_MAX + 16];
	snprintf(path, sizeof(path), "%s/dev.json", d.data);
	(void)unlink(path);
	return code;
}
