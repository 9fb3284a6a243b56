/*
 * The master's state as text in a memfd, and exec of another image over this
 * one. Children stay ours (the pid does not change), sockets stay open. The
 * text is versioned; lines with an unknown first word are skipped, so that an
 * older image can take back what a newer one wrote.
 */
#include "master/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/admin.h"
#include "master/child.h"
#include "master/generation.h"
#include "master/reload.h"
#include "shm/base/log.h"
#include "shm/segment.h"

/* Test builds pretend to be from another time. */
#ifndef PUGD_TEST_HANDOVER
#define PUGD_TEST_HANDOVER 1
#endif

/* The version is of what the lines mean. A new kind of line does not need another one, a changed
 * line does: an image that finds a version it does not know calls the one before back. A child's
 * line has some 150 bytes, so two full generations are less than a tenth of HANDOVER_MAX; a text
 * that is cut lacks its `end` and is refused. */
enum {
	HANDOVER_VERSION = PUGD_TEST_HANDOVER,
	HANDOVER_MAX = 1 << 18,
	ARGV_MAX = 2 * ARGS_OVERRIDES + 24
};

/* By name, as those of children (child.c): between two releases numbers may have moved. */
static const char *const gen_states[] = {
	[GEN_NONE] = "none",
	[GEN_STARTING] = "starting",
	[GEN_CURRENT] = "current",
	[GEN_DRAINING] = "draining",
};

/* ---- which descriptors survive ------------------------------------------------ */

static bool set_cloexec(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags < 0)
		return false;
	return fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC) == 0;
}

static bool mark_generation(struct generation *g, bool cloexec)
{
	bool ok = set_cloexec(g->exe_fd, cloexec) && set_cloexec(g->options_fd, cloexec) &&
		  set_cloexec(g->segment_fd, cloexec);

	for (int i = 0; i < g->seats; i++)
		if (child_has_process(&g->child[i]) && g->child[i].control.fd >= 0)
			ok = set_cloexec(g->child[i].control.fd, cloexec) && ok;
	return ok;
}

/* Everything the next image needs; false when one of them is not open. The rest (epoll, signals,
 * pidfds, admin clients, the notify socket) is closed by exec and opened anew. */
static bool mark_all(struct master *m, bool cloexec)
{
	bool ok = true;

	for (int i = 0; i < m->listeners.count; i++)
		ok = set_cloexec(m->listeners.one[i].fd, cloexec) && ok;
	if (m->admin.listener.fd >= 0)
		ok = set_cloexec(m->admin.listener.fd, cloexec) && ok;
	if (m->salt.fd >= 0)
		ok = set_cloexec(m->salt.fd, cloexec) && ok;
	for (int i = 0; i < GENERATIONS; i++)
		if (m->gens[i].state != GEN_NONE)
			ok = mark_generation(&m->gens[i], cloexec) && ok;
	return ok;
}

/* ---- writing ------------------------------------------------------------------- */

/* since_ms and deadline_ms are CLOCK_MONOTONIC, hence as good in the next image. */
static void write_child(FILE *f, const struct generation *g, int seat)
{
	const struct child *c = &g->child[seat];

	fprintf(f, "child %u %d %s %d %d %d %d %d %" PRIu64 " %" PRIu64 " %u %u\n", g->number, seat,
		child_state_name(c->state), c->slot_no, (int)c->pid,
		child_has_process(c) ? c->control.fd : -1, c->degraded, c->hung, c->since_ms,
		c->deadline_ms, c->backoff.deaths, c->failed_starts);
}

static void write_generation(FILE *f, const struct generation *g)
{
	fprintf(f, "gen %u %s %d %d %d %u %d %" PRId64 " %" PRId64 " %" PRId64 " %d\n", g->number,
		gen_states[g->state], g->exe_fd, g->options_fd, g->segment_fd, g->segment_id,
		g->retired, g->start_ms, g->drain_ms, g->hang_ms, g->seats);
	for (int i = 0; i < g->seats; i++)
		write_child(f, g, i);
}

