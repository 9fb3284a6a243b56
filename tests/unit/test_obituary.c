/* The last words of a process: one line, blame only where it belongs. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/obituary.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/segment.h"
#include "worker/call/call.h"

static struct master m;
static struct generation g;
static struct child c;
static char line[8192];

static struct slot *prepare(void)
{
	int fd = segment_create();
	struct slot *s;

	g = (struct generation){.number = 7, .segment_fd = fd, .seg = segment_map(fd)};
	c = (struct child){.state = CHILD_READY, .gen = &g, .slot_no = 3, .pid = 4711};
	cr_assert_not_null(g.seg);
	s = segment_slot(g.seg, 3);
	atomic_store(&s->state, SLOT_READY);
	s->crumbs[2] = (struct crumb){.busy = 1,
		.step = 7,
		.method = 5,
		.principal = 1,
		.body = 2,
		.start_ms = clock_mono_ms()};
	memcpy(s->crumbs[2].call_id, "id-1", 5);
	memcpy(s->crumbs[2].method_name, "/a.v1.A/B", 10);
	return s;
}

/* Runs obituary_write with standard error in a pipe; returns what it said. */
static const char *write_with(int code, int status, enum child_end end)
{
	siginfo_t si = {0};
	int pipe_fd[2], saved = dup(2);
	ssize_t n;

	si.si_code = code;
	si.si_status = status;
	cr_assert_eq(pipe2(pipe_fd, O_NONBLOCK), 0);
	dup2(pipe_fd[1], 2);
	obituary_write(&m, &c, &si, end);
	dup2(saved, 2);
	n = read(pipe_fd[0], line, sizeof(line) - 1);
	line[n > 0 ? n : 0] = '\0';
	return line;
}

Test(obituary, names_the_call)
{
	struct slot *s = prepare();
	const char *text;

	memcpy(s->panic, "must: x\n\"y\"", 12);
	s->address = 0x1234;
	s->backtrace[0] = 0xabc;
	atomic_store(&s->panic_set, 1);
	text = write_with(CLD_DUMPED, SIGSEGV, END_CRASHED);
	cr_assert(strstr(text, "worker died role=worker slot=3 pid=4711 generation=7 state=ready "
			       "signal=11 name=SIGSEGV panic=\"must: x..y.\" address=0x1234 "
			       "backtrace=0xabc thread=2 step=handle method=\"/a.v1.A/B\" "
			       "call=\"id-1\" call_ms="),
		"%s", text);
	cr_assert_eq(strchr(text, '\n')[1], '\0', "one line");
	cr_assert_eq(atomic_load(&s->state), SLOT_FREE);
	cr_assert_eq(counter_sum(g.seg, CTR_panics), 1);
	cr_assert_eq(m.deaths, 1);
}

Test(obituary, two_deaths_make_a_quarantine)
{
	uint64_t fingerprint = quarantine_fingerprint(5, 1, 2);

	prepare();
	write_with(CLD_KILLED, SIGABRT, END_CRASHED);
	cr_assert_not(quarantine_has(g.seg, fingerprint, clock_mono_ms()));
	write_with(CLD_KILLED, SIGABRT, END_CRASHED);
	cr_assert(quarantine_has(g.seg, fingerprint, clock_mono_ms()));
	cr_assert(strstr(line, "call quarantined"), "%s", line);
}

Test(obituary, kill_from_outside_blames_no_call)
{
	prepare();
	for (int i = 0; i < 4; i++)
		write_with(CLD_KILLED, i % 2 ? SIGKILL : SIGTERM, END_KILLED);
	cr_assert_not(quarantine_has(g.seg, quarantine_fingerprint(5, 1, 2), clock_mono_ms()));
	cr_assert_eq(counter_sum(g.seg, CTR_panics), 4);
}

Test(obituary, a_hang_does)
{
	prepare();
	c.hung = true;
	write_with(CLD_KILLED, SIGKILL, END_CRASHED);
	cr_assert(strstr(line, "hung=1"), "%s", line);
	write_with(CLD_KILLED, SIGKILL, END_CRASHED);
	cr_assert(quarantine_has(g.seg, quarantine_fingerprint(5, 1, 2), clock_mono_ms()));
}

/* A worker gone wild may have filled its slot with anything. */
Test(obituary, garbage_in_the_slot)
{
	struct slot *s = prepare();

	for (int i = 0; i < CRUMBS_PER_SLOT; i++) {
		memset(&s->crumbs[i], 0xff, sizeof(s->crumbs[i]));
		atomic_store(&s->crumbs[i].busy, 1);
	}
	memset(s->panic, 'x', sizeof(s->panic));
	memset(s->backtrace, 0xff, sizeof(s->backtrace));
	atomic_store(&s->panic_set, 1);
	write_with(CLD_KILLED, SIGSEGV, END_CRASHED);
	cr_assert(strstr(line, "step=? "), "%s", line);
}

Test(obituary, a_clean_end_is_no_death)
{
	prepare();
	write_with(CLD_EXITED, 0, END_LEFT);
	cr_assert(strstr(line, "worker left slot=3"), "%s", line);
	cr_assert_eq(m.deaths, 0);
	cr_assert_eq(counter_sum(g.seg, CTR_panics), 0);
}

Test(obituary, unreachable_segment)
{
	prepare();
	g.seg = NULL;
	write_with(CLD_KILLED, SIGSEGV, END_CRASHED);
	cr_assert(strstr(line, "worker died role=worker"), "%s", line);
}

/* The master may not include the worker's headers, so the names are copied. */
Test(obituary, step_names_fit_the_enum)
{
	cr_assert_str_eq(obituary_step_name(STEP_NONE), "none");
	cr_assert_str_eq(obituary_step_name(STEP_AUTHN), "authn");
	cr_assert_str_eq(obituary_step_name(STEP_VALIDATE), "validate");
	cr_assert_str_eq(obituary_step_name(STEP_HANDLE), "handle");
	cr_assert_str_eq(obituary_step_name(STEP_REPLY), "reply");
	cr_assert_str_eq(obituary_step_name(STEP_REPLY + 1), "?");
}
