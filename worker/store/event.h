/*
 * One event on its way into a segment: what ingestion made of the message, with
 * all rules checked. Strings point into the call's arena.
 */
#ifndef STORE_EVENT_H
#define STORE_EVENT_H

#include "worker/store/value.h"

struct prop {
	struct str key;
	enum prop_scope scope;
	struct value value;
};

struct event {
	uint8_t id[16];
	uint8_t session[16];
	bool has_session;
	bool cookieless;
	int64_t time_ms;
	struct str kind, distinct_id;
	const struct prop *props; /* a key given twice: the last one counts */
	uint32_t n_props;
	/* Per property, 1: it has no column, so that feeds show it and filters do not see it (D82);
	 * NULL: all have one, as long as the segment has room. */
	const uint8_t *excess;
};

#endif
