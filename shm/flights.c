/*
 * See flights.h. A place's word holds how often it was given out, its owner and the state of
 * the flight; whoever looked at anything else of the place looks at the word again, and what
 * they saw counts if it is the same. All accesses are sequentially consistent: they are few.
 *
 * Joining is a look at the deadline without FLIGHT_FIXED, between two looks at the word. The
 * flight's owner adds that bit before its snapshot is taken, so the snapshot comes later than
 * the look (D21).
 */
#include "shm/flights.h"

#include <string.h>

#include "shm/base/log.h"
#include "shm/segment_priv.h"

enum { UNWANTED_MS = 500 }; /* of who has not looked for so long, nobody takes notice */

static uint64_t word_of(uint64_t count, int slot_no, enum flight_state state)
{
	return count << 16 | (uint64_t)(slot_no + 1) << 8 | (uint64_t)state;
}

static enum flight_state state_of(uint64_t word)
{
	return (enum flight_state)(word & 0xff);
}

static uint64_t count_of(uint64_t word)
{
	return word >> 16;
}

static uint64_t with_state(uint64_t word, enum flight_state state)
{
	return (word & ~(uint64_t)0xff) | (uint64_t)state;
}

static bool is_owned(uint64_t word, int slot_no)
{
	return (word >> 8 & 0xff) == (uint64_t)slot_no + 1;
}

static struct flight_place *place_of(const struct flight_ref *ref)
{
	return &ref->seg->flights[ref->place];
}

static bool is_of(struct flight_place *p, const uint8_t digest[32])
{
	for (int i = 0; i < 4; i++) {
		uint64_t part;

		memcpy(&part, digest + i * 8, 8);
		if (atomic_load(&p->digest[i]) != part)
			return false;
	}
	return true;
}

/* False when it is fixed. If the place is another flight's by now, that one may last longer. */
static bool prolong(_Atomic uint64_t *until, uint64_t want)
{
	uint64_t was = atomic_load(until);

	do
		if (was & FLIGHT_FIXED)
			return false;
	while (want > was && !atomic_compare_exchange_weak(until, &was, want));
	return true;
}

/* Whoever has said that they wait, and then found it open, is noticed at its end. */
bool flights_join(const struct flight_ref *ref, uint64_t until_ms, uint64_t now_ms)
{
	struct flight_place *p = place_of(ref);

	if (atomic_load(&p->word) != ref->word || atomic_load(&p->until_ms) & FLIGHT_FIXED)
		return false;
	atomic_store(&p->wanted_ms, now_ms);
	return prolong(&p->until_ms, until_ms & ~FLIGHT_FIXED) &&
	       atomic_load(&p->word) == ref->word;
}

/* Among the first n places. */
static bool find(struct segment *seg, int n, const uint8_t digest[32], uint64_t until_ms,
	uint64_t now_ms, struct flight_ref *ref)
{
	for (int i = 0; i < n; i++) {
		struct flight_place *p = &seg->flights[i];
		uint64_t word = atomic_load(&p->word);

		if (state_of(word) != FLIGHT_AIRBORNE || !is_of(p, digest))
			continue;
		*ref = (struct flight_ref){seg, i, word};
		if (flights_join(ref, until_ms, now_ms))
			return true;
	}
	return false;
}

/* The first free place, else the one that landed first: those who joined that have mostly taken
 * its result. -1: all are in the air. */
static int choose(struct segment *seg, uint64_t *word)
{
	uint64_t first_ms = UINT64_MAX;
	int best = -1;

	for (int i = 0; i < FLIGHTS_MAX; i++) {
		struct flight_place *p = &seg->flights[i];
		uint64_t is = atomic_load(&p->word), landed_ms;

		if (state_of(is) == FLIGHT_FILLING || state_of(is) == FLIGHT_AIRBORNE)
			continue;
		landed_ms = state_of(is) == FLIGHT_GONE ? 0 : atomic_load(&p->landed_ms);
		if (landed_ms >= first_ms)
			continue;
		best = i;
		*word = is;
		first_ms = landed_ms;
		if (landed_ms == 0)
			break;
	}
	return best;
}

static bool start(
	struct segment *seg, int slot_no, const uint8_t digest[32], struct flight_ref *ref)
{
	struct flight_place *p;
	uint64_t word = 0, next, part;
	int place;

