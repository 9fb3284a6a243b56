/* Event messages to struct event: both spellings, server-made ids and times. */
#ifndef INGEST_PARSE_H
#define INGEST_PARSE_H

#include "proto/events/v1/events.pb-c.h"
#include "worker/call/call.h"
#include "worker/ingest/enrich.h"
#include "worker/store/event.h"

/* Fills *ev from events[i] of a message that passed all rules, and completes its properties;
 * strings stay the message's. An event without a time happened at now_ms. 0, or -1 after
 * call_fail(). */
int parse_event(struct call *c, struct enrich *x, const Events__V1__BatchCreateRequest *in,
	size_t i, int64_t now_ms, struct event *ev);
/* The same without a call. `x` NULL, for imports: properties stay as they are, what only the
 * server may say included. NULL, or what is wrong; parse_no_memory at the arena's cap. */
const char *parse_stored(struct arena *a, struct enrich *x, const Events__V1__Event *in,
	int64_t now_ms, struct event *ev);
extern const char parse_no_memory[];

#endif
