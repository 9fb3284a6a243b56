/*
 * What remains of a call when it is over: one log line, counters, latency.
 * The line has no bodies, keys, tokens, addresses or query strings; the path of
 * a known method is its canonical name, and of anything else a placeholder,
 * because a mistyped URL may hold a secret.
 */
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "shm/segment.h"
#include "worker/call/access.h"
#include "worker/call/error.h"
#include "worker/worker.h"

static const char *const kinds[] = {
	[WHO_NOBODY] = "-",
	[WHO_CUSTOMER] = "customer",
	[WHO_PUBLIC_KEY] = "pub",
	[WHO_PRIVATE_KEY] = "prv",
};

static const char *who(const struct call *c)
{
	const char *id = c->who.kind == WHO_CUSTOMER ? c->who.customer_id : c->who.key_id;

	return c->who.kind == WHO_NOBODY || !id[0] ? "-" : id;
}

static const char *name(const struct call *c)
{
	if (c->method)
		return c->method->path + 1;
	return str_eq(c->rq->path, STR("/healthz"))  ? "healthz"
	       : str_eq(c->rq->path, STR("/readyz")) ? "readyz"
						     : "unknown";
}

/* The verb comes from the closed list of net/, so it is safe to print. */
static void line(const struct call *c, uint64_t us)
{
	log_info("call verb=%.*s name=%s code=%s status=%d us=%llu in=%zu out=%zu id=%s who=%s:%s",
		STR_ARG(c->rq->method), name(c), c->plain_answer ? "-" : error_code(c->code)->name,
		c->reply.status, (unsigned long long)us, c->bytes_in, c->reply.body.n, c->id,
		kinds[c->who.kind], who(c));
}

/* Asked once per method: the segment's numbering outlives our method table. */
static void count(struct call *c, uint64_t us)
{
	size_t n = (size_t)(c->method - c->w->methods->v);

	if (n >= sizeof(c->w->stat_index) / sizeof(c->w->stat_index[0]))
		return;
	if (c->w->stat_index[n] == 0)
		c->w->stat_index[n] =
			(int16_t)(segment_method_index(c->w->seg, c->method->path + 1) + 2);
	if (c->w->stat_index[n] >= 2)
		stat_call(c->w->seg, c->w->slot_no, (unsigned)c->w->stat_index[n] - 2,
			(unsigned)c->code, us);
}

void access_log(struct call *c)
{
	uint64_t us = (clock_mono_ns() - c->rq->start_ns) / 1000;
	bool health = !c->method && c->plain_answer && c->reply.status == 200;

	if (c->method && c->w->seg)
		count(c, us);
	/* A load balancer's health checks would drown the rest. */
	if (c->w->opt->access_log && !health)
		line(c, us);
}
