/*
 * What attribution reads out of a page's and a referrer's URL (events-profiles.md
 * 1.13), by the rules of RFC 3986 as the reference's parser has them.
 */
#ifndef INGEST_URL_H
#define INGEST_URL_H

#include "shm/base/arena.h"

struct url {
	struct str scheme; /* as sent, "" without one */
	struct str host;   /* lower case, without port, brackets and user; "" without one */
	struct str path;   /* decoded */
	struct str query;  /* as sent, without the question mark */
};

enum utm { UTM_SOURCE, UTM_MEDIUM, UTM_CAMPAIGN, UTM_TERM, UTM_CONTENT, UTM_COUNT };

/* False when s is no URL. All parts are fit to be stored, but for the raw query. */
bool url_parse(struct arena *a, struct str s, struct url *u);
/* The first value of each of the five names, decoded; "" where there is none. */
void url_utm(struct arena *a, struct str query, struct str out[UTM_COUNT]);

#endif
