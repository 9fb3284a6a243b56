/*
 * How many sessions went from one node of a flow to another. A large table is in no cache:
 * hops wait until some can be counted side by side.
 */
#ifndef INSIGHTS_HOPS_H
#define INSIGHTS_HOPS_H

#include "shm/base/arena.h"

enum { HOPS_WAITING = 256 };

struct hop {
	uint32_t from, to, sessions; /* 0 sessions: a free slot */
};

struct hops {
	struct arena *a;
	struct hop *slots;
	uint64_t key[2];
	uint32_t mask, n, n_waiting;
	struct {
		uint32_t from, to;
	} waiting[HOPS_WAITING];
};

void hops_init(struct hops *h, struct arena *a);
/* Counts those that wait. False at the arena's cap, or when watch_over(), as the next two are: then
 * the table is of no use any more. */
bool hops_count(struct hops *h);
/* One session's hop, if it is one. */
static inline bool hops_note(struct hops *h, uint32_t from, uint32_t to, bool is_one)
{
	h->waiting[h->n_waiting].from = from;
	h->waiting[h->n_waiting].to = to;
	h->n_waiting += is_one;
	return h->n_waiting < HOPS_WAITING || hops_count(h);
}
/* The same of some sessions, more than none, at once. */
bool hops_add(struct hops *h, uint32_t from, uint32_t to, uint32_t sessions);
/* One hop after another, in any order, of those that do not wait; *at is 0 at first. NULL at the
 * end. */
const struct hop *hops_next(const struct hops *h, uint32_t *at);

#endif
