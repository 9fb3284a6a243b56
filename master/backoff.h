/* How long a dead worker's seat stays empty. */
#ifndef MASTER_BACKOFF_H
#define MASTER_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 10000, BACKOFF_HEALTHY_MS = 60000 };

struct backoff {
	unsigned deaths; /* in a row */
};

/* Forgives the deaths before, if that was long enough: for whoever is killed later than it ceased
 * to serve. */
void backoff_lived(struct backoff *b, uint64_t lived_ms);
/* Called at a death. lived_ms: how long the dead one was READY. random: any 32 bits.
 * Milliseconds to wait: 0, then 100 * 2^n up to 10 s, each with +-20% of jitter. */
uint64_t backoff_next(struct backoff *b, uint64_t lived_ms, uint32_t random);

#endif
