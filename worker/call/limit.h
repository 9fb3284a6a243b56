/* Rate limits beyond the one that call_limit() charges per call: see limit.c. */
#ifndef CALL_LIMIT_H
#define CALL_LIMIT_H

#include "worker/call/call.h"

/* n events of the call's project. 0, or -1 with the call failed. */
int limit_events(struct call *c, uint64_t n);
/* Failed sign-ins of one account: check before the password is looked at (so
 * that a guesser learns nothing more), charge after it was wrong. */
int limit_signin_check(struct call *c, struct str email);
void limit_signin_charge(struct call *c, struct str email);
/* RateLimit-Policy and RateLimit lines for what the call was charged to. */
void limit_headers(const struct call *c, struct buf *out);

#endif
