/* Sorts numbers by counting digits: nobody can choose an order that makes it slow. */
#ifndef INSIGHTS_TRAIL_SORT_H
#define INSIGHTS_TRAIL_SORT_H

#include <stdint.h>

enum { TRAIL_SORT_BITS = 36 };

/* By `bits` bits, up to TRAIL_SORT_BITS, from the shift on, above which all are alike; those that
 * are equal there stay as they were. Returns where they are then, in v or in the spare one; NULL
 * when nobody waits any more (watch.h). */
uint64_t *trail_sort_digits(
	uint64_t *v, uint64_t *spare, uint32_t n, unsigned shift, unsigned bits);

#endif
