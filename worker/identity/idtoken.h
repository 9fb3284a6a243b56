/*
 * OpenID Connect id tokens (JWS compact, RS256 and nothing else). Pure: no clock, no
 * network. In this order, so that nothing is believed before the signature is checked:
 * idtoken_open(), a key from the issuer, idtoken_signed_by(), idtoken_claims().
 */
#ifndef IDENTITY_IDTOKEN_H
#define IDENTITY_IDTOKEN_H

#include <openssl/evp.h>
#include "shm/base/arena.h"

/* SUBJECT_MAX: OpenID Connect Core 2. */
enum { IDTOKEN_MAX = 16384, SUBJECT_MAX = 255 };

/* Parts of the text it was opened from. */
struct idtoken {
	struct str kid; /* in the arena; empty when the header names no key */
	struct str signed_part, claims, signature;
};

struct idtoken_want {
	const char *issuer, *client_id;
	bool schemeless;   /* Google's old spelling of its issuer, without https:// */
	const char *nonce; /* NULL: not checked */
	int64_t now_s;
};

/* Who it is, bounded as accounts are; in the arena. */
struct idtoken_person {
	struct str subject, email, name, picture;
};

enum idtoken_verdict {
	IDTOKEN_GOOD,
	IDTOKEN_BAD,
	IDTOKEN_EMAIL /* genuine, but without a verified e-mail */
};

/* False, and *why says what is wrong: a constant, fit for the log. */
bool idtoken_open(struct idtoken *t, struct str text, struct arena *a, const char **why);
bool idtoken_signed_by(const struct idtoken *t, EVP_PKEY *key);
enum idtoken_verdict idtoken_claims(const struct idtoken *t, const struct idtoken_want *want,
	struct arena *a, struct idtoken_person *out, const char **why);

#endif
