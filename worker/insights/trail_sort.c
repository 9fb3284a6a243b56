/* See trail_sort.h: the lowest digit first, each time into a place that was counted before. */
#include <stdbool.h>
#include <string.h>
#include "worker/insights/trail_sort.h"

#include "worker/insights/watch.h"

enum { DIGIT = 9, VALUES = 1 << DIGIT, MOST = TRAIL_SORT_BITS / DIGIT };

/* How often a digit has each of its values. Of all digits at once: to read takes longest. */
struct counts {
	uint32_t v[MOST][VALUES];
};

static inline uint32_t digit_of(uint64_t x, unsigned shift)
{
	return (uint32_t)(x >> shift) & (VALUES - 1);
}

/* How many digits there are is known where this is called. */
static inline __attribute__((always_inline)) void count(
	struct counts *c, const uint64_t *v, uint32_t n, unsigned shift, unsigned digits)
{
	memset(c, 0, digits * sizeof(c->v[0]));
	for (uint32_t i = 0; i < n; i++)
		for (unsigned d = 0; d < digits; d++)
			c->v[d][digit_of(v[i], shift + d * DIGIT)]++;
}

/* By one digit. */
static void spread(
	const uint64_t *v, uint64_t *to, uint32_t n, unsigned shift, uint32_t counts[static VALUES])
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < VALUES; i++) {
		uint32_t some = counts[i];

		counts[i] = at;
		at += some;
	}
	for (uint32_t i = 0; i < n; i++)
		to[counts[digit_of(v[i], shift)]++] = v[i];
}

/* What comes from one place mostly is. */
static bool is_sorted(const uint64_t *v, uint32_t n, unsigned shift)
{
	uint32_t i = 1;

	while (i < n && v[i - 1] >> shift <= v[i] >> shift)
		i++;
	return i >= n;
}

uint64_t *trail_sort_digits(uint64_t *v, uint64_t *spare, uint32_t n, unsigned shift, unsigned bits)
{
	struct counts counts;

	if (is_sorted(v, n, shift))
		return v;
	if (bits <= 2 * DIGIT)
		count(&counts, v, n, shift, 2);
	else if (bits <= 3 * DIGIT)
		count(&counts, v, n, shift, 3);
	else
		count(&counts, v, n, shift, MOST);
	for (unsigned d = 0; d * DIGIT < bits; d++) {
		unsigned at = shift + d * DIGIT;
		uint64_t *sorted = spare;

		if (n > WATCH_EVERY && watch_over())
			return NULL;
		if (counts.v[d][digit_of(v[0], at)] == n)
			continue; /* all are alike */
		spread(v, spare, n, at, counts.v[d]);
		spare = v;
		v = sorted;
	}
	return v;
}
