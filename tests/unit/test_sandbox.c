/* The sandbox: what kills, what fails, what a worker still may do. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/options.h"
#include "worker/sandbox.h"

static struct options opt;

/* Runs fn inside the sandbox; the wait status, or -1 where there is no sandbox. */
static int inside(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		close(2);
		if (!sandbox_enter(&opt))
			_exit(99);
		_exit(fn());
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 99 ? -1 : status;
}

static void expect_killed(int (*fn)(void))
{
	int status = inside(fn);

	cr_assert(status == -1 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS), "status %x",
		status);
}

static void expect_code(int (*fn)(void), int code)
{
	int status = inside(fn);

	cr_assert(status == -1 || (WIFEXITED(status) && WEXITSTATUS(status) == code), "status %x",
		status);
}

static int do_exec(void)
{
	char name[] = "true", *argv[] = {name, NULL};

	execv("/bin/true", argv);
	return 1;
}

static int do_fork(void)
{
	return fork() == 0 ? 0 : 1;
}

static int do_ptrace(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	return 1;
}

Test(sandbox, forbidden_calls_kill)
{
	expect_killed(do_exec);
	expect_killed(do_fork);
	expect_killed(do_ptrace);
}

static int do_abort(void)
{
	abort();
}

Test(sandbox, abort_still_works)
{
	int status = inside(do_abort);

	cr_assert(status == -1 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
}

static int do_kill(void)
{
	return kill(getppid(), 0) < 0 && errno == EPERM ? 7 : 1;
}

static int do_packet_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EAFNOSUPPORT ? 7 : 1;
}

static int do_write_exec(void)
{
	void *p = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED && errno == EPERM ? 7 : 1;
}

Test(sandbox, other_calls_fail)
{
	expect_code(do_kill, 7);
	expect_code(do_packet_socket, 7);
	expect_code(do_write_exec, 7);
}

static int do_write_file(void)
{
	int fd = open("/tmp/pugd_sandbox_test", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EACCES ? 7 : 1;
	unlink("/tmp/pugd_sandbox_test");
	return 8; /* a kernel without Landlock */
}

Test(sandbox, files_cannot_be_made)
{
	int status = inside(do_write_file);

	cr_assert(status == -1 || WEXITSTATUS(status) == 7 || WEXITSTATUS(status) == 8);
}

static void *thread(void *arg)
{
	return malloc(*(size_t *)arg);
}

static int do_work(void)
{
	struct addrinfo *ai = NULL, hints = {.ai_socktype = SOCK_STREAM};
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	size_t size = 1 << 20;
	pthread_t th;
	void *p = NULL;

	if (fd < 0 || socket(AF_UNIX, SOCK_STREAM, 0) < 0 || socket(AF_INET6, SOCK_STREAM, 0) < 0)
		return 1;
	if (pthread_create(&th, NULL, thread, &size) != 0 || pthread_join(th, &p) != 0 || !p)
		return 2;
	if (getaddrinfo("localhost", "5432", &hints, &ai) != 0)
		return 3;
	free(p);
	freeaddrinfo(ai);
	return 7;
}

Test(sandbox, a_worker_can_work)
{
	expect_code(do_work, 7);
}
