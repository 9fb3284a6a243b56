/*
 * What the server adds to a client's events, and what it takes away, in the order of
 * events-profiles.md 1.9: place, user agent, bots, attribution.
 */
#ifndef INGEST_ENRICH_H
#define INGEST_ENRICH_H

#include "worker/ingest/agent.h"
#include "worker/ingest/attribution.h"
#include "worker/ingest/geo.h"

struct enricher; /* of a worker: rules, answers, database */

/* 0, or the status to exit with: settings that cannot be used are refused (logged). */
int enricher_start(struct worker *w);
void enricher_free(struct enricher *e);
/* False with a text in `error` when the settings cannot be used. */
bool enricher_check(const struct options *opt, char error[GEO_ERROR]);

enum { ENRICH_SEEN = 256 };

/* What a property of the message became. Messages share equal ones (proto/wire_read.c). */
struct enrich_seen {
	const void *entry;
	struct prop prop;
};

/* Of one call: what is the same for all of its events. */
struct enrich {
	struct geo_facts place;
	struct agent agent;
	struct attribution attribution;
	/* for parse.c */
	struct prop *room; /* in which events are completed, one after the other */
	size_t n_room;
	struct enrich_seen *seen; /* ENRICH_SEEN, by address; NULL: not worth it */
};

void enrich_begin(struct call *c, struct enrich *x, size_t n_events);
/* Completes the n properties of one event; v has room for ENRICH_ROOM more. Returns how
 * many there are. Allocates from the call's arena. */
enum { ENRICH_ROOM = AUTO_COUNT };
uint32_t enrich_props(struct enrich *x, struct prop *v, uint32_t n);

#endif
