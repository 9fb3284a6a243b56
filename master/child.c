/*
 * The life of one process: start, READY, heartbeat, drain, death. What a death
 * means for its generation is decided in generation.c.
 */
#include "master/child.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/generation.h"
#include "master/obituary.h"
#include "master/salt.h"
#include "master/spawn.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/message.h"
#include "shm/segment.h"

/* HEARTBEAT_LOOK_MS is half of the least hang_timeout (500, options.def). salt_tick() counts on
 * so many turns, and by them the loop notices that it stood still (supervise.c). */
enum { KILL_AFTER_MS = 1000, HEARTBEAT_LOOK_MS = 250, RETRY_MS = 1000, UNBORN_MS = 2000 };

/* Images of different releases read them from each other (handover.c), and scrapers know them as
 * labels. */
static const char *const state_names[] = {
	[CHILD_NONE] = "none",
	[CHILD_STARTING] = "starting",
	[CHILD_READY] = "ready",
	[CHILD_DRAINING] = "draining",
	[CHILD_STOPPING] = "stopping",
	[CHILD_ABORTING] = "aborting",
	[CHILD_WAITING] = "waiting",
	[CHILD_DONE] = "done",
};

/* What others see in the slot. One that hangs is DEAD to them: a worker with more connections
 * than a READY one lets that one accept first (worker/net/accept.c), and none must wait for one
 * that hangs. */
static const enum slot_state slot_states[] = {
	[CHILD_NONE] = SLOT_FREE,
	[CHILD_STARTING] = SLOT_STARTING,
	[CHILD_READY] = SLOT_READY,
	[CHILD_DRAINING] = SLOT_DRAINING,
	[CHILD_STOPPING] = SLOT_DRAINING,
	[CHILD_ABORTING] = SLOT_DEAD,
	[CHILD_WAITING] = SLOT_FREE,
	[CHILD_DONE] = SLOT_FREE,
};

const char *child_state_name(enum child_state s)
{
	return state_names[s];
}

const char *child_role(const struct child *c)
{
	return c->keeper ? "keeper" : "worker";
}

/* Relies on the order in enum child_state. */
bool child_has_process(const struct child *c)
{
	return c->state >= CHILD_STARTING && c->state <= CHILD_ABORTING;
}

/* Clears the deadline: callers set theirs afterwards. Without a process the slot is not touched:
 * the obituary has freed it, and it may be another's by now. */
void child_enter(struct child *c, enum child_state state, const char *why)
{
	log_debug("%s state slot=%d pid=%d generation=%u from=%s to=%s why=%s", child_role(c),
		c->slot_no, (int)c->pid, c->gen->number, state_names[c->state], state_names[state],
		why);
	c->state = state;
	c->since_ms = clock_mono_ms();
	c->deadline_ms = UINT64_MAX;
	if (child_has_process(c) && c->gen->seg)
		atomic_store(&segment_slot(c->gen->seg, c->slot_no)->state, slot_states[state]);
}

/* By the seats and not by the state in the slot, which a process gone wild may have written. */
static bool slot_is_taken(const struct master *m, uint32_t segment_id, int slot_no)
{
	const struct child *c;

	for (int g = 0; g < GENERATIONS; g++) {
		if (m->gens[g].state == GEN_NONE || m->gens[g].segment_id != segment_id)
			continue;
		for (int i = 0; i < m->gens[g].seats; i++) {
			c = &m->gens[g].child[i];
			if (child_has_process(c) && c->slot_no == slot_no)
				return true;
		}
	}
	return false;
}

/* Lowest free slot, wiped; -1 when there is none. Wiped, or breadcrumbs of the one before would
 * be blamed for the next death. Its counters are elsewhere and stay (shm/counters.c). */
static int take_slot(const struct master *m, const struct child *c)
{
	struct slot *s;
	int n = 0;

	while (n < SLOTS_MAX && slot_is_taken(m, c->gen->segment_id, n))
		n++;
	if (n == SLOTS_MAX)
		return -1;
	s = segment_slot(c->gen->seg, n);
	memset(s, 0, sizeof(*s));
	atomic_store(&s->generation, c->gen->number);
	atomic_store(&s->keeper, c->keeper);
	atomic_store(&s->started_ms, clock_mono_ms());
	atomic_store(&s->heartbeat_ms, clock_mono_ms());
	atomic_store(&s->state, SLOT_STARTING);
	return n;
}

/* Never waits. A message that does not get through is made good by the deadline that every
 * caller sets. */
