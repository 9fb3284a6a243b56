/* The service manager's datagrams. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "master/notify.h"
#include "shm/base/clock.h"

/* A service manager on an abstract socket. */
static int manager(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), n;
	char name[64];

	n = snprintf(name, sizeof(name), "@pugd-test-%d", (int)getpid());
	memcpy(un.sun_path + 1, name + 1, (size_t)n - 1);
	cr_assert_eq(bind(fd, (struct sockaddr *)&un,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n)),
		0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static const char *received(int fd)
{
	static char text[2048];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

Test(notify, messages)
{
	int fd = manager();
	struct notify n;

	unsetenv("WATCHDOG_USEC");
	notify_open(&n);
	notify_send(&n, "READY=1\nSTATUS=generation %d", 7);
	cr_assert_str_eq(received(fd), "READY=1\nSTATUS=generation 7");
	notify_reloading(&n);
	cr_assert_eq(strncmp(received(fd), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
	cr_assert_eq(notify_tick(&n, clock_mono_ms()), UINT64_MAX);
	cr_assert_str_eq(received(fd), "");
	notify_close(&n);
	notify_send(&n, "READY=1");
}

Test(notify, a_descriptor_to_keep)
{
	int fd = manager(), got = -1, ends[2];
	char text[64] = "", control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {text, sizeof(text) - 1};
	struct msghdr msg = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct notify n;

	cr_assert_eq(pipe(ends), 0);
	notify_open(&n);
	notify_store(&n, "name", ends[1]);
	cr_assert_gt(recvmsg(fd, &msg, 0), 0);
	cr_assert_str_eq(text, "FDSTORE=1\nFDNAME=name");
	cr_assert_not_null(CMSG_FIRSTHDR(&msg));
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(got));
	cr_assert_eq(write(got, "x", 1), 1);
	cr_assert_eq(read(ends[0], text, 1), 1, "the very pipe");
	notify_close(&n);
	notify_store(&n, "name", ends[1]);
}

Test(notify, watchdog_at_half_its_time)
{
	int fd = manager();
	struct notify n;

	setenv("WATCHDOG_USEC", "30000000", 1);
	unsetenv("WATCHDOG_PID");
	notify_open(&n);
	cr_assert_eq(notify_tick(&n, 1000), 16000);
	cr_assert_str_eq(received(fd), "WATCHDOG=1");
	cr_assert_eq(notify_tick(&n, 15999), 16000);
	cr_assert_str_eq(received(fd), "");
	cr_assert_eq(notify_tick(&n, 16000), 31000);
	cr_assert_str_eq(received(fd), "WATCHDOG=1");
}

Test(notify, watchdog_of_another_process)
{
	struct notify n;

	manager();
	setenv("WATCHDOG_USEC", "30000000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	notify_open(&n);
	cr_assert_eq(notify_tick(&n, 1000), UINT64_MAX);
}

Test(notify, nobody_listens)
{
	static const char *const paths[] = {"", "relative", "@", "/nonexistent/socket"};
	struct notify n;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		setenv("NOTIFY_SOCKET", paths[i], 1);
		notify_open(&n);
		cr_expect_eq(n.fd, -1, "%s", paths[i]);
		notify_send(&n, "READY=1");
	}
	unsetenv("NOTIFY_SOCKET");
	notify_open(&n);
	cr_assert_eq(n.fd, -1);
}
