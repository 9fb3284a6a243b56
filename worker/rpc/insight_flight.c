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
 *
 * All of this is so for all workers together (insight_share.h): a flight whose question
 * another worker is about to answer takes that answer, and its callers never know.
 */
#include <stdlib.h>

#include "proto/wire_read.h"
#include "rpc.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/options.h"
#include "shm/segment.h"
#include "tables.h"
#include "worker/call/crumb.h"
#include "worker/coro.h"
#include "worker/rpc/insight_flight.h"
#include "worker/worker.h"

enum {
	LOOK_MS = 200, /* how often it is looked whether it is its turn, should nobody say so */
	AT_ONCE = 2,   /* flights of one question whose scan runs */
	PATIENCE = 4,  /* the next one waits this part of the budget at most */
	/* How often another worker's flight is looked at: after this part of what it took. */
	FOLLOW_PART = 16,
	FOLLOW_MS = 20, /* at most */
	IDLE_MS = 100   /* how often it is checked whether other workers wait still */
};

/* ---- the question ---- */

bool insight_pose(struct call *c, const Insights__V1__QueryRequest *in, struct str zone,
	struct insight_question *q)
{
	struct buf b;

	buf_init(&b, c->arena);
	pb_pack(&in->base, &b);
	if (b.over)
		return false;
	*q = (struct insight_question){
		.project = c->who.project, .zone = zone, .request = {b.p ? b.p : "", b.n}};
	q->hash = hash_64(q->request.p, q->request.n) ^ (uint64_t)(uint32_t)q->project;
	return true;
}

static bool same(const struct insight_question *a, const struct insight_question *b)
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
void insight_flight_leave(struct insight_flight *f)
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
	insight_flight_leave(f);
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

/* How many others of this question are being answered, *elsewhere of them by other workers. */
static unsigned others(const struct insight_flight *f, unsigned *elsewhere)
{
	unsigned n = *elsewhere = insight_share_others(&f->share);

	for (struct insight_flight *o = f->child.c.w->insight_flights; o; o = o->next)
		n += o != f && o->started && same(&o->question, &f->question);
	return n;
}

static bool is_wanted(const struct insight_flight *f)
{
	return !list_empty(&f->waiters) || insight_share_wanted(&f->share);
}

/* Until somebody rouses it, or so many ms. */
static void rest(struct insight_flight *f, uint64_t ms)
{
	struct call *c = &f->child.c;

	loop_timer_set(c->w->loop, &f->patience, ms);
	f->co = coro_self();
	call_park(c);
	f->co = NULL;
	loop_timer_stop(c->w->loop, &f->patience);
}

/* Nobody rouses it when another worker has come further. */
static uint64_t follow_ms(const struct insight_flight *f)
{
	uint64_t ms = (clock_mono_ms() - f->since_ms) / FOLLOW_PART + 1;

	return ms < FOLLOW_MS ? ms : FOLLOW_MS;
}

/* Until the ones before are done, or there is no use in waiting. */
static void await_turn(struct insight_flight *f)
{
	uint64_t most = (uint64_t)f->child.c.w->opt->insight_timeout / PATIENCE, before;
	unsigned elsewhere;

	while (is_wanted(f) && (before = others(f, &elsewhere)) > 0) {
		uint64_t waited = clock_mono_ms() - f->since_ms, ms = LOOK_MS;

		if (before < AT_ONCE && waited >= most)
			break;
		if (waited < most)
			ms = most - waited;
		if (elsewhere > 0 && follow_ms(f) < ms)
			ms = follow_ms(f);
		rest(f, ms);
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

	loop_timer_stop(l, &f->idle);
	unlist(f);
	while ((node = list_pop(&f->waiters))) {
		struct insight_waiter *wt = list_item(node, struct insight_waiter, node);

		loop_timer_stop(l, &wt->timer);
		wt->landed = true;
		loop_chore(l, &wt->chore);
	}
}

/* The latest deadline of those who wait here; 0 when nobody does. */
static uint64_t latest(const struct insight_flight *f)
{
	uint64_t latest_ms = 0;

	list_each (node, &f->waiters) {
		uint64_t until_ms = deadline(list_item(node, struct insight_waiter, node)->c);

		latest_ms = until_ms > latest_ms ? until_ms : latest_ms;
	}
	return latest_ms;
}

/* The question is kept packed and read anew here, because the message of who asked first goes
 * with their call. The deadline is that of the most patient; who joins later raises it
 * (scan_join()). */
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
	c->deadline_ms = latest(f);
	scan_init(&f->scan, c);
	if (f->share.ref.seg)
		scan_share(&f->scan, flights_until(&f->share.ref));
	c->db.deadline_ms = f->scan.budget_ms;
	f->started = true;
	result = insight_ask(
		c, &f->scan, (const Insights__V1__QueryRequest *)in, f->question.zone, &f->answer);
	scan_free(&f->scan);
	return result;
}

