/*
 * A provider's signing keys (RFC 7517), of which only those that RS256 can be verified
 * with are kept.
 */
#ifndef IDENTITY_JWKS_H
#define IDENTITY_JWKS_H

#include <openssl/evp.h>
#include "shm/base/str.h"

enum { JWKS_MAX = 64, KID_MAX = 255 };

struct jwks {
	struct jwk {
		EVP_PKEY *key;
		char kid[KID_MAX + 1]; /* "" when it has none */
	} v[JWKS_MAX];
	unsigned n;
};

/* NULL, and *why says what is wrong with the document. A key that does not fit is no
 * mistake: sets also hold keys for other uses and algorithms. */
struct jwks *jwks_read(struct str json, const char **why);
void jwks_free(struct jwks *k);
/* The key of that name; with an empty name the only key there is. NULL. */
EVP_PKEY *jwks_find(const struct jwks *k, struct str kid);

#endif
