/* Reading the state of the image before: good, from another time, and broken. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "master/child.h"
#include "master/generation.h"
#include "master/handover.h"
#include "shm/segment.h"

static struct master one, *const m = &one;

static bool read_text(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	memset(m, 0, sizeof(*m));
	cr_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	m->args.resume_fd = fd;
	m->admin.listener.fd = m->salt.fd = -1;
	return handover_read(m);
}

/* A state whose descriptors are open: 0 for all, but a real segment. */
static const char *good(const char *extra)
{
	static char text[4096];

	snprintf(text, sizeof(text),
		"pugd-handover 1\ncounters 5 6 7 8\nlast 9 2\nreload 1 1\nerror some text\n"
		"listen 0 1 unix:/a b\nadmin 0 127.0.0.1:1\nvisitors 0\nfuture words\n"
		"gen 9 current 0 0 %d 2 0 20000 30000 5000 2\n"
		"child 9 0 ready 4 123 0 0 0 11 18446744073709551615 0 0\n"
		"child 9 1 waiting -1 0 -1 0 1 12 13 3 2\n%send\n",
		segment_create(), extra);
	return text;
}

Test(handover, reads_what_was_written)
{
	const struct child *c;

	cr_assert(read_text(good("")));
	cr_assert(m->hup_pending && m->begin_next);
	cr_assert_eq(m->started_ms, 5);
	cr_assert_eq(m->completed, 6);
	cr_assert_eq(m->rejected, 7);
	cr_assert_eq(m->deaths, 8);
	cr_assert_eq(m->last_generation, 9);
	cr_assert_str_eq(m->last_error, "some text");
	cr_assert_str_eq(m->listeners.one[0].address, "unix:/a b");
	cr_assert(m->listeners.one[0].ours);
	cr_assert_eq(m->salt.fd, 0);
	cr_assert_eq(m->current->drain_ms, 30000);
	cr_assert_not_null(m->current->seg);
	c = &m->current->child[0];
	cr_assert(c->keeper && c->state == CHILD_READY && c->pid == 123 && c->slot_no == 4);
	cr_assert_eq(c->deadline_ms, UINT64_MAX);
	c = &m->current->child[1];
	cr_assert(!c->keeper && c->hung && c->state == CHILD_WAITING && c->backoff.deaths == 3);
}

Test(handover, segment_of_another_layout_is_not_mapped)
{
	cr_assert(read_text("pugd-handover 1\nlisten 0 0 x\n"
			    "gen 1 current 0 0 0 1 0 1 1 1 1\nend\n"));
	cr_assert_null(m->current->seg);
	cr_assert_eq(m->salt.fd, -1, "a master of before visitors");
}

Test(handover, refuses_what_makes_no_sense)
{
	static const char *const broken[] = {
		"",
		"x",
		"pugd-handover 2\nend\n",
		"pugd-handover 1\nend\n",
		"pugd-handover 1\nlisten 0 0 x\ngen 1 current 0 0 0 1 0 1 1 1 1\n",
		"pugd-handover 1\nlisten 0 0 x\ngen 1 current 0 0 0 1 0 1 1 1 62\nend\n",
		"pugd-handover 1\nlisten 0 0 x\ngen 1 current 0 0 0 1 0 1 1 1 0\nend\n",
		"pugd-handover 1\nlisten 0 0 x\ngen 1 sleeping 0 0 0 1 0 1 1 1 1\nend\n",
		"pugd-handover 1\nlisten 999 0 x\ngen 1 current 0 0 0 1 0 1 1 1 1\nend\n",
		"pugd-handover 1\ncounters 1\nlisten 0 0 x\ngen 1 current 0 0 0 1 0 1 1 1 1\nend\n",
	};

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		cr_expect_not(read_text(broken[i]), "%s", broken[i]);
	cr_expect_not(read_text(good("child 8 0 ready 1 1 0 0 0 0 0 0 0\n")), "no such generation");
	cr_expect_not(read_text(good("child 9 2 ready 1 1 0 0 0 0 0 0 0\n")), "no such seat");
	cr_expect_not(read_text(good("child 9 1 ready 128 1 0 0 0 0 0 0 0\n")), "no such slot");
	cr_expect_not(read_text(good("child 9 1 asleep 1 1 0 0 0 0 0 0 0\n")), "no such state");
	cr_expect_not(read_text(good("listen x\n")), "no descriptor");
	cr_expect_not(read_text(good("visitors x\n")), "no descriptor");
	cr_expect_not(read_text(good("visitors 999\n")), "not open");
}
