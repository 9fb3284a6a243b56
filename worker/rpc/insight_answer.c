/* The callers of insights: who joins a flight, waits for it, and takes a copy of its answer. */
#include "shm/base/clock.h"
#include "shm/segment.h"
#include "worker/call/crumb.h"
#include "worker/coro.h"
#include "worker/rpc/insight_flight.h"
#include "worker/worker.h"

enum { LOOK_MS = 200 }; /* how often a client's presence is checked */

/* `me` is on the stack of its coroutine, which may end before this returns: nothing may
 * follow. */
static void landed(struct loop_chore *ch)
{
	struct insight_waiter *me = list_item(ch, struct insight_waiter, chore);

	me->told = true;
	coro_resume(me->co);
}

static void look(struct loop_timer *t)
{
	coro_resume(list_item(t, struct insight_waiter, timer)->co);
}

/* Leaves the others alone; the last one of all workers' ends the flight. */
static void give_up(struct insight_waiter *me)
{
	list_del(&me->node);
	if (list_empty(&me->flight->waiters))
		insight_flight_idle(me->flight);
}

/* 0 when it has landed, or -1 after call_fail(). */
static int await_landing(struct insight_waiter *me)
{
	struct call *c = me->c;

	for (uint64_t left = call_time_left(c);; left = call_time_left(c)) {
		/* even who is late already may find it landed */
		if (!me->landed) {
			loop_timer_set(c->w->loop, &me->timer, left < LOOK_MS ? left : LOOK_MS);
			call_park(c);
			loop_timer_stop(c->w->loop, &me->timer);
		}
		/* a question that is refused lands before its caller has waited at all */
		while (me->landed && !me->told)
			call_park(c);
		if (me->landed)
			return 0;
		if (call_time_left(c) == 0) {
			give_up(me);
			return insight_late(c);
		}
		if (http_gone(c->rq)) {
			give_up(me);
			return call_fail(c, CODE_CANCELED, NULL, "the client went away");
		}
	}
}

/* The flight's own coroutine has left by now, so the last owner gets the memory itself; the others
 * unpack a copy, for each call's arena goes at its own time. */
static int take(struct call *c, struct insight_flight *f, Insights__V1__QueryResponse *out)
{
	const struct call *from = &f->child.c;

	if (f->failed) {
		c->retry_ms = from->retry_ms;
		for (const struct detail *d = from->details; d; d = d->next)
			call_detail(c, d->type, d->value);
		return call_fail(c, from->code, from->reason, "%.*s", STR_ARG(from->error_text));
	}
	/* the others still need theirs */
	if (f->owners > 1)
		return insight_flight_pack(f) ? insight_unpack(c, f->packed, out)
					      : insight_no_memory(c);
	if (!arena_adopt(c->arena, &f->child.arena))
		return insight_no_memory(c);
	*out = f->answer;
	return 0;
}

enum { NO_FLIGHT = 1 };

/* 0, or -1 after call_fail(), or NO_FLIGHT. Counted as an owner before it takes off: the flight
 * may land within that call already. */
static int wait_for(
	struct call *c, struct insight_flight *f, bool mine, Insights__V1__QueryResponse *out)
{
	struct insight_waiter me = {.chore = {.run = landed},
		.timer = {.fire = look},
		.co = coro_self(),
		.c = c,
		.flight = f};
	int result;

	list_add(&f->waiters, &me.node);
	f->owners++;
	if (mine && !insight_flight_take_off(f, c)) {
		insight_flight_leave(f);
		return NO_FLIGHT;
	}
	result = await_landing(&me);
	if (result == 0)
		result = take(c, f, out);
	insight_flight_leave(f);
	return result;
}

static int ask_alone(struct call *c, const Insights__V1__QueryRequest *in, struct str zone,
	Insights__V1__QueryResponse *out)
{
	struct scan scan;
	int result;

	scan_init(&scan, c);
	result = insight_ask(c, &scan, in, zone, out);
	scan_free(&scan);
	return result;
}

int insight_answer(struct call *c, const Insights__V1__QueryRequest *in, struct str zone,
	Insights__V1__QueryResponse *out)
{
	struct insight_flight *f;
	int result = NO_FLIGHT;
	struct insight_question q;

	/* commands (pugd explain) have no coroutine to park */
	if (!coro_self() || !insight_pose(c, in, zone, &q))
		return ask_alone(c, in, zone, out);
	f = insight_flight_find(c, &q);
	if (f) {
		if (c->w->seg)
			counter_add(c->w->seg, c->w->slot_no, CTR_insight_joined, 1);
		return wait_for(c, f, false, out);
	}
	/* most coroutines are for calls */
	if (coro_count() < coro_limit() / 4 * 3)
		f = insight_flight_new(c, &q);
	if (f)
		result = wait_for(c, f, true, out);
	return result == NO_FLIGHT ? ask_alone(c, in, zone, out) : result;
}
