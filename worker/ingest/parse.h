/* Event messages to struct event: both spellings, server-made ids and times. */
#ifndef INGEST_PARSE_H
#define INGEST_PARSE_H

#include "proto/events/v1/events.pb-c.h"
#include "worker/call/call.h"
#include "worker/store/event.h"

/* Fills *ev from a message that passed all rules; strings stay the message's. An
 * event without a time happened at now_ms. 0, or -1 after call_fail(). */
int parse_event(struct call *c, const Events__V1__Event *in, int64_t now_ms, struct event *ev);
/* The same without a call; `trusted` keeps what only the server may say, for imports.
 * NULL, or what is wrong; parse_no_memory at the arena's cap. */
const char *parse_stored(struct arena *a, const Events__V1__Event *in, int64_t now_ms, bool trusted,
	struct event *ev);
extern const char parse_no_memory[];

#endif
