/*
 * A flight's part in those of all workers on this host (shm/flights.h): its question's digest,
 * and the way of an answer from one worker to others.
 */
#ifndef RPC_INSIGHT_SHARE_H
#define RPC_INSIGHT_SHARE_H

#include "shm/base/arena.h"
#include "shm/flights.h"
#include "worker/worker.h"

struct insight_share {
	struct worker *w; /* NULL: known to this worker only */
	uint8_t digest[32];
	struct flight_ref ref;
	bool joined; /* another worker's; else this one's own */
};

/* Whether answers can be handed over at all. `question`: whatever the answer depends on but the
 * events and this generation's settings. */
void insight_share_init(struct insight_share *sh, struct worker *w, struct str question);
/* Joins another worker's flight or makes this one known to them. `alone`: neither. */
void insight_share_enter(struct insight_share *sh, bool alone, uint64_t until_ms);
/* Whether another caller may have the answer of what was joined. */
bool insight_share_join(const struct insight_share *sh, uint64_t until_ms);
/* What was joined is of no more interest. */
void insight_share_leave(struct insight_share *sh);
/* How many other workers answer the same now, from snapshots that they have. */
unsigned insight_share_others(const struct insight_share *sh);
/* Whether this one is no longer known to other workers. */
bool insight_share_lost(const struct insight_share *sh);
/* Whether another worker waits for this one. */
bool insight_share_wanted(const struct insight_share *sh);
/* Whether this one's answer has to be packed for insight_share_land(). */
bool insight_share_due(const struct insight_share *sh);
/* The end of this one; FLIGHT_ANSWERED with the packed answer. */
void insight_share_land(struct insight_share *sh, enum flight_state state, struct str packed);
/* What became of what was joined. */
enum flight_state insight_share_look(const struct insight_share *sh);
/* The packed answer of FLIGHT_ANSWERED; p is NULL when it is no longer there, or a->over. */
struct str insight_share_take(const struct insight_share *sh, struct arena *a);

#endif
