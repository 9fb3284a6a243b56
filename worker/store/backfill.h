/*
 * Numbers (numbers.h) for segments that have none, because they were sealed by a version that
 * did not give any, or while there was something wrong: they get the part, nothing else of
 * them is written anew. In short transactions, from the first project to the last.
 */
#ifndef STORE_BACKFILL_H
#define STORE_BACKFILL_H

#include "worker/store/sealer.h"

/* What was looked at last; begins with 0. */
struct backfill {
	int32_t project, day;
	int64_t id;
	uint64_t events; /* so far looked at */
	uint64_t n;      /* segments that have got numbers */
};

/* The next few segments. SEALER_IDLE: that was all; those that cannot have numbers are
 * passed over. */
enum sealer_end backfill_step(struct sealer *s, struct backfill *b);

#endif
