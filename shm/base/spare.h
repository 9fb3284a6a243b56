/*
 * Large blocks that were given back, kept for some seconds for whoever wants one as large: the
 * kernel clears each page that it gives out, which for what a query of millions of events needs
 * takes longer than to use it. By all threads of the process; in malloc's terms they are taken.
 */
#ifndef BASE_SPARE_H
#define BASE_SPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SPARE_MIN = 1 << 20,   /* bytes of a block that is worth it */
	SPARE_MOST = 64 << 20, /* of all that are kept */
	SPARE_MS = 30000       /* for so long */
};

/* A block of at least n bytes, which is the caller's to free() or give back; NULL: there is none.
 * What is in it is anything. */
void *spare_take(size_t n);
/* Keeps a block of malloc()'s instead of the oldest ones, or frees it. now_ms: CLOCK_MONOTONIC. */
void spare_give(void *block, size_t n, uint64_t now_ms);
/* Whether there is something that nobody has wanted for SPARE_MS, and frees it. */
bool spare_old(uint64_t now_ms);
void spare_expire(uint64_t now_ms);

#endif
