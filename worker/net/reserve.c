/*
 * Memory for what calls make of their bodies: a message takes some ten times its bytes
 * (call/decode.c), so that many large ones at once would be far over the budget (D81) although each
 * body was within it. Who comes when it is spent waits, in the order of arrival, with its body
 * only.
 */
#include "shm/base/clock.h"
#include "shm/options.h"
#include "shm/slots.h"
#include "worker/coro.h"
#include "worker/crumb.h"
#include "worker/net/conn.h"

/* A call that waits; lives on its stack. */
struct reserve_waiter {
	struct list node;
	struct loop_timer timer;
	struct coro *co;
	struct net *n;
	size_t bytes;
	bool granted;
};

/* A quarter is left for bodies that come meanwhile: sockets that were paused are read again
 * below nine tenths. One call always goes: what it takes is bounded by call_memory. */
static bool reserve_fits(const struct net *n, size_t bytes)
{
	return n->reserved == 0 ||
	       n->buffered + n->reserved + bytes <= (size_t)n->s.opt->worker_memory / 4 * 3;
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

	while (!list_empty(&n->reserve_waiting)) {
		struct reserve_waiter *wt =
			list_item(n->reserve_waiting.next, struct reserve_waiter, node);

		if (!reserve_fits(n, wt->bytes))
			return;
		n->reserved += wt->bytes;
		reserve_go(wt, true);
	}
}

void reserve_set(struct net *n, struct exchange *x, size_t bytes)
{
	n->reserved += bytes - x->reserved;
	x->reserved = bytes;
	if (!list_empty(&n->reserve_waiting))
		loop_chore(n->s.loop, &n->reserve_chore);
}

static bool reserve_wait(struct net *n, size_t bytes, uint64_t wait_ms)
{
	struct reserve_waiter wt = {
		.timer.fire = reserve_late, .co = coro_self(), .n = n, .bytes = bytes};

	list_add(&n->reserve_waiting, &wt.node);
	loop_timer_set(n->s.loop, &wt.timer, wait_ms);
	while (list_linked(&wt.node))
		crumb_park(n->s.slot ? &n->s.slot->crumbs[0] : NULL);
	return wt.granted;
}

bool http_reserve(struct http_request *rq, size_t bytes, uint64_t wait_ms)
{
	struct net *n = rq->conn->net;
	struct exchange *x = rq->conn->x;

	if (bytes > (size_t)n->s.opt->call_memory)
		bytes = (size_t)n->s.opt->call_memory;
	if (!list_empty(&n->reserve_waiting) || !reserve_fits(n, bytes)) {
		if (!reserve_wait(n, bytes, wait_ms))
			return false;
		x->reserved = bytes; /* reserve_grant() has added it */
	} else {
		reserve_set(n, x, bytes);
	}
	return true;
}

void http_reserved(struct http_request *rq)
{
	struct exchange *x = rq->conn->x;

	if (x->reserved > 0)
		reserve_set(rq->conn->net, x, arena_held(&x->arena));
}
