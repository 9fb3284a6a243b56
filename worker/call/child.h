/*
 * A part of a call that may fail on its own, beside others: it acts for the same principal,
 * until the same deadline and for the same client, but has memory, a database handle and a
 * failure of its own. Parts may run on several coroutines; the call must outlive them.
 */
#ifndef CALL_CHILD_H
#define CALL_CHILD_H

#include "worker/call/call.h"

struct call_child {
	struct call c;      /* for functions that want a call */
	struct arena arena; /* its memory */
};

/* `memory` bounds what it may allocate. Ends with one of the two below. */
void child_begin(struct call_child *child, const struct call *parent, size_t memory);
/* It went well: what it allocated lives as long as the call. False (and nothing is kept)
 * when that is too much for the call's memory. */
bool child_keep(struct call_child *child, struct call *parent);
/* It failed: the sentence for it, in the call's memory, and nothing else is kept. */
char *child_drop(struct call_child *child, struct call *parent);

#endif
