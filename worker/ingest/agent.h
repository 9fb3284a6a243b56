/* What a user agent says about browser, system and device (events-profiles.md 1.11). */
#ifndef INGEST_AGENT_H
#define INGEST_AGENT_H

#include "shm/base/arena.h"

struct agents; /* of a worker: the rules, and what they said lately */

struct agent {
	struct str browser, browser_version, os, os_version, device; /* "" unknown */
	bool known;                                                  /* one of them is not "" */
	bool mobile;
};

/* NULL without memory. */
struct agents *agents_new(void);
void agents_free(struct agents *g);
/* Strings are in `a`. Everything is unknown at the arena's cap. */
struct agent agents_look_up(struct agents *g, struct arena *a, struct str user_agent);

#endif
