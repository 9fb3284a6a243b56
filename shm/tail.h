/*
 * The unsealed tail: what waits in the inbox of the whole database, as somebody saw it
 * last. The keeper looks every few seconds; when there is none, workers do, asked by
 * /readyz (worker/call/health.c). It is for people and load balancers only: ingestion
 * goes on however long the tail is (storage.md).
 */
#ifndef SHM_TAIL_H
#define SHM_TAIL_H

#include <stdbool.h>
#include <stdint.h>

struct options;
struct segment;

/* Times are of the boot clock, in microseconds. */
struct tail {
	uint64_t events;
	uint64_t oldest_us; /* when the oldest was received; 0: none waits */
	uint64_t seen_us;   /* when it was looked at; 0: not yet */
};

/* Two writers at once mix two looks of the same moment, which does no harm. */
void tail_put(struct segment *seg, const struct tail *t);
struct tail tail_get(const struct segment *seg);
/* How long the oldest has waited, now; 0: none waits. */
uint64_t tail_age_us(const struct tail *t, uint64_t now_us);
/* Longer than the options tail_events and tail_age allow; not when nobody has looked. */
bool tail_over(const struct tail *t, const struct options *o, uint64_t now_us);

#endif
