/*
 * EventsService: takes events, answers when they are committed (D20-D23).
 */
#include "rpc.h"
#include "shm/base/clock.h"
#include "shm/segment.h"
#include "worker/call/limit.h"
#include "worker/ingest/ingest.h"
#include "worker/ingest/parse.h"
#include "worker/worker.h"

/* Cookieless identity is not built yet; its events are dropped one by one, so that
 * a browser SDK, which starts that way, does not lose its batch (D89). */
static const char no_salt[] = "salt_unavailable";

static int put_dropped(struct call *c, uint32_t n, Events__V1__BatchCreateResponse *out)
{
	Events__V1__BatchCreateResponse__DroppedByReasonEntry *e = call_alloc(c, sizeof(*e));

	out->dropped_by_reason = call_alloc(c, sizeof(e));
	if (!e || !out->dropped_by_reason)
		return -1;
	events__v1__batch_create_response__dropped_by_reason_entry__init(e);
	e->key = call_str(c, STR(no_salt));
	e->has_value = true;
	e->value = n;
	out->dropped_by_reason[0] = e;
	out->n_dropped_by_reason = 1;
	return e->key ? 0 : -1;
}

static void count(struct call *c, uint32_t accepted, uint32_t created, uint32_t dropped)
{
	if (!c->w->seg)
		return;
	counter_add(c->w->seg, c->w->slot_no, CTR_events_accepted, accepted);
	counter_add(c->w->seg, c->w->slot_no, CTR_events_created, created);
	counter_add(c->w->seg, c->w->slot_no, CTR_events_dropped, dropped);
}

int rpc_events_batch_create(struct call *c, const Events__V1__BatchCreateRequest *in,
	Events__V1__BatchCreateResponse *out)
{
	struct event *events = call_alloc(c, (in->n_events + 1) * sizeof(*events));
	struct ingest_batch batch = {
		.project = c->who.project, .events = events, .bytes = c->message.n};
	int64_t now_ms = clock_real_ms();
	struct enrich x;
	uint32_t dropped = 0;

	if (!events)
		return -1;
	enrich_begin(c, &x);
	for (size_t i = 0; i < in->n_events; i++) {
		if (in->events[i]->has_cookieless && in->events[i]->cookieless)
			dropped++;
		else if (parse_event(c, &x, in->events[i], now_ms, &events[batch.n++]) < 0)
			return -1;
	}
	if (in->n_events && limit_events(c, in->n_events) < 0)
		return -1;
	if (batch.n && ingest_submit(c, &batch) < 0)
		return -1;
	out->has_accepted = out->has_dropped = out->has_events_created = true;
	out->accepted = batch.n;
	out->dropped = dropped;
	out->events_created = batch.created;
	count(c, batch.n, batch.created, dropped);
	return dropped ? put_dropped(c, dropped, out) : 0;
}
