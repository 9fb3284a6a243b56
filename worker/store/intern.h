/*
 * Strings to dense numbers for the time of one query: 0, 1, 2, ... in order of
 * appearance. Bounded by its arena.
 */
#ifndef STORE_INTERN_H
#define STORE_INTERN_H

#include "shm/base/arena.h"

enum { INTERN_FULL = UINT32_MAX, INTERN_BATCH = 32 };

struct intern {
	struct arena *a;
	struct str *strings; /* by number */
	uint64_t *hashes;
	uint32_t n, cap;
	/* number + 1 below, the upper half of the hash above; 0 = free. What is another
	 * string's is seen without a look at that string. */
	uint64_t *slots;
	uint32_t mask;
};

void intern_init(struct intern *t, struct arena *a);
/* Number of s, which is copied when new. INTERN_FULL at the arena's cap. */
uint32_t intern_add(struct intern *t, struct str s);
/* The same for many, which costs much less each: while one is compared, memory fetches what
 * the next ones need. At most INTERN_BATCH. False at the arena's cap. */
bool intern_add_all(struct intern *t, const struct str *s, uint32_t n, uint32_t *no);
/* INTERN_FULL when it was never added. */
uint32_t intern_find(const struct intern *t, struct str s);

#endif
