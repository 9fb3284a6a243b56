/*
 * GCRA in one 64-bit word per bucket, changed by one CAS:
 *
 *   tag:20 | scale:5 | theoretical arrival time (TAT):39
 *
 * The TAT is when the bucket would be full again; a call may push it at most
 * one burst ahead of now. All of it must hold for 1 unit per 17 minutes and for
 * 100 million a second, so time is not counted in a fixed tick but in ticks of
 * 2^(scale - 6) ns, with the scale chosen per limit such that
 *
 *   - one unit is 256 to 511 ticks: rounded to a whole number, the rate is off
 *     by at most 0.2%, and the burst is exact (it is a multiple of the unit);
 *   - a burst is at most 2^36 ticks, an eighth of what 39 bits hold.
 *
 * TATs are compared modulo 2^39: one that is not within a burst after now lies
 * in the past, and the bucket is full. A bucket left alone for a multiple of
 * 2^39 ticks (2^30 units: 24 days at 500/s, 6 hours at 50000/s) may look partly
 * used; it refuses a call of cost c wrongly with probability c / 2^30, once.
 * The clock is read in nanoseconds: a burst may last less than a microsecond.
 *
 * The scale stands in the word so that buckets of different limits, which meet
 * in one set, can be compared by age.
 */
#include <math.h>

#include "shm/base/clock.h"
#include "shm/ratelimit.h"
#include "shm/segment_priv.h"

enum {
	TAG_BITS = 20,
	SCALE_BITS = 5,
	TAT_BITS = 39,
	SCALE_MAX = (1 << SCALE_BITS) - 1,
	UNIT_TICKS = 512, /* one unit is less than this many */
	CLOCK_SHIFT = 6,  /* scale 0 ticks are 2^-6 ns */
	RETRY_MAX_MS = 3600 * 1000,
	SKEW_NS = 50 * 1000,
};

static_assert(TAG_BITS + SCALE_BITS + TAT_BITS == 64, "a bucket is one word");

static const uint64_t tat_mask = ((uint64_t)1 << TAT_BITS) - 1;
static const uint64_t burst_ticks_max = (uint64_t)1 << (TAT_BITS - 3);

/* A limit in ticks, and the tag that its bucket carries. */
struct gcra {
	unsigned scale;
	uint64_t unit, burst; /* ticks */
	uint64_t high;        /* tag and scale, in place */
	_Atomic uint64_t *set;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * (b | 1);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static void gcra_scale(struct gcra *g, struct limit lim)
{
	/* lim.rate is in thousandths: 10^12 ns, in the finest ticks. */
	double unit = 1e12 * (1 << CLOCK_SHIFT) / (double)lim.rate;
	double excess = fmax(unit / UNIT_TICKS, unit * (double)lim.burst / (double)burst_ticks_max);
	int scale = 0;

	/* frexp: excess = m * 2^scale with m below 1. */
	if (excess >= 1)
		frexp(excess, &scale);
	g->scale = scale < SCALE_MAX ? (unsigned)scale : SCALE_MAX;
	unit = ldexp(unit, -(int)g->scale);
	/* Out of both bounds only for limits that nobody can reach or tell apart. */
	unit = fmin(fmax(unit + 0.5, 1), (double)burst_ticks_max);
	g->unit = (uint64_t)unit;
	if (lim.burst > burst_ticks_max / g->unit)
		lim.burst = burst_ticks_max / g->unit;
	g->burst = lim.burst * g->unit;
}

/*
 * A limit that was changed by a reload gets a new, full bucket: the ticks of
 * the old one mean something else.
 */
static struct gcra gcra_of(struct segment *seg, uint64_t hash, struct limit lim)
{
	struct gcra g;
	uint64_t h = mix(hash ^ seg->head.seed[0], seg->head.seed[1]);

	h = mix(h ^ lim.rate, seg->head.seed[0] ^ lim.burst);
	gcra_scale(&g, lim);
	g.set = &seg->limits[h % LIMIT_SETS * LIMIT_WAYS];
	/* Tag 0 is not used, so that no bucket looks like an empty word. */
	g.high = (h >> (64 - TAG_BITS) ? h >> (64 - TAG_BITS) : 1) << (64 - TAG_BITS) |
		 (uint64_t)g.scale << TAT_BITS;
	return g;
}

static unsigned word_scale(uint64_t word)
{
	return (unsigned)(word >> TAT_BITS) & SCALE_MAX;
}

/* The boot clock in ticks of a scale, modulo 2^64. */
static uint64_t ticks_at(uint64_t ns, unsigned scale)
{
	return scale <= CLOCK_SHIFT ? ns << (CLOCK_SHIFT - scale) : ns >> (scale - CLOCK_SHIFT);
}

/*
 * How far the word's TAT is ahead of now, 0 when it lies behind. A little above
 * the burst still counts as ahead: processors' clocks are not quite the same.
 */
static uint64_t word_used(uint64_t word, uint64_t burst, uint64_t now_ns)
{
	unsigned scale = word_scale(word);
	uint64_t ahead = (word - ticks_at(now_ns, scale)) & tat_mask;

	if (ahead <= burst)
		return ahead;
	return ahead - burst <= ticks_at(SKEW_NS, scale) ? burst : 0;
}

/* Ticks of one scale in ticks of another. */
static uint64_t rescale(uint64_t ticks, unsigned from, unsigned to)
{
	if (from <= to)
		return ticks >> (to - from);
	return ticks > UINT64_MAX >> (from - to) ? UINT64_MAX : ticks << (from - to);
}

/* What a call may change: a word, what it held, and how much of the burst it says is used. */
struct place {
	_Atomic uint64_t *word;
	uint64_t seen, used, now_ns;
};

/*
 * Without a bucket of its own a call takes over the one that is done first.
 * One still in use passes its debt on (D83: the two share it): a full set gives
 * no one a fresh burst.
 */
static struct place place_oldest(
	const struct gcra *g, const uint64_t seen[LIMIT_WAYS], uint64_t now_ns)
{
	struct place best = {.used = UINT64_MAX, .now_ns = now_ns};

	for (int i = 0; i < LIMIT_WAYS; i++) {
		uint64_t used = word_used(seen[i], burst_ticks_max, now_ns);

		used = rescale(used, word_scale(seen[i]), g->scale);
		if (seen[i] == 0)
			used = 0;
		if (used < best.used) {
			best.word = &g->set[i];
			best.seen = seen[i];
			best.used = used;
		}
	}
	if (best.used > g->burst)
		best.used = g->burst;
	return best;
}

/*
 * The words are read before the clock. So each TAT was made from an earlier
 * clock value than ours, and none is more than a burst ahead. The other way
 * round, a process that was stopped in between would take a used-up bucket for
 * a forgotten one.
 */
static struct place place_find(const struct gcra *g)
{
	uint64_t seen[LIMIT_WAYS], now_ns;

