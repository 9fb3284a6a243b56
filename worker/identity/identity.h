/*
 * Signing in by other providers: who the holder of an id token or of an authorization
 * code is. What that means for accounts is the handlers' business (worker/rpc/identity.c).
 */
#ifndef IDENTITY_IDENTITY_H
#define IDENTITY_IDENTITY_H

#include "worker/call/call.h"
#include "worker/identity/config.h"
#include "worker/identity/idtoken.h"

struct identity;

/* Reads the configuration of the generation. 0, or what the process should exit with;
 * the log says why. */
int identity_start(struct worker *w);
void identity_free(struct identity *id);
/* False, and `error` (CONFIG_ERROR bytes) names the place: for `pugd check`. */
bool identity_check(const struct options *opt, char *error);
/* What is configured; works without a struct identity, too. */
const struct providers *identity_providers(const struct identity *id);

/* Both: 0, or -1 after call_fail(). `p` is from identity_providers(). */
int identity_by_token(
	struct call *c, const struct provider *p, const char *token, struct idtoken_person *out);

struct identity_code {
	const char *code, *code_verifier, *redirect_uri, *nonce;
};

int identity_by_code(struct call *c, const struct provider *p, const struct identity_code *code,
	struct idtoken_person *out);

#endif
