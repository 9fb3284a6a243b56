/* Breadcrumbs and the quarantine question: see crumb.h. */
#include <stdio.h>
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/segment.h"
#include "worker/call/crumb.h"
#include "worker/worker.h"

static uint32_t method_number(const struct call *c)
{
	return c->method ? (uint32_t)(c->method - c->w->methods->v) + 1 : 0;
}

/* Both fall back to what is known earlier. So a death in an early step leaves the fingerprint that
 * the same step of a retry asks for. */
static uint64_t principal(const struct call *c)
{
	return c->who.hash ? c->who.hash : c->network_hash;
}

static uint64_t body(const struct call *c)
{
	return c->body_hash ? c->body_hash : c->head_hash;
}

/* The first is the loop's; offload.c copies it to that of the thread that works for the call. */
static struct crumb *mine(const struct worker *w)
{
	return w->slot ? &w->slot->crumbs[0] : NULL;
}

/* The master reads the crumb only after our death, so program order within this
 * thread is all that is needed: busy goes down first and up last. */
void crumb_fill(const struct call *c)
{
	struct crumb *k = mine(c->w);

	if (!k)
		return;
	crumb_end(c->w);
	k->step = c->step;
	k->method = method_number(c);
	k->principal = principal(c);
	k->body = body(c);
	k->start_ms = c->rq ? c->rq->start_ns / 1000000 : clock_mono_ms();
	/* An id that the client chose may be longer (D51), and is cut. */
	snprintf(k->call_id, sizeof(k->call_id), "%.39s", c->id);
	snprintf(k->method_name, sizeof(k->method_name), "%.63s",
		c->method ? c->method->path + 1 : "");
	atomic_store_explicit(&k->busy, 1, memory_order_release);
}

void crumb_end(const struct worker *w)
{
	if (mine(w))
		atomic_store_explicit(&mine(w)->busy, 0, memory_order_release);
}

void crumb_step(const struct call *c)
{
	if (mine(c->w))
		mine(c->w)->step = c->step;
}

uint64_t crumb_head(const struct http_request *rq)
{
	uint64_t h = hash_64(rq->target.p, rq->target.n);

	for (unsigned i = 0; i < rq->n_headers; i++) {
		const struct http_header *hd = &rq->headers[i];
		uint64_t part[3] = {
			h, hash_64(hd->name.p, hd->name.n), hash_64(hd->value.p, hd->value.n)};

		if (str_case_eq(hd->name, STR("x-request-id")) ||
			str_case_eq(hd->name, STR("traceparent")))
			continue;
		h = hash_64(part, sizeof(part));
	}
	return h | 1; /* 0 means "not known" */
}

int crumb_quarantine(struct call *c)
{
	struct segment *seg = c->w->seg;
	uint64_t print;

	if (!seg)
		return 0;
	print = quarantine_fingerprint(method_number(c), principal(c), body(c));
	if (!quarantine_has(seg, print, clock_mono_ms()))
		return 0;
	counter_add(seg, c->w->slot_no, CTR_quarantined, 1);
	c->retry_ms = 60000;
	return call_fail(c, CODE_UNAVAILABLE, NULL,
		"this request made the server fail and is refused for some minutes");
}
