/* The breadcrumb: who is working on what, for the obituary of a worker that
 * died of it (D92). Written on entering code on behalf of a call, cleared on
 * return to the loop. */
#ifndef CALL_CRUMB_H
#define CALL_CRUMB_H

#include "worker/call/call.h"

/* All of what c is doing. */
void crumb_fill(const struct call *c);
/* Only the step changed. */
void crumb_step(const struct call *c);
/* The call is over. */
void crumb_end(const struct worker *w);
/* Hash of the request line and all headers but those that differ on a retry. */
uint64_t crumb_head(const struct http_request *rq);
/* Fails the call when its fingerprint is quarantined; 0 or -1. To be asked
 * whenever method, principal or body became known. */
int crumb_quarantine(struct call *c);

#endif
