/*
 * Memory for what calls make of their bodies: a message takes some ten times its bytes
 * (call/decode.c), so that many large ones at once would be far over the budget (D81) although each
 * body was within it. Who comes when it is spent waits, in the order of arrival, with its body
 * only. Small calls have a part of their own: a few large ones must not be able to stop all that
 * the worker does.
 */
#include "shm/base/clock.h"
#include "shm/options.h"
#include "shm/slots.h"
#include "worker/coro.h"
#include "worker/crumb.h"
#include "worker/net/conn.h"

/* What a body of 19 KB takes, such as SDKs post while somebody looks at pages. */
enum { RESERVE_SMALL = 256 * 1024 };

/* A call that waits; lives on its stack. */
struct reserve_waiter {
	struct list node;
	struct loop_timer timer;
	struct coro *co;
	struct net *n;
	size_t bytes;
	bool granted;
};

static size_t small_part(size_t bytes)
{
	return bytes <= RESERVE_SMALL ? bytes : 0;
}

static void reserve_count(struct net *n, size_t from, size_t to)
{
	n->reserved += to - from;
	n->reserved_small += small_part(to) - small_part(from);
}

static size_t quarter(const struct net *n)
{
	return (size_t)n->s.opt->worker_memory / 4;
}

/* The last quarter is for bodies that come meanwhile (sockets that were paused are read again
 * below nine tenths), and for small calls. One large call always goes: what it takes is bounded
 * by call_memory. */
static bool reserve_fits(const struct net *n, size_t bytes)
{
	return (n->reserved == n->reserved_small && n->reserved_small <= quarter(n)) ||
	       n->buffered + n->reserved + bytes <= quarter(n) * 3;
}

/* Whoever else waits, and whatever bodies hold: sockets are not read beyond worker_memory, so that
 * this is all that may come on top. */
static bool reserve_passes(const struct net *n, size_t bytes)
{
	return bytes <= RESERVE_SMALL && n->reserved_small + bytes <= quarter(n);
}

static struct reserve_waiter *reserve_next(const struct net *n)
{
	list_each (node, &n->reserve_waiting) {
		struct reserve_waiter *wt = list_item(node, struct reserve_waiter, node);

		if (reserve_passes(n, wt->bytes) ||
			(node == n->reserve_waiting.next && reserve_fits(n, wt->bytes)))
			return wt;
	}
	return NULL;
}

static void reserve_go(struct reserve_waiter *wt, bool granted)
{
	list_del(&wt->node);
	loop_timer_stop(wt->n->s.loop, &wt->timer);
	wt->granted = granted;
	coro_resume(wt->co);
}

static void reserve_late(struct loop_timer *t)
{
	reserve_go(list_item(t, struct reserve_waiter, timer), false);
}

void reserve_grant(struct loop_chore *ch)
{
	struct net *n = (struct net *)((char *)ch - offsetof(struct net, reserve_chore));
	struct reserve_waiter *wt;

	while ((wt = reserve_next(n))) {
		reserve_count(n, 0, wt->bytes);
		reserve_go(wt, true);
	}
}

void reserve_leave(struct exchange *x)
{
	reserve_go(x->reserving, false);
}

bool reserve_wants_bodies(const struct net *n)
{
	const struct reserve_waiter *wt =
		list_item(n->reserve_waiting.next, struct reserve_waiter, node);

	return !list_empty(&n->reserve_waiting) && n->reserved + wt->bytes <= quarter(n) * 3;
}

void reserve_wake(struct net *n)
{
	if (!list_empty(&n->reserve_waiting))
		loop_chore(n->s.loop, &n->reserve_chore);
}

void reserve_set(struct net *n, struct exchange *x, size_t bytes)
{
	reserve_count(n, x->reserved, bytes);
	x->reserved = bytes;
	reserve_wake(n);
}

/* Who has shut its sending side is asked whether it is still there: one that left must not keep
 * its place in the queue. The answer, a reset, comes later. */
static bool reserve_wait(struct http_request *rq, size_t bytes, uint64_t wait_ms)
{
	struct net *n = rq->conn->net;
	struct exchange *x = rq->conn->x;
	struct reserve_waiter wt = {
		.timer.fire = reserve_late, .co = coro_self(), .n = n, .bytes = bytes};

	if (http_gone(rq))
		return false;
	x->reserving = &wt;
	list_add(&n->reserve_waiting, &wt.node);
	net_wait_memory(n);
	loop_timer_set(n->s.loop, &wt.timer, wait_ms);
	while (list_linked(&wt.node))
		crumb_park(n->s.slot ? &n->s.slot->crumbs[0] : NULL);
	x->reserving = NULL;
	return wt.granted;
}

bool http_reserve(struct http_request *rq, size_t bytes, uint64_t wait_ms)
{
	struct net *n = rq->conn->net;
	struct exchange *x = rq->conn->x;

	if (bytes > (size_t)n->s.opt->call_memory)
		bytes = (size_t)n->s.opt->call_memory;
	if (reserve_passes(n, bytes) ||
		(list_empty(&n->reserve_waiting) && reserve_fits(n, bytes))) {
		reserve_set(n, x, bytes);
		return true;
	}
	if (!reserve_wait(rq, bytes, wait_ms))
		return false;
	x->reserved = bytes; /* reserve_grant() has added it */
	return true;
}

void http_reserved(struct http_request *rq)
{
	struct exchange *x = rq->conn->x;

	if (x->reserved > 0)
		reserve_set(rq->conn->net, x, arena_held(&x->arena));
}
