/*
 * Opens the listening sockets once, at the first start; afterwards they only
 * move from image to image and are never closed, so no reload refuses anybody.
 */
#include "master/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/base/log.h"
#include "shm/options.h"

enum {
	LISTEN_FDS_START = 3, /* sd_listen_fds(3) */
	PASSED_MAX = 64
};

/* The address a socket is really bound to: the port was perhaps 0. */
static void describe(struct listener *l)
{
	struct address a = {.len = sizeof(a.sa)};

	if (getsockname(l->fd, (struct sockaddr *)&a.sa, &a.len) != 0)
		a.sa.ss_family = AF_UNSPEC;
	address_text(&a, l->address);
	log_info("listening addr=%s", l->address);
}

/* A socket file that nobody serves stays behind after kill -9. Only ECONNREFUSED says so: a
 * server whose queue is full gives EAGAIN, and must not lose its address. */
static void remove_stale(const struct address *a)
{
	const char *path = address_path(a);
	struct stat st;
	int fd;

	if (!path || lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)&a->sa, a->len) != 0 && errno == ECONNREFUSED)
		unlink(path);
	close(fd);
}

static void set_options(int fd, const struct address *a)
{
	const int on = 1, off = 0;

	if (a->sa.ss_family == AF_UNIX)
		return;
	/* Or a restart would have to wait for connections of the last run (TIME_WAIT). */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* Inherited by accepted sockets; our answers are one write each. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (a->sa.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
		/* `*` and [::] serve both families, whatever net.ipv6.bindv6only says; of any
		 * other address a v4 one of the same port must be free to be bound, too. */
		bool any = IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, any ? &off : &on, sizeof(on));
	}
}

int listen_bind(const struct address *a, int backlog)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error;

	if (fd < 0)
		return -errno;
	remove_stale(a);
	set_options(fd, a);
	if (bind(fd, (const struct sockaddr *)&a->sa, a->len) == 0 && listen(fd, backlog) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

static bool open_one(struct listeners *l, struct str word, int backlog)
{
	struct listener *one = &l->one[l->count];
	struct address a;
	mode_t mask;

	if (l->count == LISTEN_MAX || !address_parse(word, &a)) {
		log_err("cannot listen addr=%.*s error=bad-address", STR_ARG(word));
		return false;
	}
	/* Who may connect is a matter of the folder; the socket itself is open. */
	mask = umask(0);
	one->fd = listen_bind(&a, backlog);
	umask(mask);
	if (one->fd < 0) {
		log_err("cannot listen addr=%.*s error=\"%s\"", STR_ARG(word), strerror(-one->fd));
		return false;
	}
	one->ours = address_path(&a) != NULL;
	l->count++;
	describe(one);
	return true;
}

static bool env_number(const char *name, uint64_t *out)
{
	const char *text = getenv(name);

	return text && str_u64(str_of(text), out);
}

/* How many descriptors the service manager passed to this very process. The number comes from
 * the environment, hence a bound. */
static int passed_count(void)
{
	uint64_t pid = 0, count = 0;
	bool ours = env_number("LISTEN_PID", &pid) && pid == (uint64_t)getpid() &&
		    env_number("LISTEN_FDS", &count);

	/* Children must not believe they are meant. */
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	return ours ? (int)(count > PASSED_MAX ? PASSED_MAX : count) : 0;
}

/* The next of the names, which are separated by colons. */
static struct str next_name(struct str *names)
{
	long colon = str_find(*names, ':');
	struct str name = {names->p, colon < 0 ? names->n : (size_t)colon};
	size_t taken = name.n + (colon >= 0);

	*names = (struct str){names->p + taken, names->n - taken};
	return name;
}

/* As it is passed it may block, and every exec would inherit it. */
static bool take_passed(struct listeners *l, int fd)
{
	struct listener *one = &l->one[l->count];
	int listening = 0;
	socklen_t len = sizeof(listening);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening) {
		log_err("passed descriptor is not a listening socket fd=%d", fd);
		return false;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, O_NONBLOCK | fcntl(fd, F_GETFL));
	one->fd = fd;
	one->ours = false;
	l->count++;
	describe(one);
	return true;
}

/* Sockets, and perhaps what the manager kept for us over a restart. */
static bool take_all_passed(struct listeners *l, const char *kept, int *kept_fd)
{
	const char *text = getenv("LISTEN_FDNAMES");
	struct str names = str_of(text ? text : "");
	int passed = passed_count(), fd = LISTEN_FDS_START;

	for (; fd < LISTEN_FDS_START + passed; fd++) {
		if (str_eq(next_name(&names), str_of(kept)))
			*kept_fd = fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fd : -1;
		else if (l->count == LISTEN_MAX)
			log_warn("more sockets passed than used fd=%d used=%d", fd, LISTEN_MAX);
		else if (!take_passed(l, fd))
			return false;
	}
	/* Not before, for the names stand in it. */
	unsetenv("LISTEN_FDNAMES");
	return true;
}

/* Sockets that were passed win over the option (options.def). False may leave some open: the
 * process ends then (boot.c). */
bool listen_open(struct listeners *l, const struct options *o, const char *kept, int *kept_fd)
{
	struct str list = str_of(o->listen), word;

	l->count = 0;
	if (!take_all_passed(l, kept, kept_fd))
		return false;
	if (l->count > 0)
		return true;
	while (address_next(&list, &word))
		if (!open_one(l, word, (int)o->backlog))
			return false;
	if (l->count == 0)
		log_err("nothing to listen on");
	return l->count > 0;
}

void listen_remove(struct listeners *l)
{
	for (int i = 0; i < l->count; i++)
		if (l->one[i].ours)
			unlink(l->one[i].address + strlen("unix:"));
}

/* Groups first, for that takes root; all three ids, so that there is no way back. */
bool listen_drop_privileges(const struct options *o)
{
	const struct passwd *pw;

	if (geteuid() != 0 || o->user[0] == '\0' || strcmp(o->user, "root") == 0)
		return true;
	pw = getpwnam(o->user);
	if (!pw) {
		log_line(o->dev ? LOG_LEVEL_WARN : LOG_LEVEL_ERR,
			"user does not exist, cannot leave root user=%s", o->user);
		return o->dev;
	}
	if (setgroups(0, NULL) == 0 && setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) == 0 &&
		setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) == 0)
		return true;
	log_err("cannot become user=%s error=\"%s\"", o->user, strerror(errno));
	return false;
}
