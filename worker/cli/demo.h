/*
 * Believable demo events: a small web shop's visitors over several months. Pure
 * and deterministic but for the time it ends at; what is done with the events
 * is the caller's business (seed.c).
 */
#ifndef CLI_DEMO_H
#define CLI_DEMO_H

#include "worker/store/event.h"

struct demo_person {
	uint8_t anon[16]; /* distinct_id before sign-up: "anon-<uuid>" */
	bool signed_up;
	uint32_t number;                        /* external id after sign-up: "user-<number>" */
	uint8_t plan, country, browser, source; /* indexes into demo.c's tables */
	int64_t first_ms, signup_ms;
};

struct demo_sink {
	/* One event, day after day, in no order within one; false stops the generator. The
	 * strings live until the call returns. */
	bool (*event)(struct demo_sink *s, const struct event *ev);
	/* A person signed up: profile and alias are due. May be NULL. */
	bool (*signup)(struct demo_sink *s, const struct demo_person *p);
};

/* Texts for a profile's traits. */
const char *demo_plan(const struct demo_person *p);
const char *demo_country(const struct demo_person *p);

enum { DEMO_DAYS = 120 };

/* About `events` events (exactly that many) in the DEMO_DAYS before end_ms. False
 * without memory or when the sink said stop. */
bool demo_generate(struct demo_sink *s, uint64_t events, int64_t end_ms);

#endif
