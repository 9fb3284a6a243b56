/*
 * Links to shared dashboards: a token of 256 random bits, found by its SHA-256. Get shows
 * it again, so it is kept, sealed and bound to its dashboard.
 */
#ifndef RPC_SHARE_H
#define RPC_SHARE_H

#include "worker/call/call.h"

enum { SHARE_TEXT = 64 /* lower-case hex */, SHARE_HASH = 32 };

struct share {
	uint8_t hash[SHARE_HASH];
	struct str sealed;
};

/* A new token for a dashboard. 0, or -1 after call_fail(). */
int share_make(struct call *c, struct str dashboard, struct share *out);
/* The token; NULL when no key of ours opens it (told in the log), which leaves the
 * dashboard without a link that could be shown. */
char *share_text(struct call *c, struct str dashboard, struct str sealed);
void share_hash(struct str text, uint8_t out[SHARE_HASH]);

#endif
