/*
 * sd_notify(3) without its library: the protocol is one datagram. A missing or
 * deaf service manager never stops the server: errors are ignored.
 */
#include "master/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/str.h"

/* Half of what the manager tolerates, and only if it means this process. */
static uint64_t watchdog_interval(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t n;

	if (!usec || !str_u64(str_of(usec), &n))
		return 0;
	if (pid) {
		uint64_t wanted;

		if (!str_u64(str_of(pid), &wanted) || wanted != (uint64_t)getpid())
			return 0;
	}
	return n / 2000;
}

/* The variables stay: the next image is the same process and opens the socket again. Workers do
 * not get them (spawn.c). The length has no NUL, which would be part of an abstract name. */
void notify_open(struct notify *n)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;

	*n = (struct notify){.fd = -1, .watchdog_ms = watchdog_interval()};
	if (len < 2 || len >= sizeof(un.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(un.sun_path, path, len);
	if (path[0] == '@')
		un.sun_path[0] = '\0';
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n->fd >= 0 && connect(n->fd, (struct sockaddr *)&un,
				  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) != 0)
		notify_close(n);
}

void notify_close(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

void notify_send(struct notify *n, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int len;

	if (n->fd < 0)
		return;
	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (len > 0 && (size_t)len < sizeof(text))
		(void)!send(n->fd, text, (size_t)len, MSG_NOSIGNAL);
}

/* The union aligns the bytes for struct cmsghdr. */
void notify_store(struct notify *n, const char *name, int fd)
{
	char text[64];
	struct iovec part = {text, 0};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	if (n->fd < 0)
		return;
	part.iov_len = (size_t)snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	(void)!sendmsg(n->fd, &msg, MSG_NOSIGNAL);
}

/* Type=notify-reload wants both, and the READY=1 that follows (systemd/README.md). */
void notify_reloading(struct notify *n)
{
	notify_send(n, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_mono_ns() / 1000);
}

uint64_t notify_tick(struct notify *n, uint64_t now_ms)
{
	if (n->fd < 0 || n->watchdog_ms == 0)
		return UINT64_MAX;
	if (now_ms >= n->next_ms) {
		notify_send(n, "WATCHDOG=1");
		n->next_ms = now_ms + n->watchdog_ms;
	}
	return n->next_ms;
}
