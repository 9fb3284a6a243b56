/*
 * Identical questions that are asked at the same time are answered once (D40). What is
 * under way for some of them is a flight: it runs on a coroutine of its own and owns all
 * that it needs, so that no caller's leaving or being late harms the others.
 *
 * A question may join a flight only while the snapshot of its scan was not taken, because
 * it must see everything that was acknowledged before (D21). Those that come later share
 * the next flight, which waits for the one that runs: so of very many equal questions one
 * is being answered and one waits. It does not wait for ever: what takes a quarter of the
 * time budget is answered twice at the same time, but never more often.
 */
#include <stdlib.h>

#include "proto/wire_read.h"
#include "rpc.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/base/list.h"
#include "shm/options.h"
#include "shm/segment.h"
#include "tables.h"
#include "worker/call/child.h"
#include "worker/call/crumb.h"
#include "worker/coro.h"
#include "worker/loop.h"
#include "worker/rpc/insight.h"
#include "worker/worker.h"

enum {
	LOOK_MS = 200, /* how often a client's presence is checked */
	AT_ONCE = 2,   /* flights of one question whose scan runs */
	PATIENCE = 4   /* the next one waits this part of the budget at most */
};

/* A question, and everything that its answer depends on but the events. */
struct question {
	int32_t project;
	struct str zone, request; /* packed */
	uint64_t hash;
};

struct insight_flight {
	struct insight_flight *next; /* in the worker's list, until it has landed */
	struct question question;    /* in the child's arena */
	struct call_child child;     /* acts for the question, for no caller; holds the answer */
	struct scan scan;
	Insights__V1__QueryResponse answer;
	struct str packed; /* the answer, once somebody needs a copy */
	bool started;      /* the scan was set up */
	bool done, failed;
	struct list waiters;
	unsigned owners; /* the coroutine, whoever has not taken the answer, a wake-up */
	struct coro *co; /* while it waits for its turn */
	struct loop_timer patience;
	struct loop_chore wake;
	uint64_t since_ms;
};

/* A caller; on the stack of its coroutine. */
struct waiter {
	struct list node;
	struct loop_chore chore;
	struct loop_timer timer;
	struct coro *co;
	struct call *c;
	struct insight_flight *flight;
	bool landed;
	bool told; /* of it, by the chore, which refers to this until then */
};

/* ---- the question ---- */

static bool pose(
	struct call *c, const Insights__V1__QueryRequest *in, struct str zone, struct question *q)
{
	struct buf b;

	buf_init(&b, c->arena);
	pb_pack(&in->base, &b);
	if (b.over)
		return false;
	*q = (struct question){
		.project = c->who.project, .zone = zone, .request = {b.p ? b.p : "", b.n}};
	q->hash = hash_64(q->request.p, q->request.n) ^ (uint64_t)(uint32_t)q->project;
	return true;
}

static bool same(const struct question *a, const struct question *b)
{
	return a->hash == b->hash && a->project == b->project && str_eq(a->zone, b->zone) &&
	       str_eq(a->request, b->request);
}

static uint64_t deadline(const struct call *c)
{
	return c->deadline_ms ? c->deadline_ms : UINT64_MAX / 2;
}

/* ---- the flight ---- */

/* When the last of its owners is gone. */
static void leave(struct insight_flight *f)
{
	if (--f->owners > 0)
		return;
	arena_free(&f->child.arena);
	free(f);
}

static void woken(struct loop_chore *ch)
{
	struct insight_flight *f = list_item(ch, struct insight_flight, wake);

	if (f->co)
		coro_resume(f->co);
	leave(f);
}

/* It may see at the end of the turn whether it is its turn. */
static void rouse(struct insight_flight *f)
{
	if (f->wake.queued)
		return;
	f->owners++;
	loop_chore(f->child.c.w->loop, &f->wake);
}

static void patience_ends(struct loop_timer *t)
{
	rouse(list_item(t, struct insight_flight, patience));
}

/* How many others of this question are being answered. */
static unsigned others(const struct insight_flight *f)
{
	unsigned n = 0;

	for (struct insight_flight *o = f->child.c.w->insight_flights; o; o = o->next)
		n += o != f && o->started && same(&o->question, &f->question);
	return n;
}

