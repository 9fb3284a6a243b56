/* Which channel brought a visit: the table of events-profiles.md 1.13. */
#ifndef INGEST_CHANNEL_H
#define INGEST_CHANNEL_H

#include "shm/base/str.h"

struct channel_signals {
	struct str source, medium; /* utm_source and utm_medium in lower case, "" without */
	struct str referrer;       /* domain of the referrer, "" without or when it is the site */
	bool tagged;               /* any of the five UTM values is there */
	bool unresolved;           /* there is a referrer that names no host */
};

/* Never empty. */
struct str channel_of(const struct channel_signals *s);

#endif
