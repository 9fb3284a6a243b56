/* See trail_sort.h. */
#include "worker/insights/trail_sort.h"

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

/* What makes those beyond n larger than all others, from beyond + 16 - n on. */
#define ONES UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX
static const uint64_t beyond[32] = {[16] = ONES, ONES, ONES, ONES};

/* n of up to `room`, the rest as if there were larger ones, which come last. */
INLINE void take(uint64_t *w, const uint64_t *v, uint32_t n, unsigned room)
{
	const uint64_t *mask = beyond + 16 - n;

	for (unsigned i = 0; i < room; i++)
		w[i] = v[i] | mask[i];
}

static void put(uint64_t *v, const uint64_t *w, uint32_t n)
{
	for (unsigned i = 0; i < n; i++)
		v[i] = w[i];
}

/* What is beyond the last one is different from it in high bits. */
INLINE bool are_tied(const uint64_t *w, unsigned room, uint64_t low)
{
	uint32_t tied = 0;

	/* 0, for two that are alike, becomes the largest */
	for (unsigned i = 1; i < room; i++)
		tied |= (w[i] ^ w[i - 1]) - 1 < low;
	return tied;
}

INLINE bool sort_4_to(uint64_t *to, const uint64_t *v, uint32_t n, uint64_t low)
{
	uint64_t w[4];

	take(w, v, n, 4);
	sort_4(w);
	for (unsigned i = 0; i < 4; i++)
		to[i] = w[i];
	return are_tied(w, 4, low);
}

INLINE bool sort_8_to(uint64_t *to, const uint64_t *v, uint32_t n, uint64_t low)
{
	uint64_t w[8];

	take(w, v, n, 8);
	sort_8(w);
	for (unsigned i = 0; i < 8; i++)
		to[i] = w[i];
	return are_tied(w, 8, low);
}

INLINE bool sort_16_to(uint64_t *to, const uint64_t *v, uint32_t n, uint64_t low)
{
	uint64_t w[16];

	take(w, v, n, 16);
	sort_16(w);
	for (unsigned i = 0; i < 16; i++)
		to[i] = w[i];
	return are_tied(w, 16, low);
}

bool trail_sort_short(uint64_t *to, const uint64_t *v, uint32_t n, uint64_t low)
{
	return n <= 4   ? sort_4_to(to, v, n, low)
	       : n <= 8 ? sort_8_to(to, v, n, low)
			: sort_16_to(to, v, n, low);
}

/* Two sorted runs into one, without asking which comes first. */
static void merge(uint64_t *to, const uint64_t *a, uint32_t n_a, const uint64_t *b, uint32_t n_b)
{
	const uint64_t *end_a = a + n_a, *end_b = b + n_b;

	while (a < end_a && b < end_b) {
		uint64_t x = *a, y = *b;
		uint32_t second = y < x;

		*to++ = second ? y : x;
		a += !second;
		b += second;
	}
	while (a < end_a)
		*to++ = *a++;
	while (b < end_b)
		*to++ = *b++;
}

/* In pieces of 16, and these by twos. */
void trail_sort_few(uint64_t *v, uint32_t n)
{
	uint64_t w[TRAIL_SORT_FEW];

	for (uint32_t i = 0; i < n; i += 16) {
		uint32_t some = n - i < 16 ? n - i : 16;

		(void)sort_16_to(w, v + i, some, 0);
		put(v + i, w, some);
	}
	if (n <= 32) {
		merge(w, v, 16, v + 16, n - 16);
		put(v, w, n);
		return;
	}
	merge(w, v, 16, v + 16, 16);
	if (n <= 48)
		put(w + 32, v + 32, n - 32);
	else
		merge(w + 32, v + 32, 16, v + 48, n - 48);
	merge(v, w, 32, w + 32, n - 32);
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