/* ---- with other workers ---- */

int insight_no_memory(struct call *c)
{
	return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "the call needs too much memory");
}

int insight_late(struct call *c)
{
	return call_fail(
		c, CODE_DEADLINE_EXCEEDED, NULL, "the query took longer than its time budget");
}

/* The answer for whoever needs one more. False without memory. Made once, in the flight's memory:
 * hand_over() may need it, too. */
bool insight_flight_pack(struct insight_flight *f)
{
	struct buf b;

	if (f->packed.p)
		return true;
	buf_init(&b, &f->child.arena);
	pb_pack(&f->answer.base, &b);
	if (b.over)
		return false;
	f->packed = (struct str){b.p ? b.p : "", b.n};
	return true;
}

int insight_unpack(struct call *c, struct str packed, Insights__V1__QueryResponse *out)
{
	struct wire_error err = {.memory = false};
	ProtobufCMessage *message;

	if (pb_unpack(&pb_msg_insights_v1_query_response, packed, c->arena, &message, &err) < 0)
		return err.memory ? insight_no_memory(c)
				  : call_fail(c, CODE_INTERNAL, NULL, "internal error");
	*out = *(const Insights__V1__QueryResponse *)message;
	return 0;
}

/* Other workers are told what took long to find out. */
static void hand_over(struct insight_flight *f)
{
	enum flight_state state = FLIGHT_UNSHARED;

	if (!f->started || f->scan.end == SCAN_GONE)
		state = FLIGHT_GONE;
	else if (f->failed && f->scan.end == SCAN_MEMORY)
		state = FLIGHT_NO_MEMORY;
	else if (f->failed && f->scan.end == SCAN_TIME)
		state = FLIGHT_NO_TIME;
	else if (!f->failed && (!insight_share_due(&f->share) || insight_flight_pack(f)))
		state = FLIGHT_ANSWERED;
	insight_share_land(&f->share, state, f->packed);
}

static void count_handed(struct insight_flight *f)
{
	struct worker *w = f->child.c.w;
	uint64_t n = 0;

	list_each (node, &f->waiters)
		n++;
	counter_add(w->seg, w->slot_no, CTR_insight_handed, n);
	counter_add(w->seg, w->slot_no, CTR_insight_joined, 1); /* who asked here first */
}

/* Waits for another worker. What became of it; FLIGHT_GONE, too, when nobody waits here. */
static enum flight_state follow(struct insight_flight *f)
{
	struct call *c = &f->child.c;
	enum flight_state state;

	while ((state = insight_share_look(&f->share)) == FLIGHT_AIRBORNE) {
		if (list_empty(&f->waiters))
			return FLIGHT_GONE;
		rest(f, follow_ms(f));
	}
	if (state == FLIGHT_NO_MEMORY || state == FLIGHT_NO_TIME) {
		f->failed = (state == FLIGHT_NO_TIME ? insight_late(c) : scan_no_memory(c)) < 0;
		count_handed(f);
	} else if (state == FLIGHT_ANSWERED) {
		f->packed = insight_share_take(&f->share, c->arena);
		if (!f->packed.p)
			return FLIGHT_UNSHARED;
		f->failed = insight_unpack(c, f->packed, &f->answer) < 0;
		count_handed(f);
	}
	return state;
}

/* Another worker's answer, or a turn at finding it out here. False: it was neither, for that
 * worker has died or has nothing to hand over, and it has to be tried again, maybe *alone. */