static void write_state(FILE *f, const struct master *m, bool begin)
{
	fprintf(f, "pugd-handover %d\n", HANDOVER_VERSION);
	fprintf(f, "counters %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", m->started_ms,
		m->completed, m->rejected, m->deaths);
	fprintf(f, "last %u %u\n", m->last_generation, m->last_segment_id);
	fprintf(f, "reload %d %d\n", m->hup_pending, begin);
	/* One line: whoever sets last_error cuts it at the first newline (boot.c, reload.c), or
	 * its rest would be read as lines of their own. */
	fprintf(f, "error %s\n", m->last_error);
	for (int i = 0; i < m->listeners.count; i++)
		fprintf(f, "listen %d %d %s\n", m->listeners.one[i].fd, m->listeners.one[i].ours,
			m->listeners.one[i].address);
	if (m->admin.listener.fd >= 0)
		fprintf(f, "admin %d %s\n", m->admin.listener.fd, m->admin.address);
	if (m->salt.fd >= 0)
		fprintf(f, "visitors %d\n", m->salt.fd);
	for (int i = 0; i < GENERATIONS; i++)
		if (m->gens[i].state != GEN_NONE)
			write_generation(f, &m->gens[i]);
	fprintf(f, "end\n");
}

/* The memfd, not CLOEXEC; -1 with errno. fclose() closes the duplicate. Both share one offset,
 * which is at the end then: it is read with pread(). */
static int save_state(const struct master *m, bool begin)
{
	int fd = memfd_create("pugd-handover", 0);
	FILE *f = fd < 0 ? NULL : fdopen(dup(fd), "w");
	bool ok;

	if (!f) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	write_state(f, m, begin);
	ok = fflush(f) == 0 && !ferror(f);
	fclose(f);
	if (ok)
		return fd;
	close(fd);
	return -1;
}

/* exe_fd < 0: by path, for the installed file is what is wanted; else the file that a generation
 * runs, which may long be replaced. The 5 words left free are two options, their values and the
 * NULL. After an exec that failed descriptors are closed on exec again, so that nothing that is
 * started later inherits them. */
static void exec_image(struct master *m, int exe_fd, bool begin)
{
	const char *argv[ARGV_MAX];
	char resume[24], origin[24];
	int n, state_fd, error;

	admin_finish(m);
	state_fd = save_state(m, begin);
	if (state_fd < 0) {
		snprintf(m->last_error, sizeof(m->last_error), "cannot save the state: %s",
			strerror(errno));
		return;
	}
	snprintf(resume, sizeof(resume), "%d", state_fd);
	snprintf(origin, sizeof(origin), "%d", m->exe_fd);
	n = reload_argv(m, "run", argv, ARGV_MAX - 5);
	argv[n++] = "--resume";
	argv[n++] = resume;
	argv[n++] = "--origin";
	argv[n++] = origin;
	argv[n] = NULL;
	mark_all(m, false);
	set_cloexec(m->exe_fd, false);
	if (exe_fd < 0)
		execv(m->binary, (char *const *)(const void *)argv);
	else
		fexecve(exe_fd, (char *const *)(const void *)argv, environ);
	error = errno;
	set_cloexec(m->exe_fd, true);
	mark_all(m, true);
	close(state_fd);
	snprintf(m->last_error, sizeof(m->last_error), "cannot exec %s: %s", m->binary,
		strerror(error));
}

void handover_exec(struct master *m)
{
	exec_image(m, -1, true);
}

void handover_back(struct master *m)
{
	/* A check that just began would be nobody's child to wait for. What it was for is not
	 * forgotten: hup_pending goes into the state. */
	if (m->reload.pid != 0) {
		kill(m->reload.pid, SIGKILL);
		waitpid(m->reload.pid, NULL, 0);
		m->hup_pending = true;
	}
	log_info("going back to the image of generation=%u", m->current->number);
	exec_image(m, m->current->exe_fd, false);
	log_err("cannot go back error=%s", m->last_error);
}

/* ---- reading ------------------------------------------------------------------- */

static struct generation *find_generation(struct master *m, unsigned number)
{
	for (int i = 0; i < GENERATIONS; i++)
		if (m->gens[i].state != GEN_NONE && m->gens[i].number == number)
			return &m->gens[i];
	return NULL;
}