/* Until the ones before are done, or there is no use in waiting. */
static void await_turn(struct insight_flight *f)
{
	struct call *c = &f->child.c;
	uint64_t most = (uint64_t)c->w->opt->insight_timeout / PATIENCE, before;

	while (!list_empty(&f->waiters) && (before = others(f)) > 0) {
		uint64_t waited = clock_mono_ms() - f->since_ms;

		if (before < AT_ONCE && waited >= most)
			break;
		if (waited < most)
			loop_timer_set(c->w->loop, &f->patience, most - waited);
		f->co = coro_self();
		call_park(c);
		f->co = NULL;
		loop_timer_stop(c->w->loop, &f->patience);
	}
}

/* Out of the list: nobody joins any more, and the next one may start. */
static void unlist(struct insight_flight *f)
{
	struct worker *w = f->child.c.w;
	struct insight_flight **at = &w->insight_flights;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	for (struct insight_flight *o = w->insight_flights; o; o = o->next)
		if (o->co && same(&o->question, &f->question))
			rouse(o);
}

/* Callers run at the end of the turn, on the loop's stack: not below ours. */
static void land(struct insight_flight *f)
{
	struct loop *l = f->child.c.w->loop;
	struct list *node;

	unlist(f);
	f->done = true;
	while ((node = list_pop(&f->waiters))) {
		struct waiter *wt = list_item(node, struct waiter, node);

		loop_timer_stop(l, &wt->timer);
		wt->landed = true;
		loop_chore(l, &wt->chore);
	}
}

static int run(struct insight_flight *f)
{
	struct call *c = &f->child.c;
	struct wire_error err = {.memory = false};
	ProtobufCMessage *in;
	int result;

	if (pb_unpack(&pb_msg_insights_v1_query_request, f->question.request, c->arena, &in, &err) <
		0)
		return call_fail(c, err.memory ? CODE_RESOURCE_EXHAUSTED : CODE_INTERNAL, NULL,
			err.memory ? "the call needs too much memory" : "internal error");
	c->deadline_ms = 0;
	list_each (node, &f->waiters) {
		uint64_t until = deadline(list_item(node, struct waiter, node)->c);

		c->deadline_ms = until > c->deadline_ms ? until : c->deadline_ms;
	}
	scan_init(&f->scan, c);
	c->db.deadline_ms = f->scan.budget_ms;
	f->started = true;
	result = insight_ask(
		c, &f->scan, (const Insights__V1__QueryRequest *)in, f->question.zone, &f->answer);
	scan_free(&f->scan);
	return result;
}

static void fly(void *arg)
{
	struct insight_flight *f = arg;
	struct worker *w = f->child.c.w;

	crumb_fill(&f->child.c); /* what makes us crash is the question of who asked first */
	await_turn(f);
	if (!list_empty(&f->waiters))
		f->failed = run(f) < 0;
	land(f);
	leave(f);
	crumb_end(w);
}

/* A copy of the call that is nobody's: no connection, no message, no deadline. NULL
 * without memory. */
static struct insight_flight *flight_new(struct call *c, const struct question *q)
{
	struct insight_flight *f = calloc(1, sizeof(*f));
	struct arena *a;

	if (!f)
		return NULL;
	child_begin(&f->child, c, (size_t)c->w->opt->call_memory);
	a = &f->child.arena;
	f->child.c.rq = NULL;
	f->child.c.in = f->child.c.out = NULL;
	f->child.c.client = f->child.c.message = STR("");
	f->question = *q;
	f->question.zone.p = arena_str(a, q->zone);
	f->question.request.p = arena_str(a, q->request);
	insights__v1__query_response__init(&f->answer);
	list_init(&f->waiters);
	f->patience.fire = patience_ends;
	f->wake.run = woken;
	f->since_ms = clock_mono_ms();
	f->owners = 1;
	if (f->question.zone.p && f->question.request.p)
		return f;
	leave(f);
	return NULL;
}

/* ---- the callers ---- */

/* One that has not started yet or whose snapshot is still to come. */
static struct insight_flight *find(struct call *c, const struct question *q)
{
	for (struct insight_flight *f = c->w->insight_flights; f; f = f->next)
		if (!list_empty(&f->waiters) && same(&f->question, q) &&
			(!f->started || scan_join(&f->scan, deadline(c))))
			return f;
	return NULL;
}