static bool settle(struct insight_flight *f, bool *alone)
{
	enum flight_state state;

	insight_share_enter(&f->share, *alone, latest(f));
	if (!f->share.joined) {
		await_turn(f);
		return !insight_share_lost(&f->share);
	}
	state = follow(f);
	*alone = state == FLIGHT_UNSHARED;
	return state != FLIGHT_GONE && state != FLIGHT_UNSHARED;
}

/* What it is to find out is in the flight when this returns, or nobody wants it. */
static void answer(struct insight_flight *f)
{
	bool alone = false;

	while (!settle(f, &alone)) {
		insight_share_leave(&f->share);
		if (list_empty(&f->waiters))
			return;
		/* what has just killed another worker may be this very question (D92) */
		f->failed = crumb_quarantine(&f->child.c) < 0;
		if (f->failed)
			return;
	}
	if (f->share.joined)
		return;
	if (is_wanted(f))
		f->failed = run(f) < 0;
	hand_over(f);
}

static void fly(void *arg)
{
	struct insight_flight *f = arg;
	struct worker *w = f->child.c.w;

	crumb_fill(&f->child.c); /* what makes us crash is the question of who asked first */
	answer(f);
	land(f);
	insight_flight_leave(f);
	crumb_end(w);
}

void insight_flight_idle(struct insight_flight *f)
{
	if (insight_share_wanted(&f->share) && !f->child.c.w->draining)
		loop_timer_set(f->child.c.w->loop, &f->idle, IDLE_MS);
	else if (f->started)
		scan_stop(&f->scan);
	else if (f->co)
		rouse(f);
}

static void idle(struct loop_timer *t)
{
	insight_flight_idle(list_item(t, struct insight_flight, idle));
}

/* Everything that says whether a question is the same in another worker. The generation, because
 * options may differ; the zone with its length, so that no two questions give the same bytes. */
static struct str whole(const struct insight_question *q, const struct worker *w, struct arena *a)
{
	struct buf b;

	buf_init(&b, a);
	buf_printf(&b, "%u %d %zu ", w->generation, q->project, q->zone.n);
	buf_add(&b, q->zone.p, q->zone.n);
	buf_add(&b, q->request.p, q->request.n);
	return b.over ? (struct str){NULL, 0} : (struct str){b.p, b.n};
}

/* A copy of the call that is nobody's: no connection, no message, no deadline. NULL
 * without memory. */
struct insight_flight *insight_flight_new(struct call *c, const struct insight_question *q)
{
	struct insight_flight *f = calloc(1, sizeof(*f));
	struct arena *a;

	if (!f)
		return NULL;
	child_begin(&f->child, c, (size_t)c->w->opt->call_memory);
	a = &f->child.arena;
	/* who asked first may leave before it lands */
	f->child.c.rq = NULL;
	f->child.c.in = f->child.c.out = NULL;
	f->child.c.client = f->child.c.message = STR("");
	f->question = *q;
	f->question.zone.p = arena_str(a, q->zone);
	f->question.request.p = arena_str(a, q->request);
	insights__v1__query_response__init(&f->answer);
	list_init(&f->waiters);
	f->patience.fire = patience_ends;
	f->idle.fire = idle;
	insight_share_init(&f->share, c->w, whole(q, c->w, a));
	f->wake.run = woken;
	f->since_ms = clock_mono_ms();
	f->owners = 1;
	if (f->question.zone.p && f->question.request.p)
		return f;
	insight_flight_leave(f);
	return NULL;
}

/* False without memory. */
bool insight_flight_take_off(struct insight_flight *f, struct call *c)
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

/* One that has not started yet or whose snapshot is still to come. */
static bool may_join(struct insight_flight *f, const struct call *c)
{
	if (list_empty(&f->waiters))
		return false;
	if (f->share.joined)
		return insight_share_join(&f->share, deadline(c));
	return !f->started || scan_join(&f->scan, deadline(c));
}

struct insight_flight *insight_flight_find(struct call *c, const struct insight_question *q)
{
	for (struct insight_flight *f = c->w->insight_flights; f; f = f->next)
		if (same(&f->question, q) && may_join(f, c))
			return f;
	return NULL;
}
