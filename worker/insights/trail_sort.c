/* See trail_sort.h. */
#include "worker/insights/trail_sort.h"

#include <stdbool.h>

#include "worker/insights/watch.h"

enum { DIGIT = 9 };

#define INLINE static inline __attribute__((always_inline))

INLINE void order(uint64_t *v, unsigned a, unsigned b)
{
	uint64_t x = v[a], y = v[b];

	v[a] = x < y ? x : y;
	v[b] = x < y ? y : x;
}

/* What is compared depends on nothing but how many there are: Batcher's merges. */
INLINE void sort_4(uint64_t *v)
{
	order(v, 0, 1), order(v, 2, 3);
	order(v, 0, 2), order(v, 1, 3);
	order(v, 1, 2);
}

INLINE void sort_8(uint64_t *v)
{
	sort_4(v), sort_4(v + 4);
	order(v, 0, 4), order(v, 1, 5), order(v, 2, 6), order(v, 3, 7);
	order(v, 2, 4), order(v, 3, 5);
	order(v, 1, 2), order(v, 3, 4), order(v, 5, 6);
}

INLINE void sort_16(uint64_t *v)
{
	sort_8(v), sort_8(v + 8);
	order(v, 0, 8), order(v, 1, 9), order(v, 2, 10), order(v, 3, 11);
	order(v, 4, 12), order(v, 5, 13), order(v, 6, 14), order(v, 7, 15);
	order(v, 4, 8), order(v, 5, 9), order(v, 6, 10), order(v, 7, 11);
	order(v, 2, 4), order(v, 3, 5), order(v, 6, 8), order(v, 7, 9);
	order(v, 10, 12), order(v, 11, 13);
	order(v, 1, 2), order(v, 3, 4), order(v, 5, 6), order(v, 7, 8);
	order(v, 9, 10), order(v, 11, 12), order(v, 13, 14);
}

/* n of up to `room`, the rest as if there were larger ones, which come last. */
INLINE void take(uint64_t *w, const uint64_t *v, uint32_t n, unsigned room)
{
	for (unsigned i = 0; i < room; i++)
		w[i] = i < n ? v[i] : UINT64_MAX;
}

static void sort_up_to_4(uint64_t *v, uint32_t n)
{
	uint64_t w[4];

	take(w, v, n, 4);
	sort_4(w);
	v[0] = w[0], v[1] = w[1], v[2] = w[2];
	if (n == 4)
		v[3] = w[3];
}

static void put(uint64_t *v, const uint64_t *w, uint32_t n)
{
	for (unsigned i = 0; i < n; i++)
		v[i] = w[i];
}

static void sort_up_to_8(uint64_t *v, uint32_t n)
{
	uint64_t w[8];

	take(w, v, n, 8);
	sort_8(w);
	put(v, w, n);
}

static void sort_up_to_16(uint64_t *v, uint32_t n)
{
	uint64_t w[16];

	take(w, v, n, 16);
	sort_16(w);
	put(v, w, n);
}

static void insert(uint64_t *v, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		uint64_t one = v[i];
		uint32_t k = i;

		for (; k > 0 && one < v[k - 1]; k--)
			v[k] = v[k - 1];
		v[k] = one;
	}
}

void trail_sort_few(uint64_t *v, uint32_t n)
{
	if (n <= 1)
		return;
	if (n == 2)
		order(v, 0, 1);
	else if (n <= 4)
		sort_up_to_4(v, n);
	else if (n <= 8)
		sort_up_to_8(v, n);
	else if (n <= 16)
		sort_up_to_16(v, n);
	else
		insert(v, n);
}

/* One digit. False when they are all the same, and nothing was done. */
static bool sort_digit(const uint64_t *v, uint64_t *to, uint32_t n, unsigned shift)
{
	uint32_t counts[1 << DIGIT] = {0}, at = 0;

	for (uint32_t i = 0; i < n; i++)
		counts[v[i] >> shift & ((1 << DIGIT) - 1)]++;
	if (counts[v[0] >> shift & ((1 << DIGIT) - 1)] == n)
		return false;
	for (uint32_t i = 0; i < 1 << DIGIT; i++) {
		uint32_t count = counts[i];

		counts[i] = at;
		at += count;
	}
	for (uint32_t i = 0; i < n; i++)
		to[counts[v[i] >> shift & ((1 << DIGIT) - 1)]++] = v[i];
	return true;
}

uint64_t *trail_sort_digits(uint64_t *v, uint64_t *spare, uint32_t n, unsigned shift, unsigned bits)
{
	for (unsigned end = shift + bits; shift < end; shift += DIGIT) {
		uint64_t *sorted = spare;

		if (n > WATCH_EVERY && watch_over())
			return NULL;
		if (!sort_digit(v, spare, n, shift))
			continue;
		spare = v;
		v = sorted;
	}
	return v;
}
