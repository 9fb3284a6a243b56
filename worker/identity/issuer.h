/*
 * An issuer's documents, cached for the worker's life. All of it belongs to the loop's
 * thread: calls park while one coroutine has a thread fetch, so no lock is needed and a
 * provider that hangs takes one thread, not all of them.
 */
#ifndef IDENTITY_ISSUER_H
#define IDENTITY_ISSUER_H

#include "worker/call/call.h"
#include "worker/identity/discovery.h"

struct issuer;

/* `url` must outlive it. NULL without memory. */
struct issuer *issuer_new(struct worker *w, const char *url);
void issuer_free(struct issuer *is);
/* The documents, fetched when they are missing or too old, waiting for a fetch that is
 * under way. While the issuer is down they are used for a day more. They may be gone
 * after the next parking. NULL after call_fail(): `unavailable`. */
const struct discovery *issuer_get(struct call *c, struct issuer *is);
/* The same, fetched anew because a key was missing, at most once in 10 s: else what
 * there is. */
const struct discovery *issuer_get_newer(struct call *c, struct issuer *is);

#endif
