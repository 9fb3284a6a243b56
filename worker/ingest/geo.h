/*
 * Where a client is: from headers of a trusted proxy, or from a local database by its
 * address (D24). The address itself goes nowhere.
 */
#ifndef INGEST_GEO_H
#define INGEST_GEO_H

#include "worker/call/call.h"
#include "worker/ingest/autokey.h"
#include "worker/store/value.h"

struct geo; /* of a worker */
struct options;

enum { GEO_ERROR = 256, GEO_FACTS = 11 };

/* What is known about the client of a call. */
struct geo_facts {
	struct {
		enum auto_key key;
		struct value value;
	} v[GEO_FACTS];
	unsigned n;
};

/* Reads geo_headers and opens geo_database. NULL with a text in `error` when either
 * cannot be used. */
struct geo *geo_new(const struct options *opt, char error[GEO_ERROR]);
void geo_free(struct geo *g);
/* Strings are in the call's arena. */
void geo_look_up(const struct geo *g, struct call *c, struct geo_facts *out);

#endif
