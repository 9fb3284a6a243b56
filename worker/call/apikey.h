/* Looking up API keys: see apikey.c. */
#ifndef CALL_APIKEY_H
#define CALL_APIKEY_H

#include "shm/keycache.h"
#include "worker/call/call.h"

/* True for pub_ or prv_ and 40 lower-case hex digits (D4). */
bool apikey_formed(struct str key);
/* What the key gives access to. 0, or -1 with the call failed: unauthenticated
 * for an unknown key, unavailable when PostgreSQL could not be asked. */
int apikey_find(struct call *c, struct str key, struct key_entry *out);

#endif
