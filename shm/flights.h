/*
 * Questions that are being answered now, so that an identical one is answered once on this
 * host (D40), whichever worker it came to. Whoever finds a flight may join it until its
 * snapshot is fixed, for then what they know to be committed will be in it (D21). The answer
 * itself goes through the column cache (colcache.h).
 *
 * Nothing here is needed for anything to be right: who joined waits by looking again and
 * again, and asks anew when the flight is gone, be it that its process died, that its answer
 * was not kept, or that its place was given to another one.
 */
#ifndef SHM_FLIGHTS_H
#define SHM_FLIGHTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct segment;

enum { FLIGHTS_MAX = 256 }; /* others are known to their own workers only */

/* In the deadline of a flight: its snapshot is fixed, nobody joins any more. */
#define FLIGHT_FIXED ((uint64_t)1 << 63)

/* A flight as somebody knows it who started or joined it. */
struct flight_ref {
	struct segment *seg; /* NULL: none */
	int place;
	uint64_t word; /* what its place says while it is in the air */
};

enum flight_state {
	FLIGHT_GONE, /* without a result: ask anew. The first, because free places are zeros */
	FLIGHT_FILLING,
	FLIGHT_AIRBORNE,
	FLIGHT_ANSWERED,
	FLIGHT_UNSHARED, /* what came of it cannot be handed over: ask anew, and alone */
	/* failures that took long to find out */
	FLIGHT_NO_MEMORY,
	FLIGHT_NO_TIME
};

enum flight_entry { FLIGHT_NONE, FLIGHT_JOINED, FLIGHT_STARTED };

/* Times are CLOCK_MONOTONIC in ms. A digest (32 bytes) is of the question and of everything
 * else that the answer depends on but the events. */

/* Joins a flight of this question, which will last until until_ms at least, within its own
 * budget; or starts one that others may join from now on. FLIGHT_NONE: all places are taken. */
enum flight_entry flights_enter(struct segment *seg, int slot_no, const uint8_t digest[32],
	uint64_t until_ms, uint64_t now_ms, struct flight_ref *ref);
/* The same for one more who waits beside who joined it. False: it is too late. */
bool flights_join(const struct flight_ref *ref, uint64_t until_ms, uint64_t now_ms);
/* What became of what one has joined; says that somebody still waits for it. */
enum flight_state flights_look(const struct flight_ref *ref, uint64_t now_ms);
/* How many flights of this question have their snapshots, but for those of slot_no. */
unsigned flights_fixed(struct segment *seg, int slot_no, const uint8_t digest[32]);

/* For who started it. */

/* Its deadline, which those who join raise; to be read by adding FLIGHT_FIXED. */
_Atomic uint64_t *flights_until(const struct flight_ref *ref);
/* Whether its place was taken away: those who joined it ask anew. */
bool flights_lost(const struct flight_ref *ref);
/* Whether others have ever joined it. */
bool flights_joined(const struct flight_ref *ref);
/* Whether any of them waits still. */
bool flights_wanted(const struct flight_ref *ref, uint64_t now_ms);
/* Its end: state says with what; an answer was put where who joined will look. They can have
 * it until FLIGHTS_MAX others have landed. */
void flights_land(struct flight_ref *ref, enum flight_state state, uint64_t now_ms);

/* The master's, after the end of slot_no and before that is given out again. `wild`: it may
 * have written anywhere, nothing from before is believed. Returns how many have ended so. */
int flights_repair(struct segment *seg, int slot_no, bool wild);

#endif
