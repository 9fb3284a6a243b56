/*
 * Parking with a breadcrumb: what runs on the loop while a call waits must not
 * be blamed on that call, so its crumb is taken away and put back (D92). For
 * net/ and offload, which know no calls; call/ has call_park().
 */
#ifndef WORKER_CRUMB_H
#define WORKER_CRUMB_H

#include <stdatomic.h>
#include <string.h>

#include "shm/slots.h"
#include "worker/coro.h"

/* Everything of a crumb but the busy word. */
static inline void crumb_copy(struct crumb *to, const struct crumb *from)
{
	memcpy((char *)to + sizeof(to->busy), (const char *)from + sizeof(from->busy),
		sizeof(*to) - sizeof(to->busy));
}

/* The release order makes the rest visible before `busy` says that it counts. */
static inline void crumb_set(struct crumb *to, const struct crumb *from)
{
	crumb_copy(to, from);
	atomic_store_explicit(&to->busy, 1, memory_order_release);
}

/* `crumb` is that of the loop's thread; NULL without a slot (tests). */
static inline void crumb_park(struct crumb *crumb)
{
	struct crumb saved;

	if (!crumb || !atomic_load_explicit(&crumb->busy, memory_order_relaxed)) {
		coro_park();
		return;
	}
	crumb_copy(&saved, crumb);
	atomic_store_explicit(&crumb->busy, 0, memory_order_release);
	coro_park();
	crumb_set(crumb, &saved);
}

#endif
