/*
 * Exponential backoff with jitter: one crash costs nothing, a crash loop does
 * not eat the machine, and workers that died together do not return together.
 */
#include "master/backoff.h"

void backoff_lived(struct backoff *b, uint64_t lived_ms)
{
	if (lived_ms >= BACKOFF_HEALTHY_MS)
		b->deaths = 0;
}

uint64_t backoff_next(struct backoff *b, uint64_t lived_ms, uint32_t random)
{
	uint64_t ms = BACKOFF_FIRST_MS;

	backoff_lived(b, lived_ms);
	if (b->deaths++ == 0)
		return 0;
	for (unsigned i = 2; i < b->deaths && ms < BACKOFF_MAX_MS; i++)
		ms *= 2;
	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	/* 80% .. 120%, and never over the cap. */
	ms = ms * (800 + random % 401) / 1000;
	return ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms;
}