	do {
		place = choose(seg, &word);
		if (place < 0)
			return false;
		p = &seg->flights[place];
		next = word_of(count_of(word) + 1, slot_no, FLIGHT_FILLING);
	} while (!atomic_compare_exchange_strong(&p->word, &word, next));
	for (int i = 0; i < 4; i++) {
		memcpy(&part, digest + i * 8, 8);
		atomic_store(&p->digest[i], part);
	}
	atomic_store(&p->until_ms, 0);
	atomic_store(&p->wanted_ms, 0);
	*ref = (struct flight_ref){seg, place, with_state(next, FLIGHT_AIRBORNE)};
	/* unless the master has taken it for a dead one's */
	return atomic_compare_exchange_strong(&p->word, &next, ref->word);
}

/* Two that start the same at the same time both see it here, and one joins the other. */
enum flight_entry flights_enter(struct segment *seg, int slot_no, const uint8_t digest[32],
	uint64_t until_ms, uint64_t now_ms, struct flight_ref *ref)
{
	struct flight_ref other;

	must(slot_no >= 0 && slot_no < SLOTS_MAX);
	if (find(seg, FLIGHTS_MAX, digest, until_ms, now_ms, ref))
		return FLIGHT_JOINED;
	if (!start(seg, slot_no, digest, ref)) {
		*ref = (struct flight_ref){NULL, 0, 0};
		return FLIGHT_NONE;
	}
	if (!find(seg, ref->place, digest, until_ms, now_ms, &other))
		return FLIGHT_STARTED;
	flights_land(ref, FLIGHT_GONE, now_ms);
	*ref = other;
	return FLIGHT_JOINED;
}

enum flight_state flights_look(const struct flight_ref *ref, uint64_t now_ms)
{
	struct flight_place *p = place_of(ref);
	uint64_t word = atomic_load(&p->word);

	if (with_state(word, FLIGHT_AIRBORNE) != ref->word)
		return FLIGHT_GONE;
	if (word == ref->word)
		atomic_store(&p->wanted_ms, now_ms);
	return state_of(word);
}

unsigned flights_fixed(struct segment *seg, int slot_no, const uint8_t digest[32])
{
	unsigned n = 0;

	for (int i = 0; i < FLIGHTS_MAX; i++) {
		struct flight_place *p = &seg->flights[i];
		uint64_t word = atomic_load(&p->word);

		n += state_of(word) == FLIGHT_AIRBORNE && !is_owned(word, slot_no) &&
		     is_of(p, digest) && atomic_load(&p->until_ms) & FLIGHT_FIXED;
	}
	return n;
}

_Atomic uint64_t *flights_until(const struct flight_ref *ref)
{
	return &place_of(ref)->until_ms;
}

bool flights_lost(const struct flight_ref *ref)
{
	return atomic_load(&place_of(ref)->word) != ref->word;
}

bool flights_joined(const struct flight_ref *ref)
{
	return atomic_load(&place_of(ref)->wanted_ms) > 0;
}

bool flights_wanted(const struct flight_ref *ref, uint64_t now_ms)
{
	uint64_t wanted_ms = atomic_load(&place_of(ref)->wanted_ms);

	return wanted_ms > 0 && wanted_ms + UNWANTED_MS >= now_ms;
}

void flights_land(struct flight_ref *ref, enum flight_state state, uint64_t now_ms)
{
	struct flight_place *p = place_of(ref);
	uint64_t word = ref->word;

	atomic_store(&p->landed_ms, now_ms);
	atomic_compare_exchange_strong(&p->word, &word, with_state(word, state));
	ref->seg = NULL;
}

/* False when it has no flight, or has got another one meanwhile. */
static bool wipe(struct flight_place *p, uint64_t word, int slot_no)
{
	return state_of(word) != FLIGHT_GONE &&
	       atomic_compare_exchange_strong(
		       &p->word, &word, word_of(count_of(word) + 1, slot_no, FLIGHT_GONE));
}

/* What has landed stays: whoever left in order has left a good answer. Those of others go
 * first: who sees that the dead one's is gone, and waited for that, sees that theirs is, too.
 * What another one is filling is theirs still: they would write over whoever got it next, who
 * may have fixed it by then. */
int flights_repair(struct segment *seg, int slot_no, bool wild)
{
	int ended = 0;

	for (int i = 0; wild && i < FLIGHTS_MAX; i++) {
		uint64_t word = atomic_load(&seg->flights[i].word);

		if (!is_owned(word, slot_no) && state_of(word) != FLIGHT_FILLING)
			wipe(&seg->flights[i], word, slot_no);
	}
	for (int i = 0; i < FLIGHTS_MAX; i++) {
		uint64_t word = atomic_load(&seg->flights[i].word);

		if (is_owned(word, slot_no) && (wild || state_of(word) <= FLIGHT_AIRBORNE))
			ended += wipe(&seg->flights[i], word, slot_no);
	}
	return ended;
}
