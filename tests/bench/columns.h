/*
 * The events of `make bench-insights`: made from a seed, the same in every process,
 * as plain columns in the order (time, id). Sessions of some five events; people of
 * whom some are identified and sign their events with either of two ids.
 */
#ifndef BENCH_COLUMNS_H
#define BENCH_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	KINDS = 100,
	PATHS = 500,
	COUNTRIES = 56,
	BROWSERS = 5,
	SYSTEMS = 5,
	SOURCES = 8,            /* 0: none */
	PEOPLE_IDENTIFIED = 40, /* percent */
	XID_TEXT = 20,
	ID_TEXT = 36
};

/* The first kinds have names of their own; others are feature_NN. */
enum { PAGE_VIEW, CLICK, SCROLL, SEARCH, ADD_TO_CART, SIGN_UP, PURCHASE, KINDS_NAMED };

struct columns {
	uint32_t n, persons, sessions, days;
	int64_t start_ms; /* a midnight; what lies past `days` from there is late spill */
	int64_t *t;       /* ms since 1970 */
	uint32_t *person, *session;
	uint16_t *path, *amount; /* amount: quarters, 0: none */
	uint8_t *kind, *country, *browser, *source;
	uint8_t *known; /* signed with the external id */
};

/* Memory is never given back: a process has one. Ends the process if there is none. */
void columns_make(struct columns *c, uint32_t n, uint32_t persons, uint32_t days, int64_t start_ms);

/* Zeroed memory; ends the process if there is none. */
void *columns_need(size_t n, size_t size);
uint64_t columns_mix(uint64_t x);
bool person_identified(uint32_t person);
uint8_t person_system(uint32_t person);
/* 0 terminated; xid of identified people only. */
void person_anonymous(uint32_t person, char out[ID_TEXT + 1]);
void person_external(uint32_t person, char out[ID_TEXT + 1]);
void person_xid(uint32_t person, char out[XID_TEXT + 1]);
/* What a listing of persons shows: the external id, else the anonymous one. */
void person_label(uint32_t person, char out[ID_TEXT + 1]);
/* What ranks persons: the profile's id, else the anonymous one. */
void person_key(uint32_t person, char out[ID_TEXT + 1]);

/* 16 bytes; of two events the later one has the greater id. */
void event_id(const struct columns *c, uint32_t i, uint8_t out[16]);
void session_id(uint32_t session, uint8_t out[16]);

const char *name_kind(unsigned kind, char buf[32]);
const char *name_path(unsigned path, char buf[32]);
const char *name_country(unsigned country, char buf[32]);
const char *name_browser(unsigned browser, char buf[32]);
const char *name_system(unsigned system, char buf[32]);
const char *name_source(unsigned source, char buf[32]);

#endif
