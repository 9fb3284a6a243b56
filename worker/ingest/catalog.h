/*
 * Limits on what a project's events may be called (D82): public keys are public, so what
 * anybody can make up is bounded. An event of a kind too many refuses its call; a key too
 * many has no column, so that feeds show it and filters do not see it. What is known to fit
 * costs no statement (known.h).
 */
#ifndef INGEST_CATALOG_H
#define INGEST_CATALOG_H

#include "proto/events/v1/events.pb-c.h"
#include "worker/call/call.h"
#include "worker/store/event.h"

/* Of each project. Custom keys and automatic ones that the server does not know have a limit
 * each, the latter so that nobody uses them instead. */
enum { CATALOG_KINDS_MAX = 2000, CATALOG_KEYS_MAX = 5000 };

/* What a call has brought into the catalogue; in its arena. */
struct catalog_new {
	int32_t *list;
	struct str *name;
	int n;
};

/*
 * Admits the names of events[0..n), made of the call's messages one for one; marks properties
 * without room in event->excess. May park for a statement of its own, before the events are
 * claimed: a name too many does no harm. 0, or -1 after call_fail(), then the catalogue is as
 * before.
 */
int catalog_admit(struct call *c, const Events__V1__BatchCreateRequest *in, struct event *events,
	uint32_t n, struct catalog_new *new);
/* Afterwards: `created` of the n events were stored, or it `failed` and nobody knows. Names
 * that no event has are withdrawn at once, or the keeper looks for them; an erased person's
 * event that is sent again (D20) must not leave any. What fails here is found within the hour. */
void catalog_settle(
	struct call *c, const struct catalog_new *new, bool failed, uint32_t created, uint32_t n);

#endif