	for (int i = 0; i < LIMIT_WAYS; i++)
		seen[i] = atomic_load_explicit(&g->set[i], memory_order_acquire);
	now_ns = clock_boot_ns();
	for (int i = 0; i < LIMIT_WAYS; i++)
		if ((seen[i] & ~tat_mask) == g->high)
			return (struct place){
				&g->set[i], seen[i], word_used(seen[i], g->burst, now_ns), now_ns};
	return place_oldest(g, seen, now_ns);
}

/* Rounded up: who waits that long must not be refused again. */
static uint64_t ticks_ms(uint64_t ticks, unsigned scale)
{
	double ns = ldexp((double)ticks, (int)scale - CLOCK_SHIFT);

	return (uint64_t)ceil(ns / 1e6);
}

static void state_fill(
	struct limit_state *state, const struct gcra *g, uint64_t used, uint64_t short_by)
{
	if (!state)
		return;
	state->remaining = (g->burst - used) / g->unit;
	state->reset_ms = ticks_ms(used, g->scale);
	state->retry_ms = short_by ? ticks_ms(short_by, g->scale) : 0;
	if (state->retry_ms > RETRY_MAX_MS)
		state->retry_ms = RETRY_MAX_MS;
}

/* More than fits at once is never admitted; waiting does not help. */
static bool refuse_forever(const struct gcra *g, struct limit_state *state)
{
	state_fill(state, g, g->burst, 1);
	if (state)
		state->retry_ms = RETRY_MAX_MS;
	return false;
}

static bool unlimited(struct limit_state *state)
{
	if (state)
		*state = (struct limit_state){.remaining = UINT64_MAX};
	return true;
}

static bool admit(struct segment *seg, uint64_t hash, struct limit lim, uint64_t cost, bool charge,
	struct limit_state *state)
{
	struct gcra g;

	if (lim.rate == 0)
		return unlimited(state);
	g = gcra_of(seg, hash, lim);
	if (cost > g.burst / g.unit)
		return refuse_forever(&g, state);
	for (;;) {
		struct place p = place_find(&g);
		uint64_t after = p.used + cost * g.unit;
		uint64_t tat = (ticks_at(p.now_ns, g.scale) + after) & tat_mask;

		if (after > g.burst) {
			state_fill(state, &g, p.used, after - g.burst);
			return false;
		}
		/* A lost race read an older clock too: all of it again. */
		if (charge && !atomic_compare_exchange_weak_explicit(p.word, &p.seen, g.high | tat,
				      memory_order_acq_rel, memory_order_relaxed))
			continue;
		state_fill(state, &g, charge ? after : p.used, 0);
		return true;
	}
}

bool ratelimit_take(struct segment *seg, uint64_t hash, struct limit lim, uint64_t cost,
	struct limit_state *state)
{
	return admit(seg, hash, lim, cost, true, state);
}

/* Never to before now: a bucket holds no more than its burst. */
static uint64_t word_less(const struct gcra *g, uint64_t word, uint64_t ticks)
{
	uint64_t used = word_used(word, g->burst, clock_boot_ns());

	return g->high | ((word - (ticks < used ? ticks : used)) & tat_mask);
}

void ratelimit_give(struct segment *seg, uint64_t hash, struct limit lim, uint64_t cost)
{
	struct gcra g;

	if (lim.rate == 0)
		return;
	g = gcra_of(seg, hash, lim);
	for (int i = 0; i < LIMIT_WAYS; i++) {
		uint64_t seen = atomic_load_explicit(&g.set[i], memory_order_acquire);

		while ((seen & ~tat_mask) == g.high)
			if (atomic_compare_exchange_weak_explicit(&g.set[i], &seen,
				    word_less(&g, seen, cost * g.unit), memory_order_acq_rel,
				    memory_order_acquire))
				return;
	}
}

bool ratelimit_peek(struct segment *seg, uint64_t hash, struct limit lim, uint64_t cost,
	struct limit_state *state)
{
	return admit(seg, hash, lim, cost, false, state);
}