static void send_message(struct child *c, enum message_type type)
{
	const struct message msg = {.version = MESSAGE_VERSION, .type = type};

	if (c->control.fd >= 0)
		(void)!send(c->control.fd, &msg, sizeof(msg), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static struct child *child_of_control(struct watch *w)
{
	return (struct child *)(void *)((char *)w - offsetof(struct child, control));
}

static struct child *child_of_exit(struct watch *w)
{
	return (struct child *)(void *)((char *)w - offsetof(struct child, exit));
}

/* MSG_TRUNC returns the real length, so that a longer message does not pass for one of ours. */
static void on_control(struct master *m, struct watch *w, uint32_t events)
{
	struct child *c = child_of_control(w);
	struct message msg;
	ssize_t n = recv(w->fd, &msg, sizeof(msg), MSG_DONTWAIT | MSG_TRUNC);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* It closed its end; its pidfd tells the rest. */
		watch_drop(m, w);
		return;
	}
	if (n != (ssize_t)sizeof(msg) || msg.version != MESSAGE_VERSION ||
		msg.type != MESSAGE_READY) {
		log_warn("message dropped pid=%d bytes=%zd", (int)c->pid, n);
		return;
	}
	/* It crossed our DRAIN. */
	if (c->state != CHILD_STARTING)
		return;
	c->degraded = msg.degraded != 0;
	c->failed_starts = 0;
	log_info("%s ready slot=%d pid=%d generation=%u ms=%llu%s", child_role(c), c->slot_no,
		(int)c->pid, c->gen->number, (unsigned long long)(clock_mono_ms() - c->since_ms),
		c->degraded ? " degraded=1" : "");
	child_enter(c, CHILD_READY, "ready");
	generation_child_ready(m, c);
}

/* SIGKILL of a READY one came from outside: ours comes in other states (deadline_passed). */
static enum child_end classify(const struct child *c, const siginfo_t *si)
{
	if (si->si_code == CLD_EXITED && si->si_status == EXIT_DRAINED)
		return END_LEFT;
	if (si->si_code == CLD_EXITED && si->si_status == EXIT_HOPELESS)
		return END_HOPELESS;
	if (si->si_code == CLD_KILLED && si->si_status == SIGKILL && c->state == CHILD_READY)
		return END_KILLED;
	return END_CRASHED;
}

/* Order: reap, obituary (crumbs, quarantine, repair), free the slot, then the seat's future.
 * Nobody else reaps a child that is watched, and until then its pid is a zombie's: no kill() of
 * ours can hit a stranger. */
static void on_exit_event(struct master *m, struct watch *w, uint32_t events)
{
	struct child *c = child_of_exit(w);
	siginfo_t si = {0};
	enum child_end end;

	(void)events;
	if (waitid(P_PIDFD, (id_t)w->fd, &si, WEXITED | WNOHANG) != 0 || si.si_pid == 0)
		return;
	end = classify(c, &si);
	obituary_write(m, c, &si, end);
	salt_repair(m, c->pid);
	watch_drop(m, &c->exit);
	watch_drop(m, &c->control);
	generation_child_gone(m, c, end);
}

/* A child that died during an exec or before we got here is a zombie: its pidfd opens and is
 * readable at once. One whose control socket we cannot watch finds it closed and drains
 * (worker/main.c). */
bool child_adopt(struct master *m, struct child *c, int control_fd)
{
	int fd = (int)syscall(SYS_pidfd_open, c->pid, 0);

	c->exit.fd = c->control.fd = -1;
	if (control_fd >= 0 && !watch_add(m, &c->control, control_fd, EPOLLIN, on_control))
		close(control_fd);
	if (fd < 0)
		return false;
	if (watch_add(m, &c->exit, fd, EPOLLIN, on_exit_event))
		return true;
	close(fd);
	return false;
}

/* Not counted in failed_starts: the machine may be short for a moment, which says nothing about
 * the program. A generation that starts has its start_timeout all the same. */
static void start_failed(struct child *c, const char *what, int error)
{
	log_err("cannot start %s step=%s error=\"%s\"", child_role(c), what, strerror(error));
	child_enter(c, CHILD_WAITING, what);
	c->deadline_ms = c->since_ms + RETRY_MS;
}

void child_start(struct master *m, struct child *c)
{
	int control_fd = -1;

	/* Slots of another layout are out of reach; either this generation is about to
	 * drain, or a roll-back brings back the image that can reach them. */
	c->slot_no = c->gen->seg ? take_slot(m, c) : -1;
	if (c->slot_no < 0) {
		start_failed(c, "slot", ENOSPC);
		return;
	}
	c->hung = c->degraded = false;
	c->pid = spawn_child(m, c, &control_fd);
	if (c->pid < 0) {
		start_failed(c, "fork", -c->pid);
		return;
	}
	atomic_store(&segment_slot(c->gen->seg, c->slot_no)->pid, c->pid);
	child_enter(c, CHILD_STARTING, "spawned");
	c->deadline_ms = c->since_ms + (uint64_t)c->gen->start_ms;
	if (!child_adopt(m, c, control_fd)) {
		/* Nobody would notice its death: better none than an unwatched one. */
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		watch_drop(m, &c->control);
		start_failed(c, "pidfd", errno);
	}
}

void child_drain(struct child *c, uint64_t within_ms)
{
	if (c->state != CHILD_STARTING && c->state != CHILD_READY)
		return;
	/* One that is not READY has no calls, unless its READY is still on the way. */
	if (c->state == CHILD_STARTING && within_ms > UNBORN_MS)
		within_ms = UNBORN_MS;
	send_message(c, MESSAGE_DRAIN);
	child_enter(c, CHILD_DRAINING, "drain");
	c->deadline_ms = c->since_ms + within_ms;
}

/* STOP may not get through; SIGTERM, which means DRAIN (shm/message.h), does. */
void child_stop(struct child *c, const char *why)
{
	if (!child_has_process(c) || c->state == CHILD_STOPPING || c->state == CHILD_ABORTING)
		return;
	send_message(c, MESSAGE_STOP);
	kill(c->pid, SIGTERM);
	child_enter(c, CHILD_STOPPING, why);
	c->deadline_ms = c->since_ms + KILL_AFTER_MS;
}

/* True when the loop of a READY child has stood still for too long. A beat is taken to be no
 * older than the state; before READY there is start_timeout instead. Without a segment that we
 * can read nobody can tell. */
static bool is_hung(const struct master *m, const struct child *c, uint64_t now_ms)
{
	uint64_t beat;

	if (!c->gen->seg || (c->state != CHILD_READY && c->state != CHILD_DRAINING))
		return false;
	beat = atomic_load(&segment_slot(c->gen->seg, c->slot_no)->heartbeat_ms);
	if (beat < c->since_ms)
		beat = c->since_ms;
	if (beat < m->grace_ms)
		beat = m->grace_ms;
	return now_ms > beat && now_ms - beat > (uint64_t)c->gen->hang_ms;
}

/* SIGABRT stays pending in a process that is stopped; SIGKILL does not. After a SIGKILL there is
 * nothing left to do: the pidfd tells the rest. */
static void deadline_passed(struct master *m, struct child *c)
{
	switch (c->state) {
	case CHILD_STARTING:
		log_warn("%s did not become ready slot=%d pid=%d generation=%u", child_role(c),
			c->slot_no, (int)c->pid, c->gen->number);
		kill(c->pid, SIGKILL);
		c->deadline_ms = UINT64_MAX;
		break;
	case CHILD_DRAINING:
		log_warn("%s did not drain in time slot=%d pid=%d generation=%u", child_role(c),
			c->slot_no, (int)c->pid, c->gen->number);
		child_stop(c, "drain-timeout");
		break;
	case CHILD_STOPPING:
	case CHILD_ABORTING:
		kill(c->pid, SIGKILL);
		c->deadline_ms = UINT64_MAX;
		break;
	case CHILD_WAITING:
		child_start(m, c);
		break;
	case CHILD_NONE:
	case CHILD_READY:
	case CHILD_DONE:
		break;
	}
}

uint64_t child_tick(struct master *m, struct child *c, uint64_t now_ms)
{
	if (is_hung(m, c, now_ms)) {
		log_err("%s hangs, aborting slot=%d pid=%d generation=%u", child_role(c),
			c->slot_no, (int)c->pid, c->gen->number);
		c->hung = true;
		/* its exit will find the time since now, not since it was READY */
		backoff_lived(&c->backoff, now_ms - c->since_ms);
		kill(c->pid, SIGABRT);
		child_enter(c, CHILD_ABORTING, "hang");
		c->deadline_ms = c->since_ms + KILL_AFTER_MS;
	}
	if (now_ms >= c->deadline_ms)
		deadline_passed(m, c);
	if (c->state != CHILD_READY && c->state != CHILD_DRAINING)
		return c->deadline_ms;
	return c->deadline_ms < now_ms + HEARTBEAT_LOOK_MS ? c->deadline_ms
							   : now_ms + HEARTBEAT_LOOK_MS;
}
