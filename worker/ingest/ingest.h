/*
 * Group commit: the events of all calls that wait at the same moment go to
 * PostgreSQL as one statement and one fsync. An idle worker adds no delay; a busy
 * one commits what gathered while the last commit was under way.
 */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include "worker/call/call.h"
#include "worker/store/event.h"

struct ingest;
struct worker;

/* NULL without memory. */
struct ingest *ingest_new(struct worker *w);
void ingest_free(struct ingest *in);

/* The events of one call; all of one project. */
struct ingest_batch {
	int32_t project;
	const struct event *events;
	uint32_t n;
	size_t bytes;     /* about how much they take */
	uint32_t created; /* out: newly stored; the others were known or too old */
	uint32_t expired; /* out: older than the project's retention, not stored (D20) */
};

/* Parks until the events are committed. 0, or -1 after call_fail(): then it is not
 * known whether they are, and the client sends them again with the same ids. */
int ingest_submit(struct call *c, struct ingest_batch *b);

#endif
