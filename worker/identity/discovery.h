/*
 * What an issuer says about itself (OpenID Connect Discovery 1.0) and its keys: fetched
 * and read. Blocks, belongs on an OFFLOAD_OUT thread; worker/identity/issuer.c caches it.
 */
#ifndef IDENTITY_DISCOVERY_H
#define IDENTITY_DISCOVERY_H

#include "worker/identity/jwks.h"
#include "worker/outbound.h"

enum {
	DISCOVERY_URL = 1024,
	/* Bounds of how long a document may be used, whatever its Cache-Control says. */
	LIFETIME_MIN_S = 5 * 60,
	LIFETIME_MAX_S = 24 * 3600
};

struct discovery {
	char jwks_uri[DISCOVERY_URL];
	char token_endpoint[DISCOVERY_URL]; /* "" when it has none */
	bool basic;                         /* the token endpoint takes client_secret_basic */
	struct jwks *keys;
	int64_t lifetime_s;
};

/* NULL, and `error` (OUTBOUND_ERROR bytes) says why, without anything that was fetched. */
struct discovery *discovery_fetch(const struct options *opt, const char *issuer, char *error);
/* The discovery document into *d; NULL, or what is wrong with it. */
const char *discovery_read(struct discovery *d, struct str json, const char *issuer);
/* Seconds that a Cache-Control header grants, within the bounds. */
int64_t discovery_lifetime(const char *cache_control);
void discovery_free(struct discovery *d);

#endif
