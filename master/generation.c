/*
 * At most two generations live at a time: the current one and either the next
 * (starting) or the old one (draining). The next takes over when all its
 * children are READY; any failure before that rolls it back and changes nothing
 * for clients.
 */
#include "master/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/config.h"
#include "master/handover.h"
#include "master/reload.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/message.h"
#include "shm/segment.h"

/* Deaths of one seat before READY that end a start; and how soon a kill from outside looks like
 * a crash loop. */
enum { START_TRIES = 3, LIVED_MIN_MS = 100 };

/* Taken only when the caller sets a state: whoever fails before that just leaves it. -1 because
 * generation_free() closes whatever is 0 or more. */
struct generation *generation_new(struct master *m)
{
	for (int i = 0; i < GENERATIONS; i++) {
		if (m->gens[i].state != GEN_NONE)
			continue;
		memset(&m->gens[i], 0, sizeof(m->gens[i]));
		m->gens[i].exe_fd = m->gens[i].options_fd = m->gens[i].segment_fd = -1;
		return &m->gens[i];
	}
	return NULL;
}

static void generation_free(struct generation *g)
{
	const int fds[] = {g->exe_fd, g->options_fd, g->segment_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (g->seg)
		segment_unmap(g->seg);
	g->seg = NULL;
	g->state = GEN_NONE;
}

/* The segment of the current generation, unless this image cannot read it or its key
 * cache was given up for a reload that was then rolled back. A descriptor and a mapping of its
 * own even to the same memory: either generation may be freed first. */
static bool find_segment(struct master *m, struct generation *g)
{
	const struct generation *cur = m->current;
	int fd;

	if (cur && cur->seg && !cur->retired) {
		g->segment_fd = fcntl(cur->segment_fd, F_DUPFD_CLOEXEC, 3);
		g->segment_id = cur->segment_id;
	} else {
		fd = segment_create();
		if (fd < 0)
			errno = -fd;
		g->segment_fd = fd;
		g->segment_id = ++m->last_segment_id;
		if (cur)
			log_info("new shared segment generation=%u", g->number);
	}
	if (g->segment_fd >= 0)
		g->seg = segment_map(g->segment_fd);
	return g->seg != NULL;
}

static int worker_count(const struct options *o)
{
	long n = o->workers > 0 ? (long)o->workers : sysconf(_SC_NPROCESSORS_ONLN);

	if (n < 1)
		n = 1;
	return n > SEATS_MAX - 1 ? SEATS_MAX - 1 : (int)n;
}

/* Timeouts are copied, for m->opt may be another configuration's when this generation drains.
 * The executable is ours and not the installed file: a seat is filled again with what its
 * neighbours run. */
static bool prepare(struct master *m, struct generation *g, const struct options *o)
{
	g->number = m->last_generation + 1;
	g->start_ms = o->start_timeout;
	g->drain_ms = o->drain_timeout;
	g->hang_ms = o->hang_timeout;
	g->seats = 1 + worker_count(o);
	g->exe_fd = fcntl(m->exe_fd, F_DUPFD_CLOEXEC, 3);
	g->options_fd = config_memfd(o);
	if (g->options_fd < 0)
		errno = -g->options_fd;
	return g->exe_fd >= 0 && g->options_fd >= 0 && find_segment(m, g);
}

bool generation_start(struct master *m, const struct options *o)
{
	struct generation *g = generation_new(m);

	if (!g || !prepare(m, g, o)) {
		snprintf(m->last_error, sizeof(m->last_error), "cannot prepare a generation: %s",
			g ? strerror(errno) : "two are alive");
		if (g)
			generation_free(g);
		return false;
	}
	/* Used up, even if this one is rolled back: children and log lines bear it. */
	m->last_generation = g->number;
	m->next = g;
	g->state = GEN_STARTING;
	g->deadline_ms = clock_mono_ms() + (uint64_t)g->start_ms;
	log_info("generation starting generation=%u workers=%d", g->number, g->seats - 1);
	for (int i = 0; i < g->seats; i++) {
		g->child[i].gen = g;
		g->child[i].keeper = i == 0;
		g->child[i].exit.fd = g->child[i].control.fd = -1;
		child_start(m, &g->child[i]);
	}
	return true;
}

int generation_ready_workers(const struct generation *g)
{
	int n = 0;

	for (int i = 1; g && i < g->seats; i++)
		n += g->child[i].state == CHILD_READY;
	return n;
}

static bool all_ready(const struct generation *g)
{
	return g->child[0].state == CHILD_READY && generation_ready_workers(g) == g->seats - 1;
}

/* May free g: with no process left there is no exit to come that would end it. A seat whose
 * process hangs or stops already keeps its own deadline. */
void generation_drain(struct master *m, struct generation *g)
{
	bool alive = false;

	g->state = GEN_DRAINING;
	for (int i = 0; i < g->seats; i++) {
		struct child *c = &g->child[i];

		child_drain(c, (uint64_t)g->drain_ms);
		if (child_has_process(c))
			alive = true;
		else
			child_enter(c, CHILD_DONE, "drain");
	}
	if (!alive)
		generation_child_gone(m, &g->child[0], END_LEFT);
}

/* The next generation takes over. All is set before the old one drains: that may end it at once
 * and begin the reload that was remembered, which looks at all of this. The announcement comes
 * last, for READY=1 would end a reload under way. */
static void promote(struct master *m, struct generation *g)
{
	bool reload = m->current != NULL;

	m->old = m->current;
	m->current = g;
	m->next = NULL;
	g->state = GEN_CURRENT;
	g->deadline_ms = UINT64_MAX;
	m->last_error[0] = '\0';
	if (reload)
		m->completed++;
	log_info("generation serves generation=%u workers=%d", g->number,
		generation_ready_workers(g));
	if (m->old)
		generation_drain(m, m->old);
	supervise_announce(m);
}

/* The first generation cannot serve: say why and leave, or serve with those that came up. Exit 78
 * tells systemd not to try again (RestartPreventExitStatus= in pugd.service). */
static void boot_failed(struct master *m, struct generation *g, const char *why)
{
	if (generation_ready_workers(g) > 0) {
		log_warn("not everybody came up, serving with those that did why=%s", why);
		promote(m, g);
		return;
	}
	log_err("cannot start, giving up why=%s", why);
	m->exit_code = EXIT_HOPELESS;
	supervise_stop(m);
}

/* next is cleared before the announcement, which says READY=1 only without one; g counts as old
 * before it drains, so that a HUP waits until it is gone. */
static void roll_back(struct master *m, struct generation *g, const char *why)
{
	bool foreign = m->current->seg == NULL;

	m->next = NULL;
	m->old = g;
	reload_rejected(m, why);
	generation_drain(m, g);
	/* Only the image that made the current segment can supervise on it. */
	if (foreign)
		handover_back(m);
}

static void generation_failed(struct master *m, struct generation *g, const char *why)
{
	if (m->current)
		roll_back(m, g, why);
	else
		boot_failed(m, g, why);
}

void generation_child_ready(struct master *m, struct child *c)
{
	if (c->gen == m->next && all_ready(c->gen))
		promote(m, c->gen);
	else if (c->gen == m->current)
		supervise_announce(m);
}

/* More than ten deaths in a minute: something is systematically wrong. Say so once. m->deaths
 * counts this one already (obituary_write), so it walks the ring and *oldest is the tenth last.
 * Deaths in a draining generation move it on without leaving a time. */
static void charge_budget(struct master *m, uint64_t now_ms)
{
	uint64_t *oldest = &m->death_ms[m->deaths % BUDGET_DEATHS];
	bool over = *oldest != 0 && now_ms - *oldest < BUDGET_MS;

	*oldest = now_ms;
	if (over && !m->over_budget)
		log_err("crash budget exceeded deaths=%d seconds=%d", BUDGET_DEATHS,
			BUDGET_MS / 1000);
	m->over_budget = over;
}

static void seat_again(struct child *c, uint64_t lived_ms, enum child_end end)
{
	uint32_t random;
	uint64_t wait;

	hash_random(&random, sizeof(random));
	/* kill -9 from outside is not a crash loop, unless it comes at once every time. */
	if (end == END_KILLED && lived_ms >= LIVED_MIN_MS)
		wait = 0;
	else
		wait = backoff_next(&c->backoff, lived_ms, random);
	child_enter(c, CHILD_WAITING, "died");
	c->deadline_ms = c->since_ms + wait;
	if (wait > 0)
		log_info("%s waits generation=%u ms=%llu", child_role(c), c->gen->number,
			(unsigned long long)wait);
}

/* A death in a generation that is meant to live. The process is reaped, but the state still says
 * that there is one: child_enter() must come before anything drains this generation, which would
 * wait for an exit that has been. */
static void fill_seat(struct master *m, struct child *c, enum child_end end)
{
	uint64_t now_ms = clock_mono_ms();
	bool was_ready = c->state != CHILD_STARTING;
	struct generation *g = c->gen;

	if (end != END_LEFT)
		charge_budget(m, now_ms);
	if (!was_ready)
		c->failed_starts++;
	seat_again(c, was_ready ? now_ms - c->since_ms : 0, end);
	/* In a generation that serves it is a death like any other: with this configuration others
	 * came up, so what is missing (a file that is just being replaced) may come back. */
	if (g == m->next && end == END_HOPELESS)
		generation_failed(m, g, "a child cannot run with this configuration");
	else if (g == m->next && c->failed_starts >= START_TRIES)
		generation_failed(m, g, "a child died three times before it was ready");
	else if (now_ms >= c->deadline_ms)
		child_start(m, c);
}

/* Of any generation: a stop drains the next and the current one, too. */
static void old_is_gone(struct master *m, struct generation *g)
{
	log_info("generation gone generation=%u", g->number);
	generation_free(g);
	if (m->old == g)
		m->old = NULL;
	if (m->next == g)
		m->next = NULL;
	if (m->current == g)
		m->current = NULL;
	if (m->stopping)
		m->quit = !m->current && !m->next && !m->old;
	else
		reload_pending(m);
}

void generation_child_gone(struct master *m, struct child *c, enum child_end end)
{
	struct generation *g = c->gen;

	if (g->state != GEN_DRAINING) {
		fill_seat(m, c, end);
		return;
	}
	if (c->state != CHILD_DONE)
		child_enter(c, CHILD_DONE, "left");
	for (int i = 0; i < g->seats; i++)
		if (child_has_process(&g->child[i]))
			return;
	old_is_gone(m, g);
}

uint64_t generation_tick(struct master *m, struct generation *g, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX, t;

	for (int i = 0; i < g->seats && g->state != GEN_NONE; i++) {
		t = child_tick(m, &g->child[i], now_ms);
		if (t < next)
			next = t;
	}
	if (g->state != GEN_STARTING)
		return next;
	if (now_ms >= g->deadline_ms) {
		generation_failed(m, g, "not ready within start_timeout");
		return now_ms;
	}
	return g->deadline_ms < next ? g->deadline_ms : next;
}
