/* Rate limits beyond the one that call_limit() charges per call: see limit.c. */
#ifndef CALL_LIMIT_H
#define CALL_LIMIT_H

#include "worker/call/call.h"

/* n events of the call's project. 0, or -1 with the call failed. */
int limit_events(struct call *c, uint64_t n);
/* The person of the call. By authn, before it asks the database: a call that is
 * refused there costs as much as one that is not. 0, or -1 with the call failed. */
int limit_customer(struct call *c);
/* Failed sign-ins of one account: check before the password is looked at, and
 * again before its answer is told; charge when it was wrong. Guesses that are
 * made at once are then counted like others: beyond the limit a guesser learns
 * nothing. 0, or -1 with the call failed. */
int limit_signin_check(struct call *c, struct str email);
int limit_signin_charge(struct call *c, struct str email);
/* One sign-in link to an address, known or not: so that nobody's mailbox is flooded.
 * 0, or -1 with the call failed. */
int limit_link(struct call *c, struct str email);
/* Look-ups of unknown API keys by one address: taken before the database is
 * asked, given back when it knew the key. 0, or -1 with the call failed. */
int limit_guess_take(struct call *c);
void limit_guess_give(struct call *c);
/* RateLimit-Policy and RateLimit lines for what the call was charged to. */
void limit_headers(const struct call *c, struct buf *out);

#endif
