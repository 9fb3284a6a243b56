/*
 * Which identity providers there are: options google_*, and the JSON of option
 * auth_config_file (auth.md 12; pugd.conf(5), OPENID PROVIDERS). Read by a worker as it
 * starts and by `pugd check`; what is wrong is an error, never a provider less.
 */
#ifndef IDENTITY_CONFIG_H
#define IDENTITY_CONFIG_H

#include "shm/base/arena.h"
#include "shm/options.h"

enum { PROVIDERS_MAX = 32, SCOPES_MAX = 16, CONFIG_ERROR = 512 };

struct provider {
	const char *id, *display_name, *client_id, *issuer;
	const char *client_secret; /* NULL: a public client, PKCE only */
	const char *scopes[SCOPES_MAX];
	unsigned n_scopes;
};

struct providers {
	struct provider google; /* whose id tokens SignInWithOAuth takes; id NULL: off */
	struct provider v[PROVIDERS_MAX];
	unsigned n;
};

/* Texts are copied into the arena. False, and `error` (CONFIG_ERROR bytes) names the
 * option and the place: "auth_config_file: auth.providers[1].id: ...". */
bool providers_load(const struct options *opt, struct arena *a, struct providers *out, char *error);
/* The provider with that id; NULL. */
const struct provider *providers_find(const struct providers *p, const char *id);

#endif
