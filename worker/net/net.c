/*
 * What all connections of a worker share: limits, the memory budget (D81),
 * draining (D87), counters.
 */
#include "worker/net/net.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "shm/slots.h"
#include "worker/net/conn.h"

enum {
	/* Database, offload, log, control: what is not a client. */
	NET_OTHER_FDS = 128,
	NET_ARENAS_MS = 50,
	NET_MEMORY_RETRY_MS = 50,
	/* Giving up a body that holds less frees nothing worth it. */
	NET_STALLED_BYTES = 64 * 1024
};

void net_count(struct net *n, enum counter c, uint64_t k)
{
	if (n->s.seg)
		counter_add(n->s.seg, n->s.slot_no, c, k);
}

/* ---- memory ---- */

bool net_over_budget(const struct net *n)
{
	return n->buffered + n->arenas > (size_t)n->s.opt->worker_memory;
}

/* Walks all connections, so not more often than NET_ARENAS_MS; bodies are counted as they
 * come. */
static void net_weigh_arenas(struct net *n)
{
	const struct conn *c;

	n->arenas = 0;
	n->arenas_ms = loop_now_ms(n->s.loop);
	for (c = n->conns; c; c = c->next)
		if (c->x)
			n->arenas += arena_held(&c->x->arena); /* a thread may be at it */
	if (n->s.slot)
		atomic_store_explicit(
			&n->s.slot->arena_bytes, n->arenas + n->buffered, memory_order_relaxed);
}

static void net_give_up(struct conn *c)
{
	if (c->state == CONN_HEAD)
		conn_refuse(c, 503, "No memory is left for this request.");
	else
		exchange_settle(c, HTTP_BODY_MEMORY);
}

/* The unfinished body that has gone longest without a byte, for too long. */
static struct conn *net_stalled(const struct net *n)
{
	uint64_t since = loop_now_ms(n->s.loop) - NET_MEMORY_WAIT_MS;
	struct conn *c, *longest = NULL;

	for (c = n->conns; c; c = c->next) {
		if (c->state != CONN_CALL || c->paused || !c->x->wanted || c->x->body_over ||
			c->body_counted <= NET_STALLED_BYTES || c->heard_ms > since)
			continue;
		if (!longest || c->heard_ms < longest->heard_ms)
			longest = c;
	}
	return longest;
}

/* Bodies that stand still must not keep calls waiting whose bodies are there. One at a time: what
 * it gives back may be enough. Returns whether somebody still waits. */
static bool net_make_room(struct net *n)
{
	struct conn *c = reserve_wants_bodies(n) ? net_stalled(n) : NULL;

	if (c)
		net_give_up(c);
	return !list_empty(&n->reserve_waiting);
}

/* Paused connections go on when calls gave memory back, or are refused. */
static void net_memory_again(struct loop_timer *t)
{
	struct net *n = (struct net *)((char *)t - offsetof(struct net, memory_timer));
	/* below the budget, so that whoever goes on does not pause again with its first bytes */
	size_t low = (size_t)n->s.opt->worker_memory / 10 * 9;
	uint64_t now = loop_now_ms(n->s.loop);
	struct conn *c, *next;
	bool left = false;

	net_weigh_arenas(n);
	for (c = n->conns; c; c = next) {
		next = c->next;
		if (!c->paused)
			continue;
		if (n->buffered + n->arenas <= low) {
			conn_unpause(c);
		} else if (now - c->paused_ms >= NET_MEMORY_WAIT_MS) {
			conn_unpause(c);
			net_give_up(c);
			/* Giving up may have ended the neighbour; look again soon. */
			left = true;
			break;
		} else {
			left = true;
		}
	}
	left |= net_make_room(n);
	if (left)
		loop_timer_set(n->s.loop, &n->memory_timer, c ? 0 : NET_MEMORY_RETRY_MS);
	accept_review(n);
}

void net_wait_memory(struct net *n)
{
	if (!n->memory_timer.index)
		loop_timer_set(n->s.loop, &n->memory_timer, NET_MEMORY_RETRY_MS);
}

void net_tick(struct net *n)
{
	struct slot *slot = n->s.slot;

	if (loop_now_ms(n->s.loop) - n->arenas_ms >= NET_ARENAS_MS) {
		net_weigh_arenas(n);
		if (!n->draining)
			accept_review(n);
	}
	if (!slot)
		return;
	atomic_store_explicit(&slot->connections, n->conns_n, memory_order_relaxed);
	atomic_store_explicit(&slot->calls_in_flight, n->calls_n, memory_order_relaxed);
}

/* ---- draining ---- */

static void net_idle_over(struct loop_timer *t)
{
	struct net *n = (struct net *)((char *)t - offsetof(struct net, drain_timer));
	struct conn *c, *next;

	n->closing = true;
	for (c = n->conns; c; c = next) {
		next = c->next;
		if (c->state == CONN_IDLE)
			conn_end(c, "worker drains");
	}
}

void net_drain(struct net *n)
{
	uint64_t bound = (uint64_t)n->s.opt->drain_timeout, idle = NET_DRAIN_IDLE_MS;

	if (n->draining)
		return;
	accept_stop(n);
	/* Leave a last moment of the bound for the calls that come so late. */
	if (idle > bound - bound / 4)
		idle = bound - bound / 4;
	loop_timer_set(n->s.loop, &n->drain_timer, idle);
}

void net_abort(struct net *n)
{
	struct conn *c, *next;

	accept_stop(n);
	for (c = n->conns; c; c = next) {
		next = c->next;
		/* A running call keeps its connection's memory until it ends. */
		conn_vanished(c, "worker stops");
	}
}

unsigned net_connections(const struct net *n)
{
	return n->conns_n;
}

unsigned net_calls(const struct net *n)
{
	return n->calls_n;
}

/* ---- birth and end ---- */

/* Accepting stops before descriptors run out, so that the database can still
 * reconnect. */
static unsigned net_limit(const struct options *opt)
{
	struct rlimit rl;
	uint64_t most = (uint64_t)opt->max_connections;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur != RLIM_INFINITY &&
		most + NET_OTHER_FDS > rl.rlim_cur)
		most = rl.rlim_cur > 2 * NET_OTHER_FDS ? rl.rlim_cur - NET_OTHER_FDS
						       : rl.rlim_cur / 2;
	return (unsigned)most;
}

struct net *net_new(const struct net_setup *setup)
{
	struct net *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->s = *setup;
	n->reserve_fd = -1;
	n->conns_max = net_limit(setup->opt);
	n->memory_timer.fire = net_memory_again;
	n->reserve_chore.run = reserve_grant;
	list_init(&n->reserve_waiting);
	n->drain_timer.fire = net_idle_over;
	n->scratch = malloc(NET_SCRATCH);
	if (!n->scratch) {
		free(n);
		return NULL;
	}
	return n;
}

void net_free(struct net *n)
{
	struct exchange *x;

	if (!n)
		return;
	must(!n->conns);
	accept_stop(n);
	loop_timer_stop(n->s.loop, &n->memory_timer);
	loop_timer_stop(n->s.loop, &n->drain_timer);
	while ((x = n->spare)) {
		n->spare = x->next;
		arena_free(&x->arena);
		free(x);
	}
	if (n->reserve_fd >= 0)
		close(n->reserve_fd);
	free(n->scratch);
	free(n);
}