static bool read_counters(struct master *m, const char *rest)
{
	return sscanf(rest, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &m->started_ms,
		       &m->completed, &m->rejected, &m->deaths) == 4;
}

static bool read_last(struct master *m, const char *rest)
{
	return sscanf(rest, "%" SCNu32 " %" SCNu32, &m->last_generation, &m->last_segment_id) == 2;
}

static bool read_reload(struct master *m, const char *rest)
{
	int pending, begin;

	if (sscanf(rest, "%d %d", &pending, &begin) != 2)
		return false;
	m->hup_pending = pending != 0;
	m->begin_next = begin != 0;
	return true;
}

static bool read_error(struct master *m, const char *rest)
{
	snprintf(m->last_error, sizeof(m->last_error), "%s", rest);
	return true;
}

static bool read_listen(struct master *m, const char *rest)
{
	struct listener *l = &m->listeners.one[m->listeners.count];
	int ours, at = 0;

	if (m->listeners.count == LISTEN_MAX || sscanf(rest, "%d %d %n", &l->fd, &ours, &at) != 2 ||
		at == 0)
		return false;
	l->ours = ours != 0;
	snprintf(l->address, sizeof(l->address), "%s", rest + at);
	m->listeners.count++;
	return true;
}

static bool read_admin(struct master *m, const char *rest)
{
	int at = 0;

	if (sscanf(rest, "%d %n", &m->admin.listener.fd, &at) != 1 || at == 0)
		return false;
	snprintf(m->admin.address, sizeof(m->admin.address), "%s", rest + at);
	return true;
}

static bool read_visitors(struct master *m, const char *rest)
{
	return sscanf(rest, "%d", &m->salt.fd) == 1;
}

/* A starting one is refused, for nobody hands it over: a reload waits until there is none
 * (reload_begin), and a roll-back has set it to drain. So is one with more seats than we
 * have. */
static bool read_generation(struct master *m, const char *rest)
{
	struct generation *g = generation_new(m);
	char state[16];
	int retired;

	if (!g || sscanf(rest,
			  "%" SCNu32 " %15s %d %d %d %" SCNu32 " %d %" SCNd64 " %" SCNd64
			  " %" SCNd64 " %d",
			  &g->number, state, &g->exe_fd, &g->options_fd, &g->segment_fd,
			  &g->segment_id, &retired, &g->start_ms, &g->drain_ms, &g->hang_ms,
			  &g->seats) != 11)
		return false;
	if (g->seats < 1 || g->seats > SEATS_MAX)
		return false;
	g->retired = retired != 0;
	g->deadline_ms = UINT64_MAX;
	for (int i = 0; i < g->seats; i++) {
		g->child[i].gen = g;
		g->child[i].keeper = i == 0;
		g->child[i].control.fd = g->child[i].exit.fd = -1;
	}
	if (strcmp(state, gen_states[GEN_CURRENT]) == 0) {
		g->state = GEN_CURRENT;
		m->current = g;
	} else if (strcmp(state, gen_states[GEN_DRAINING]) == 0) {
		g->state = GEN_DRAINING;
		m->old = g;
	}
	return g->state != GEN_NONE;
}

static bool read_child_state(const char *name, enum child_state *out)
{
	/* Until 0.7.5 one that had left with 78 stayed away; its seat is filled by the next reload.
	 */
	if (strcmp(name, "hopeless") == 0)
		return *out = CHILD_WAITING, true;
	for (int s = CHILD_NONE; s <= CHILD_DONE; s++)
		if (strcmp(name, child_state_name((enum child_state)s)) == 0)
			return *out = (enum child_state)s, true;
	return false;
}

