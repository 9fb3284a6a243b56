/*
 * Whether what this thread works out is still wanted. Whoever has loops that may run long asks,
 * within a segment (frame.h) as when all was read, so that a query ends within 100 ms of its
 * deadline or of its client's going away (D40). Outside of a scan everything is wanted.
 */
#ifndef INSIGHTS_WATCH_H
#define INSIGHTS_WATCH_H

#include "shm/base/arena.h"

/* Until watch_end(), on this thread; `over` is asked from then on. */
void watch_begin(bool (*over)(void *arg), void *arg);
void watch_end(void);
/* True: stop, the answer is for nobody. Costs a look at the clock. */
bool watch_over(void);

enum { WATCH_EVERY = 4096 };

/* The same, for each turn of a loop. */
static inline bool watch_due(uint64_t turn)
{
	return turn % WATCH_EVERY == WATCH_EVERY - 1 && watch_over();
}

/* Sorts n items of `size` bytes; where equal ones end up is not said, so orders are total. Its room
 * for as many is taken from the arena and given back. False at the arena's cap, or when
 * watch_over(). */
bool watch_sort(struct arena *a, void *v, size_t n, size_t size,
	int (*order)(const void *x, const void *y, void *arg), void *arg);

#endif
