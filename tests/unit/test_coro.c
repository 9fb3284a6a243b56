/* Coroutines: nesting, reuse, many at once, their depth, the guard page. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/coro.h"

TestSuite(coro, .timeout = 30);

struct thing {
	struct coro *co;
	int steps, want;
	struct thing *inner;
	double sum;
};

static void steps(void *arg)
{
	struct thing *t = arg;
	volatile double local = 1.5;

	t->co = coro_self();
	while (t->steps < t->want) {
		t->steps++;
		local += 1;
		coro_park();
		cr_assert_eq(coro_self(), t->co);
	}
	t->sum = local;
}

Test(coro, parks_and_continues)
{
	struct thing t = {.want = 3};
	int i;

	cr_assert_null(coro_self());
	cr_assert(coro_start(steps, &t));
	for (i = 1; i <= 3; i++) {
		cr_assert_eq(t.steps, i);
		cr_assert_null(coro_self());
		cr_assert_eq(coro_count(), 1);
		coro_resume(t.co);
	}
	cr_assert_eq(coro_count(), 0);
	cr_assert_eq(t.sum, 4.5);
	coro_teardown();
}

static void outer(void *arg)
{
	struct thing *t = arg;

	t->co = coro_self();
	cr_assert(coro_start(steps, t->inner));
	cr_assert_eq(coro_self(), t->co);
	while (t->inner->steps < t->inner->want) {
		coro_resume(t->inner->co);
		cr_assert_eq(coro_self(), t->co);
	}
	coro_resume(t->inner->co);
	t->steps = 1;
}

Test(coro, may_be_nested)
{
	struct thing in = {.want = 5}, out = {.inner = &in};

	cr_assert(coro_start(outer, &out));
	cr_assert_eq(out.steps, 1);
	cr_assert_eq(in.sum, 6.5);
	cr_assert_eq(coro_count(), 0);
	coro_teardown();
}

static void data(void *arg)
{
	cr_assert_null(coro_data());
	coro_set_data(arg);
	coro_park();
	cr_assert_eq(coro_data(), arg);
}

static void remember(void *arg)
{
	*(struct coro **)arg = coro_self();
	data(arg);
}

Test(coro, data_belongs_to_one)
{
	struct coro *a, *b;

	cr_assert(coro_start(remember, &a));
	cr_assert(coro_start(remember, &b));
	cr_assert_null(coro_data());
	coro_resume(a);
	coro_resume(b);
	cr_assert(coro_start(remember, &a));
	coro_resume(a);
	coro_teardown();
}

Test(coro, thousands_at_once_and_the_cap)
{
	enum { N = 2000 };
	struct thing *t = calloc(N, sizeof(*t)), extra = {.want = 1};
	int round, i;

	coro_setup(N);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < N; i++) {
			t[i] = (struct thing){.want = 2};
			cr_assert(coro_start(steps, &t[i]), "number %d", i);
		}
		cr_assert_eq(coro_count(), coro_limit());
		cr_assert_not(coro_start(steps, &extra));
		cr_assert_eq(extra.steps, 0);
		for (i = N - 1; i >= 0; i--)
			coro_resume(t[i].co);
		for (i = 0; i < N; i++)
			coro_resume(t[i].co);
		cr_assert_eq(coro_count(), 0);
	}
	coro_teardown();
	free(t);
}

__attribute__((noinline)) static int deep(int n)
{
	volatile char frame[1024];

	frame[0] = (char)n;
	frame[1023] = 1;
	return n > 0 ? deep(n - 1) + frame[1023] : 0;
}

static void dive(void *arg)
{
	int *n = arg;

	*n = deep(*n);
}

Test(coro, stack_holds_200_kilobytes)
{
	int n = 180;

	cr_assert(coro_start(dive, &n));
	cr_assert_eq(n, 180);
	coro_teardown();
}

/* Beyond the stack is the guard page: a clean SIGSEGV, no silent corruption. */
Test(coro, guard_page_stops_an_overflow)
{
	struct rlimit none = {0, 0};
	int status, n = 100000;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGSEGV, SIG_DFL);
		close(2);
		coro_start(dive, &n);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "status %x", status);
}
