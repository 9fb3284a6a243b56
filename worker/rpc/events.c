/*
 * EventsService: takes events, answers when they are committed (D20-D23).
 */
#include "rpc.h"
#include "shm/base/clock.h"
#include "shm/segment.h"
#include "worker/call/limit.h"
#include "worker/ingest/catalog.h"
#include "worker/ingest/cookieless.h"
#include "worker/ingest/ingest.h"
#include "worker/ingest/parse.h"
#include "worker/worker.h"

static int put_dropped(
	struct call *c, const uint32_t dropped[DROPS], Events__V1__BatchCreateResponse *out)
{
	Events__V1__BatchCreateResponse__DroppedByReasonEntry *e;

	out->dropped_by_reason = call_alloc(c, DROPS * sizeof(e));
	if (!out->dropped_by_reason)
		return -1;
	for (int why = 0; why < DROPS; why++) {
		if (dropped[why] == 0)
			continue;
		e = call_alloc(c, sizeof(*e));
		if (!e)
			return -1;
		events__v1__batch_create_response__dropped_by_reason_entry__init(e);
		e->key = call_str(c, str_of(drop_tokens[why]));
		e->has_value = true;
		e->value = dropped[why];
		if (!e->key)
			return -1;
		out->dropped_by_reason[out->n_dropped_by_reason++] = e;
	}
	return 0;
}

static void count(struct call *c, uint32_t accepted, uint32_t created, uint32_t dropped)
{
	if (!c->w->seg)
		return;
	counter_add(c->w->seg, c->w->slot_no, CTR_events_accepted, accepted);
	counter_add(c->w->seg, c->w->slot_no, CTR_events_created, created);
	counter_add(c->w->seg, c->w->slot_no, CTR_events_dropped, dropped);
}

/* All events are read before any is charged, as one bad one refuses the batch (D22), and names are
 * admitted before the claim and settled whatever became of it (ingest/catalog.h). accepted counts
 * retries, too (D20). */
int rpc_events_batch_create(struct call *c, const Events__V1__BatchCreateRequest *in,
	Events__V1__BatchCreateResponse *out)
{
	struct event *events = call_alloc(c, (in->n_events + 1) * sizeof(*events));
	struct ingest_batch batch = {
		.project = c->who.project, .events = events, .bytes = c->message.n};
	int64_t now_ms = clock_real_ms();
	uint32_t dropped[DROPS] = {0};
	struct enrich x;
	struct catalog_new names;
	bool stored;

	if (!events)
		return -1;
	enrich_begin(c, &x, in->n_events);
	for (size_t i = 0; i < in->n_events; i++)
		if (parse_event(c, &x, in, i, now_ms, &events[batch.n++]) < 0)
			return -1;
	if (in->n_events && limit_events(c, in->n_events) < 0)
		return -1;
	/* with what parsing took, which was part of the estimate, before the call first waits */
	http_reserved(c->rq);
	if (catalog_admit(c, in, events, batch.n, &names) < 0)
		return -1;
	stored = cookieless_resolve(c, events, &batch.n, dropped) == 0 &&
		 (batch.n == 0 || ingest_submit(c, &batch) == 0);
	catalog_settle(c, &names, !stored, batch.created, (uint32_t)in->n_events);
	if (!stored)
		return -1;
	out->has_accepted = out->has_dropped = out->has_events_created = true;
	dropped[DROP_EXPIRED] = batch.expired;
	out->accepted = batch.n - batch.expired;
	out->dropped = (uint32_t)in->n_events - out->accepted;
	out->events_created = batch.created;
	count(c, out->accepted, batch.created, out->dropped);
	return out->dropped ? put_dropped(c, dropped, out) : 0;
}
