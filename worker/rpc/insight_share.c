/* See insight_share.h. Answers are handed over in the column cache, which is where this host
 * has shared memory for insights, and which may lose them at any time. */
#include "worker/rpc/insight_share.h"

#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/colcache.h"
#include "shm/options.h"

/* For each use anew: after a process has died the cache is of another epoch, and a flight may
 * last longer than one. */
static void open_cache(const struct worker *w, struct colcache *cache)
{
	colcache_open(cache, w->seg, w->slot_no, (uint64_t)w->opt->insight_cache);
}

/* Without a cache an answer could not be handed over, so nobody is told of the question. */
void insight_share_init(struct insight_share *sh, struct worker *w, struct str question)
{
	struct colcache cache = {.ring = 0};

	*sh = (struct insight_share){.w = NULL};
	if (w->seg && question.p)
		open_cache(w, &cache);
	if (cache.ring == 0)
		return;
	sh->w = w;
	hash_sha256(question.p, question.n, sh->digest);
}

void insight_share_leave(struct insight_share *sh)
{
	sh->joined = false;
	sh->ref.seg = NULL;
}

void insight_share_enter(struct insight_share *sh, bool alone, uint64_t until_ms)
{
	struct worker *w = sh->w;

	insight_share_leave(sh);
	if (w && !alone)
		/* FLIGHT_NONE leaves ref.seg NULL: all places are taken, it is known here only */
		sh->joined = flights_enter(w->seg, w->slot_no, sh->digest, until_ms,
				     clock_mono_ms(), &sh->ref) == FLIGHT_JOINED;
}

bool insight_share_join(const struct insight_share *sh, uint64_t until_ms)
{
	return flights_join(&sh->ref, until_ms, clock_mono_ms());
}

unsigned insight_share_others(const struct insight_share *sh)
{
	return sh->w ? flights_fixed(sh->w->seg, sh->w->slot_no, sh->digest) : 0;
}

static bool is_leading(const struct insight_share *sh)
{
	return sh->ref.seg && !sh->joined;
}

bool insight_share_lost(const struct insight_share *sh)
{
	return is_leading(sh) && flights_lost(&sh->ref);
}

bool insight_share_wanted(const struct insight_share *sh)
{
	return is_leading(sh) && flights_wanted(&sh->ref, clock_mono_ms());
}

bool insight_share_due(const struct insight_share *sh)
{
	return is_leading(sh) && flights_joined(&sh->ref);
}

/* ---- the answer ---- */

/* No two flights have the same: a place counts those that it was given to. Hashed as bytes: the
 * struct must have no padding. */
static struct colcache_key key_of(const struct insight_share *sh, const struct colcache *cache)
{
	struct {
		char what[8];
		uint64_t place;
		uint8_t digest[32];
	} is = {.what = "answer", .place = (uint64_t)sh->ref.place};

	memcpy(is.digest, sh->digest, sizeof(is.digest));
	return (struct colcache_key){sh->ref.word, colcache_hash(cache, &is, sizeof(is))};
}

/* The answer is put before the state says so, because who joined takes it as soon as they see
 * that. Of one that ran the snapshot is fixed, so nobody joins any more; if nobody has, FLIGHT_GONE
 * frees the place at once. */
void insight_share_land(struct insight_share *sh, enum flight_state state, struct str packed)
{
	struct colcache cache;

	if (!is_leading(sh))
		return;
	open_cache(sh->w, &cache);
	if (!flights_joined(&sh->ref))
		state = FLIGHT_GONE;
	else if (state == FLIGHT_ANSWERED &&
		 (cache.ring == 0 || !colcache_put(&cache, key_of(sh, &cache), packed)))
		state = FLIGHT_UNSHARED;
	flights_land(&sh->ref, state, clock_mono_ms());
}

enum flight_state insight_share_look(const struct insight_share *sh)
{
	return flights_look(&sh->ref, clock_mono_ms());
}

struct str insight_share_take(const struct insight_share *sh, struct arena *a)
{
	struct colcache_place place;
	struct colcache cache;
	char *bytes;

	open_cache(sh->w, &cache);
	if (cache.ring == 0 || !colcache_find(&cache, key_of(sh, &cache), &place))
		return (struct str){NULL, 0};
	/* whole words, and never nothing */
	bytes = arena_alloc(a, place.size / 8 * 8 + 8);
	if (!bytes || !colcache_read(&cache, place, bytes))
		return (struct str){NULL, 0};
	return (struct str){bytes, place.size};
}
