/* A person as clients see them, and a page of persons (events-profiles.md 5.2-5.5). */
#ifndef RPC_PROFILE_H
#define RPC_PROFILE_H

#include "proto/profiles/v1/profiles.pb-c.h"
#include "worker/insights/persons.h"
#include "worker/call/call.h"

enum { PROFILE_TEXTS = 8 };

/* What events say of one person; in the call's arena. */
struct profile_events {
	struct person sums;
	struct str texts[PROFILE_TEXTS]; /* browser ... city */
};

/* The row of an identified person. */
struct profile_row {
	struct str id, external_id, properties; /* JSON */
	int64_t create_us, update_us;
};

/* Somebody on a page. */
struct profile_listed {
	int64_t us;     /* place in the order */
	struct str key; /* profile id or distinct_id */
	bool profile;
	struct profile_events events;
};

struct profile_page {
	struct profile_listed *v;
	uint32_t n;
	bool more; /* somebody follows */
};

/* Where a page begins: after this person. */
struct profile_cursor {
	bool set;
	int64_t us;
	size_t n;
	/* the longest distinct_id (D23) */
	char key[512];
};

struct profile_query {
	Profiles__V1__FilterGroup *const *groups;
	size_t n_groups;
	bool any;
};

/* Scans for the events of one person, whose distinct_ids these are. 0, or -1 after
 * call_fail(). */
int profile_events_of(struct call *c, const struct str *ids, size_t n, struct profile_events *out);
/* Scans for who comes next and then for their events; everything in the call's arena. */
int profile_next(struct call *c, const struct profile_query *q, const struct profile_cursor *after,
	uint32_t want, struct profile_page *out);
/* Traits as a message, from their JSON; NULL after call_fail(). */
Google__Protobuf__Struct *profile_traits(struct call *c, struct str json);
/* Fills in a message; row == NULL: anonymous, with that id. */
int profile_message(struct call *c, const struct profile_row *row, struct str id,
	const struct profile_events *events, Profiles__V1__Profile *out);

#endif
