/*
 * The life of a call: nine steps in order, each in a file of its name. This
 * file knows the order and what surrounds every step (breadcrumb, deadline,
 * access log), and nothing of what the steps do.
 */
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/options.h"
#include "worker/call/client_addr.h"
#include "worker/call/crumb.h"
#include "worker/call/error.h"
#include "worker/coro.h"
#include "worker/crumb.h"
#include "worker/loop.h"
#include "worker/worker.h"

/* Nothing is decoded before it is known who calls and that they may call so often. Rules come
 * before roles because the released server does it so: who may not do something is first told what
 * is wrong with the request (auth.md 1.2). */
static const struct {
	enum step step;
	int (*run)(struct call *c);
} steps[] = {
	{STEP_ROUTE, call_route},
	{STEP_AUTHN, call_authn},
	{STEP_LIMIT, call_limit},
	{STEP_DECODE, call_decode},
	{STEP_VALIDATE, call_validate},
	{STEP_AUTHZ, call_authz},
	{STEP_HANDLE, call_handle},
	{STEP_ENCODE, call_encode},
};

/* D51: 8 to 64 of [A-Za-z0-9_-]; what is not well-formed is replaced, because
 * it ends in logs and headers. */
static bool id_ok(struct str id)
{
	if (id.n < 8 || id.n > 64)
		return false;
	for (size_t i = 0; i < id.n; i++) {
		char ch = id.p[i];

		if (!((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') ||
			    (ch >= 'A' && ch <= 'Z') || ch == '_' || ch == '-'))
			return false;
	}
	return true;
}

static void take_id(struct call *c)
{
	struct str given = http_header_get(c->rq, STR("x-request-id"));

	if (id_ok(given))
		memcpy(c->id, given.p, given.n);
	else
		hash_xid(c->id);
}

static void prepare(struct call *c, struct worker *w, struct http_request *rq)
{
	c->w = w;
	c->rq = rq;
	c->arena = rq->arena;
	c->timeout_ms = -1;
	c->details_tail = &c->details;
	/* While all of the arena is there. */
	error_reserve(c);
	c->deadline_ms = rq->start_ns / 1000000 + (uint64_t)w->opt->call_timeout;
	buf_init(&c->headers, c->arena);
	buf_init(&c->reply.headers, c->arena);
	take_id(c);
	client_addr(c);
	c->head_hash = crumb_head(rq);
}

static void run_steps(struct call *c)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		c->step = steps[i].step;
		crumb_step(c);
		/* What the handler did stays done: encode reports it even when late. */
		if (c->step < STEP_ENCODE && call_time_left(c) == 0)
			call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
		if (c->code != CODE_OK || steps[i].run(c) < 0)
			return;
	}
}

/* There is no memory even for the call's own struct. */
static void refuse(struct http_request *rq)
{
	struct http_reply rp = {.status = 503, .close = true};

	buf_init(&rp.headers, rq->arena);
	http_send(rq, &rp);
}

void call_serve(struct http_request *rq)
{
	struct worker *w = worker_self();
	struct call *c = arena_zalloc(rq->arena, sizeof(*c));

	if (!c) {
		refuse(rq);
		return;
	}
	coro_set_data(c);
	prepare(c, w, rq);
	crumb_fill(c);
	run_steps(c);
	c->step = STEP_REPLY;
	crumb_step(c);
	/* call_self() must not find what call_reply() frees. */
	coro_set_data(NULL);
	call_reply(c); /* c is gone afterwards: it lives in the request's arena */
	crumb_end(w);
}

uint64_t call_time_left(const struct call *c)
{
	uint64_t now = clock_mono_ms();

	if (c->deadline_ms == 0)
		return UINT64_MAX;
	return now >= c->deadline_ms ? 0 : c->deadline_ms - now;
}

void call_park(struct call *c)
{
	crumb_park(c->w->slot ? &c->w->slot->crumbs[0] : NULL);
}

struct call *call_self(void)
{
	return coro_data();
}

struct sleeper {
	struct loop_timer timer; /* first: fire() gets a pointer to it */
	struct coro *co;
};

static void wake(struct loop_timer *t)
{
	coro_resume(((struct sleeper *)t)->co);
}

int call_sleep(struct call *c, uint64_t ms)
{
	uint64_t left = call_time_left(c);
	struct sleeper s = {.timer = {.fire = wake}, .co = coro_self()};

	loop_timer_set(c->w->loop, &s.timer, ms < left ? ms : left);
	call_park(c);
	if (ms >= left)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
	return 0;
}
