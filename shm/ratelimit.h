/*
 * GCRA rate limits (D8, D83): one 64-bit word per bucket (tag + theoretical
 * arrival time on the boot clock), admitted by one CAS. Nothing to tear, no
 * owner, survives any death. Set-associative; a full set shares its oldest.
 */
#ifndef SHM_RATELIMIT_H
#define SHM_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct segment;

struct limit {
	uint64_t rate;  /* units per second * 1000 (so that per-minute limits fit); 0 = unlimited */
	uint64_t burst; /* units that may come at once */
};

struct limit_state {
	uint64_t remaining; /* whole units that would be admitted now */
	uint64_t reset_ms;  /* until the bucket is full again */
	uint64_t retry_ms;  /* when refused: until `cost` would be admitted */
};

/* Charges cost units to the bucket `hash`. False when over the limit: then nothing is charged. */
bool ratelimit_take(struct segment *seg, uint64_t hash, struct limit lim, uint64_t cost,
	struct limit_state *state);
/* Undoes a ratelimit_take of the same hash, limit and cost. */
void ratelimit_give(struct segment *seg, uint64_t hash, struct limit lim, uint64_t cost);
/* As ratelimit_take but charges nothing (sign-in failures are charged afterwards). */
bool ratelimit_peek(struct segment *seg, uint64_t hash, struct limit lim, uint64_t cost,
	struct limit_state *state);

#endif
