/*
 * Who a cookieless event is from: a pseudonym of the day and a session, made from
 * the client's address and user agent and a salt that is destroyed
 * (events-profiles.md 1.14). Per host (D83).
 */
#ifndef INGEST_COOKIELESS_H
#define INGEST_COOKIELESS_H

#include "shm/visitors.h"
#include "worker/call/call.h"
#include "worker/store/event.h"

/* Why an event is dropped while its batch is accepted (D22). */
/* The last one by the claim (D20), the others here. */
enum drop { DROP_DAY, DROP_SALT_UNAVAILABLE, DROP_SALT_CORRUPT, DROP_EXPIRED, DROPS };
/* As in dropped_by_reason. */
extern const char *const drop_tokens[DROPS];

/*
 * Gives the cookieless ones of events[0..*n) their distinct_id and session, in the order
 * of the request, and takes out those that are dropped, which are counted in `dropped`.
 * May park for some milliseconds. 0, or -1 after call_fail(): without a user agent or an
 * address the whole batch is COOKIELESS_IDENTITY_UNAVAILABLE.
 *
 * A repeated event is given an identity again, but not stored: the first one counts (D20).
 * Nor does it move its visit, which is at least as new since the event came first.
 */
int cookieless_resolve(struct call *c, struct event *events, uint32_t *n, uint32_t dropped[DROPS]);

/* The parts, for their test vectors. */
enum { COOKIELESS_ID_BYTES = 11 + 22 + 1, ADDRESS_TEXT_BYTES = 46 };

/* An address (IPv6 or v4-mapped) as it enters the key: whole, without zone; false: none. */
bool cookieless_address(const uint8_t addr[16], char text[ADDRESS_TEXT_BYTES]);
/* HMAC-SHA256(salt, project 00 address 00 agent), its first half. -1 after call_fail(). */
int cookieless_key(struct call *c, const uint8_t salt[SALT_BYTES], struct str project,
	struct str address, struct str agent, uint8_t key[VISITOR_KEY_BYTES]);
void cookieless_id(const uint8_t key[VISITOR_KEY_BYTES], char id[COOKIELESS_ID_BYTES]);
/* The session when there is no room for a visit: one a day. */
void cookieless_fallback(struct str id, int64_t time_ms, uint8_t session[16]);
/* The session of an event that is older than the visit: one for each half hour. */
void cookieless_stale(struct str id, int64_t time_ms, uint8_t session[16]);

#endif
