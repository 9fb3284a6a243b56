/*
 * Sorts numbers: a few without a branch, many by counting digits. Nobody can choose an order
 * that makes it slow.
 */
#ifndef INSIGHTS_TRAIL_SORT_H
#define INSIGHTS_TRAIL_SORT_H

#include <stdbool.h>
#include <stdint.h>

enum { TRAIL_SORT_SHORT = 16, TRAIL_SORT_FEW = 64 };

/* Up to TRAIL_SORT_SHORT numbers below 2^63; so many are read and written, whatever n is. True
 * when some are equal but for their low bits, of which `low` is the mask, but not in these. */
bool trail_sort_short(uint64_t *to, const uint64_t *v, uint32_t n, uint64_t low);
/* More than TRAIL_SORT_SHORT, up to TRAIL_SORT_FEW, in place; TRAIL_SORT_SHORT behind the last one
 * are read. */
void trail_sort_few(uint64_t *v, uint32_t n);
/* By `bits` bits from the shift on; those that are equal there stay as they were. Returns where
 * they are then, in v or in the spare one; NULL when nobody waits any more (watch.h). */
uint64_t *trail_sort_digits(
	uint64_t *v, uint64_t *spare, uint32_t n, unsigned shift, unsigned bits);

#endif
