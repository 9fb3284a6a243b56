/* Generations whose children cannot work, with real processes that are no workers. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "master/config.h"
#include "master/generation.h"
#include "shm/base/clock.h"
#include "shm/message.h"

static struct master *master(const char *exe)
{
	static struct master one; /* each test is a process of its own */
	struct master *m = &one;

	m->exe_fd = open(exe, O_RDONLY | O_CLOEXEC);
	m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	m->notify.fd = m->signals.fd = m->reload.exit.fd = m->reload.output.fd = -1;
	m->admin.listener.fd = -1;
	for (int i = 0; i < ADMIN_CLIENTS; i++)
		m->admin.client[i].watch.fd = -1;
	m->binary = exe;
	m->argv0 = "pugd";
	config_defaults(&m->opt);
	m->opt.workers = 2;
	m->opt.start_timeout = 2000;
	cr_assert(m->exe_fd >= 0 && m->epoll_fd >= 0);
	return m;
}

Test(generation, children_that_crash_end_the_boot, .timeout = 20)
{
	struct master *m = master("/bin/false");

	cr_assert(generation_start(m, &m->opt));
	cr_assert_eq(m->next->number, 1);
	cr_assert_eq(m->next->seats, 3);
	cr_assert_eq(supervise_run(m), EXIT_HOPELESS);
	cr_assert(m->deaths >= 3);
	cr_assert_null(m->next);
	cr_assert_eq(m->gens[0].state, GEN_NONE);
}

Test(generation, children_that_leave_end_the_boot, .timeout = 20)
{
	struct master *m = master("/bin/true");

	cr_assert(generation_start(m, &m->opt));
	cr_assert_eq(supervise_run(m), EXIT_HOPELESS);
	cr_assert_eq(m->deaths, 0);
}

Test(generation, at_most_two)
{
	struct master *m = master("/bin/true");
	struct generation *a = generation_new(m), *b;

	a->state = GEN_CURRENT;
	b = generation_new(m);
	b->state = GEN_DRAINING;
	cr_assert_neq(a, b);
	cr_assert_null(generation_new(m));
	cr_assert_not(generation_start(m, &m->opt));
	cr_assert_str_eq(m->last_error, "cannot prepare a generation: two are alive");
}

/* Workers start in the lowest slots that no living process of the segment has. */
Test(generation, slots_are_not_shared, .timeout = 20)
{
	struct master *m = master("/bin/true");

	cr_assert(generation_start(m, &m->opt));
	for (int i = 0; i < m->next->seats; i++)
		cr_assert_eq(m->next->child[i].slot_no, i);
	cr_assert(m->next->child[0].keeper);
	cr_assert_not(m->next->child[1].keeper);
	supervise_run(m);
}