static void landed(struct loop_chore *ch)
{
	struct waiter *me = list_item(ch, struct waiter, chore);

	me->told = true;
	coro_resume(me->co);
}

static void look(struct loop_timer *t)
{
	coro_resume(list_item(t, struct waiter, timer)->co);
}

/* Leaves the others alone; the last one ends the flight. */
static void give_up(struct waiter *me)
{
	struct insight_flight *f = me->flight;

	list_del(&me->node);
	if (!list_empty(&f->waiters))
		return;
	if (f->started)
		scan_stop(&f->scan);
	else if (f->co)
		rouse(f);
}

/* 0 when it has landed, or -1 after call_fail(). */
static int await_landing(struct waiter *me)
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
			return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL,
				"the query took longer than its time budget");
		}
		if (http_gone(c->rq)) {
			give_up(me);
			return call_fail(c, CODE_CANCELED, NULL, "the client went away");
		}
	}
}

static int no_memory(struct call *c)
{
	return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "the call needs too much memory");
}

/* The others still need theirs. */
static int copy(struct call *c, struct insight_flight *f, Insights__V1__QueryResponse *out)
{
	struct wire_error err = {.memory = false};
	ProtobufCMessage *message;
	struct buf b;

	if (!f->packed.p) {
		buf_init(&b, &f->child.arena);
		pb_pack(&f->answer.base, &b);
		if (b.over)
			return no_memory(c);
		f->packed = (struct str){b.p ? b.p : "", b.n};
	}
	if (pb_unpack(&pb_msg_insights_v1_query_response, f->packed, c->arena, &message, &err) < 0)
		return err.memory ? no_memory(c)
				  : call_fail(c, CODE_INTERNAL, NULL, "internal error");
	*out = *(const Insights__V1__QueryResponse *)message;
	return 0;
}

static int take(struct call *c, struct insight_flight *f, Insights__V1__QueryResponse *out)
{
	const struct call *from = &f->child.c;

	if (f->failed) {
		c->retry_ms = from->retry_ms;
		for (const struct detail *d = from->details; d; d = d->next)
			call_detail(c, d->type, d->value);
		return call_fail(c, from->code, from->reason, "%.*s", STR_ARG(from->error_text));
	}
	if (f->owners > 1)
		return copy(c, f, out);
	if (!arena_adopt(c->arena, &f->child.arena))
		return no_memory(c);
	*out = f->answer;
	return 0;
}

/* False without memory. */
static bool take_off(struct insight_flight *f, struct call *c)
{
	f->next = c->w->insight_flights;
	c->w->insight_flights = f;
	if (coro_start(fly, f)) {
		crumb_fill(c); /* what ran meanwhile has cleared it */
		return true;
	}
	unlist(f);
	f->owners--; /* the coroutine's share */
	return false;
}

enum { NO_FLIGHT = 1 };

/* 0, or -1 after call_fail(), or NO_FLIGHT. */
static int wait_for(
	struct call *c, struct insight_flight *f, bool mine, Insights__V1__QueryResponse *out)
{
	struct waiter me = {.chore = {.run = landed},
		.timer = {.fire = look},
		.co = coro_self(),
		.c = c,
		.flight = f};
	int result;

	list_add(&f->waiters, &me.node);
	f->owners++;
	if (mine && !take_off(f, c)) {
		leave(f);
		return NO_FLIGHT;
	}
	result = await_landing(&me);
	if (result == 0)
		result = take(c, f, out);
	leave(f);
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
	struct question q;

	if (!coro_self() || !pose(c, in, zone, &q))
		return ask_alone(c, in, zone, out);
	f = find(c, &q);
	if (f) {
		if (c->w->seg)
			counter_add(c->w->seg, c->w->slot_no, CTR_insight_joined, 1);
		return wait_for(c, f, false, out);
	}
	/* most coroutines are for calls */
	if (coro_count() < coro_limit() / 4 * 3)
		f = flight_new(c, &q);
	if (f)
		result = wait_for(c, f, true, out);
	return result == NO_FLIGHT ? ask_alone(c, in, zone, out) : result;
}
