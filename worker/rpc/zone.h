/* Reporting time zones as projects store them: "" is UTC (auth.md 5.2). */
#ifndef RPC_ZONE_H
#define RPC_ZONE_H

#include "worker/call/call.h"

/* For new accounts and projects: an unknown zone becomes UTC. NULL is UTC. */
struct str zone_or_utc(const char *name);
/* For an update: 0 and the stored form in *out, or -1 after call_fail(). */
int zone_checked(struct call *c, const char *name, struct str *out);

#endif
