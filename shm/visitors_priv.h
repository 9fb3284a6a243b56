/*
 * The layout of the visitors' memory, for visitors.c and its tests. It is read by
 * the releases before and after: a change needs another VISITORS_VERSION, and
 * then every visitor is somebody else once. Words are in the machine's order.
 *
 *   0     head: "pugvisit", version, size
 *   256   4 salts of 64 bytes, the one of day d at d % 4
 *   4096  16384 sets of 9 visits
 */
#ifndef SHM_VISITORS_PRIV_H
#define SHM_VISITORS_PRIV_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

#include "shm/visitors.h"

enum { VISITORS_VERSION = 1, VISITORS_PAGE = 4096 };

/* Yesterday, today, and the neighbour on either side of them, where a clock that was set
 * back or a sweep that is due may have left one: no two of them meet in one place. */
enum { SALTS = 4 };

/*
 * Who writes here: the pid in the low half, 0 when nobody does. Above it, for a
 * visit, 1 + its place in the set while its words do not belong together, and a
 * count of writers. A killed writer leaves its pid, which nobody takes away but the
 * master: from outside, a stopped process and a dead one look the same.
 */
#define OWNER_MASK 0xffffffffu
enum { OWNER_WAY_SHIFT = 32, OWNER_COUNT_SHIFT = 40 };

enum { SALT_WORDS = SALT_BYTES / 8 };

struct salt_cell {
	_Atomic uint64_t owner;
	_Atomic uint64_t ready; /* day * 2 + 1 once it is complete, else 0 */
	_Atomic uint64_t word[SALT_WORDS];
	_Atomic uint64_t check; /* of day and words */
	uint64_t pad;
};

enum { VISIT_WAYS = 9, VISIT_SETS = 16384 };

/* All zero: free. */
struct visit_cell {
	_Atomic uint64_t key[2];
	_Atomic uint64_t session[2];
	_Atomic uint64_t last_ms;    /* newest event */
	_Atomic uint64_t touched_ms; /* when it came; 0: free */
	_Atomic uint64_t day;        /* whose salt made the key */
};

struct visit_set {
	_Atomic uint64_t owner;
	struct visit_cell way[VISIT_WAYS];
};

struct visitors_head {
	char magic[8];
	uint64_t version, size;
};

struct visitors {
	_Alignas(VISITORS_PAGE) struct visitors_head head;
	_Alignas(256) struct salt_cell salt[SALTS];
	_Alignas(VISITORS_PAGE) struct visit_set set[VISIT_SETS];
};

static_assert(sizeof(struct salt_cell) == 64, "a salt is a cache line");
static_assert(sizeof(struct visit_set) == 512, "a set is eight cache lines");
static_assert(offsetof(struct visitors, salt) == 256, "layout");
static_assert(offsetof(struct visitors, set) == VISITORS_PAGE, "the salts have their own page");
static_assert(sizeof(struct visitors) == VISITORS_PAGE + VISIT_SETS * 512, "layout");

#endif