static bool read_child(struct master *m, const char *rest)
{
	struct child c = {.exit.fd = -1};
	unsigned number;
	int seat, pid, degraded, hung;
	char state[16];

	if (sscanf(rest, "%u %d %15s %d %d %d %d %d %" SCNu64 " %" SCNu64 " %u %u", &number, &seat,
		    state, &c.slot_no, &pid, &c.control.fd, &degraded, &hung, &c.since_ms,
		    &c.deadline_ms, &c.backoff.deaths, &c.failed_starts) != 12)
		return false;
	/* Its generation's line comes before (write_generation). */
	c.gen = find_generation(m, number);
	if (!c.gen || seat < 0 || seat >= c.gen->seats || !read_child_state(state, &c.state) ||
		c.slot_no < -1 || c.slot_no >= SLOTS_MAX)
		return false;
	c.pid = pid;
	c.keeper = seat == 0;
	c.degraded = degraded != 0;
	c.hung = hung != 0;
	c.gen->child[seat] = c;
	return true;
}

static const struct {
	const char *word;
	bool (*read)(struct master *m, const char *rest);
} readers[] = {
	{"counters ", read_counters},
	{"last ", read_last},
	{"reload ", read_reload},
	{"error ", read_error},
	{"listen ", read_listen},
	{"admin ", read_admin},
	{"visitors ", read_visitors},
	{"gen ", read_generation},
	{"child ", read_child},
};

static bool read_line(struct master *m, const char *line)
{
	size_t n;

	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
		n = strlen(readers[i].word);
		if (strncmp(line, readers[i].word, n) == 0)
			return readers[i].read(m, line + n);
	}
	return true;
}

/* `end` must be the last line, or the text was cut. */
static bool read_text(struct master *m, char *text)
{
	char *save = NULL, *line = strtok_r(text, "\n", &save);
	bool complete = false;
	int version;

	if (!line || sscanf(line, "pugd-handover %d", &version) != 1 || version != HANDOVER_VERSION)
		return false;
	while ((line = strtok_r(NULL, "\n", &save))) {
		if (!read_line(m, line))
			return false;
		complete = strcmp(line, "end") == 0;
	}
	return complete && m->current && m->listeners.count > 0;
}

/* A segment that cannot be mapped is no failure: it has another layout, and its generation is
 * supervised without it (master.h: seg) until it drains. */
bool handover_read(struct master *m)
{
	char *text = calloc(1, HANDOVER_MAX);
	ssize_t n = text ? pread(m->args.resume_fd, text, HANDOVER_MAX - 1, 0) : -1;
	bool ok = n > 0 && read_text(m, text);

	free(text);
	if (!ok || !mark_all(m, true))
		return false;
	for (int i = 0; i < GENERATIONS; i++)
		if (m->gens[i].state != GEN_NONE)
			m->gens[i].seg = segment_map(m->gens[i].segment_fd);
	return true;
}

bool handover_adopt(struct master *m)
{
	for (int g = 0; g < GENERATIONS; g++) {
		for (int i = 0; m->gens[g].state != GEN_NONE && i < m->gens[g].seats; i++) {
			struct child *c = &m->gens[g].child[i];

			if (child_has_process(c) && !child_adopt(m, c, c->control.fd))
				return false;
		}
	}
	return true;
}

/* The image before us reads the same state once more. Its descriptors may be closed-on-exec by
 * now (handover_read), those for state and origin never were. */
void handover_give_up(struct master *m, const char *why)
{
	const char *argv[ARGV_MAX];
	char resume[24], origin[24];
	int n;

	log_err("cannot take over, going back why=%s", why);
	snprintf(resume, sizeof(resume), "%d", m->args.resume_fd);
	n = reload_argv(m, "run", argv, ARGV_MAX - 6);
	argv[n++] = "--resume";
	argv[n++] = resume;
	/* Only so that it closes what it once opened. */
	snprintf(origin, sizeof(origin), "%d", m->args.origin_fd);
	argv[n++] = "--origin";
	argv[n++] = origin;
	argv[n++] = "--fallback";
	argv[n] = NULL;
	mark_all(m, false);
	/* Never twice: an image that was called back does not call back. */
	if (m->args.origin_fd >= 0 && !m->args.fallback)
		fexecve(m->args.origin_fd, (char *const *)(const void *)argv, environ);
	log_err("cannot go back, giving up error=%s", strerror(errno));
	exit(1);
}
