/*
 * Sorts numbers: a few without a branch, many by counting digits. Nobody can choose an order
 * that makes it slow.
 */
#ifndef INSIGHTS_TRAIL_SORT_H
#define INSIGHTS_TRAIL_SORT_H

#include <stdint.h>

enum { TRAIL_SORT_FEW = 64, TRAIL_SORT_BEYOND = 16 };

/* Up to TRAIL_SORT_FEW of them. TRAIL_SORT_BEYOND numbers from v on are read, whatever n is. */
void trail_sort_few(uint64_t *v, uint32_t n);
/* By `bits` bits from the shift on; those that are equal there stay as they were. Returns where
 * they are then, in v or in the spare one; NULL when nobody waits any more (watch.h). */
uint64_t *trail_sort_digits(
	uint64_t *v, uint64_t *spare, uint32_t n, unsigned shift, unsigned bits);

#endif
