/*
 * Which names of which projects this worker has asked the catalogue for lately, and what it
 * said: a table of fingerprints of bounded size. What is in it is believed for at least
 * KNOWN_MS and at most twice as long, so that what was taken out of the catalogue meanwhile
 * (an erasure, a retention) gets in again while it is used, and a limit that was met is tried
 * again.
 */
#ifndef INGEST_KNOWN_H
#define INGEST_KNOWN_H

#include "worker/store/names.h"

enum { KNOWN_MS = 300000, KNOWN_MAX = 65536 /* names of a generation, of which there are two */ };

enum verdict {
	VERDICT_NONE, /* must be asked for */
	VERDICT_GOOD,
	VERDICT_EXCESS /* of a key: it found no room */
};

struct known;

/* NULL without memory. Takes 2 MB when it is used. */
struct known *known_new(void);
void known_free(struct known *k);
enum verdict known_find(
	struct known *k, int32_t project, enum name_list list, struct str name, uint64_t now_ms);
void known_add(struct known *k, int32_t project, enum name_list list, struct str name,
	enum verdict verdict, uint64_t now_ms);
void known_forget(struct known *k, int32_t project, enum name_list list, struct str name);

#endif
