/*
 * A user agent against the rules of uap-core: the first rule of each list that fits
 * (events-profiles.md 1.11). What it costs depends on the text, so it is bounded: 1 KiB
 * of it, and steps per expression (D90).
 */
#ifndef INGEST_AGENT_MATCH_H
#define INGEST_AGENT_MATCH_H

#include "shm/base/arena.h"
#include "worker/ingest/agent_rules.h"

struct agent_match;

/* NULL without memory. */
struct agent_match *agent_match_new(void);
void agent_match_free(struct agent_match *m);
/* out[0] is the family, then major, minor and patch; "" where there is none. False, and
 * all "", when no rule fits. Strings are in `a`; their bytes are the user agent's. */
bool agent_match(struct agent_match *m, struct arena *a, enum agent_list list, struct str agent,
	struct str out[AGENT_OUTPUTS]);
/* Finds which rules can match at all; before agent_match(), once per user agent. */
void agent_match_start(struct agent_match *m, struct str agent);
/* Compiles every rule; the number of those that cannot be. For tests. */
unsigned agent_match_check(struct agent_match *m);
/* How often a bound on steps was met. */
unsigned agent_match_cut(const struct agent_match *m);

#endif
