/*
 * What events say of persons (events-profiles.md 5.3): of everybody, or of a few in
 * detail. The latest event is the last one by (time, id); of its properties those that
 * the plan names are kept, as text.
 */
#ifndef INSIGHTS_PERSONS_H
#define INSIGHTS_PERSONS_H

#include "worker/insights/frame.h"
#include "worker/insights/pairs.h"

struct person {
	int64_t first_ms, last_ms;
	uint8_t last_id[16];
	uint64_t total; /* 0: the rest means nothing */
	uint64_t pageviews, sessions;
	uint32_t row, frame; /* of the latest event in the frame being folded */
};

/* Text that is replaced often: its room is used again. */
struct person_text {
	char *p;
	uint32_t n, cap;
};

struct persons {
	const struct plan *plan;
	struct arena *a;
	/* Who counts: p->wanted by number, all of them together as person 0, or, with
	 * neither, everybody by number of struct people. */
	const struct intern *wanted;
	bool together;
	bool cookieless; /* visitors without cookies count, too */
	struct person *v;
	struct person_text *texts; /* need.n_props a person */
	uint32_t cap, frames;
	struct intern sessions;
	struct pairs pairs;
};

/* False at the arena's cap. `wanted` may be NULL; its strings are profile ids and the
 * ids of anonymous persons or, with `together`, distinct_ids. */
bool persons_init(
	struct persons *p, const struct plan *plan, const struct intern *wanted, bool together);
/* False at the arena's cap. */
bool persons_fold(struct persons *p, const struct frame *f);
/* Zero for somebody without events. */
struct person persons_get(const struct persons *p, uint32_t number);
/* Property k of the latest event; empty when it has none. */
struct str persons_text(const struct persons *p, uint32_t number, uint32_t k);

#endif
