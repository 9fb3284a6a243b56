/* Where a provider sends browsers back to (auth.md 12). */
#ifndef IDENTITY_REDIRECT_H
#define IDENTITY_REDIRECT_H

#include "shm/base/str.h"

/* https://HOST[:PORT]/oauth/callback, and nothing else in it; http:// only on localhost,
 * 127.0.0.1 and [::1]. */
bool redirect_ok(struct str uri);
/* Whether a valid one is on the page's own origin (an Origin header). */
bool redirect_same_origin(struct str uri, struct str origin);

#endif
