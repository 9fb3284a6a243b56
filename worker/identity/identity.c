/* See identity.h. The log gets ids, constants and what transfers failed of; no token,
 * code, secret or e-mail. */
#include "worker/identity/identity.h"

#include <stdlib.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/message.h"
#include "worker/identity/exchange.h"
#include "worker/identity/issuer.h"
#include "worker/offload.h"
#include "worker/worker.h"

/* CONFIG_MEMORY is far more than the texts of a file of OPTIONS_AUTH_MAX bytes take. */
enum { CONFIG_MEMORY = 1 << 20, EXCHANGE_MS = 10000 };

/* Does not change after the start. The texts of providers lie in `a` and in the options page, and
 * issuers keep pointers to some of them. */
struct identity {
	struct arena a;
	struct providers providers;
	struct issuer *google;
	struct issuer *issuers[PROVIDERS_MAX]; /* of providers.v */
};

bool identity_check(const struct options *opt, char *error)
{
	struct providers providers;
	struct arena a;
	bool ok;

	arena_init(&a, CONFIG_MEMORY);
	ok = providers_load(opt, &a, &providers, error);
	arena_free(&a);
	return ok;
}

/* Fetches nothing, so a provider that is down keeps no worker from starting (the released server's
 * discovery at start-up does, auth.md 4.4). */
static bool make_issuers(struct identity *id, struct worker *w)
{
	const struct providers *p = &id->providers;

	if (p->google.id && !(id->google = issuer_new(w, p->google.issuer)))
		return false;
	for (unsigned i = 0; i < p->n; i++)
		if (!(id->issuers[i] = issuer_new(w, p->v[i].issuer)))
			return false;
	return true;
}

int identity_start(struct worker *w)
{
	struct identity *id = w->identity = calloc(1, sizeof(*id));
	char error[CONFIG_ERROR];

	if (!id)
		return EXIT_FAILURE;
	arena_init(&id->a, CONFIG_MEMORY);
	if (!providers_load(w->opt, &id->a, &id->providers, error)) {
		log_err("configuration refused: %s", error);
		return EXIT_HOPELESS;
	}
	return make_issuers(id, w) ? 0 : EXIT_FAILURE;
}

/* Issuers first: their URLs lie in the arena. */
void identity_free(struct identity *id)
{
	if (!id)
		return;
	issuer_free(id->google);
	for (unsigned i = 0; i < PROVIDERS_MAX; i++)
		issuer_free(id->issuers[i]);
	arena_free(&id->a);
	free(id);
}

const struct providers *identity_providers(const struct identity *id)
{
	static const struct providers none;

	return id ? &id->providers : &none;
}

/* By the address of `p`: it must be one of id->providers, never a copy. */
static struct issuer *issuer_of(const struct identity *id, const struct provider *p)
{
	return p == &id->providers.google ? id->google : id->issuers[p - id->providers.v];
}

/* One answer for all that may be wrong with a credential (auth.md 4.4). `why` is for the log and a
 * constant, as idtoken.h promises. */
static int refuse(struct call *c, const struct provider *p, const char *why)
{
	log_info("sign-in refused provider=%s why=%s", p->id, why);
	return call_fail(c, CODE_UNAUTHENTICATED, "OAUTH_CREDENTIAL_INVALID",
		"the identity provider's answer is not valid, sign in again");
}

/* NULL also when the issuer is known not to have the key: c->code tells the two apart. The key
 * belongs to the documents, which may be replaced while the call parks. */
static EVP_PKEY *find_key(struct call *c, struct issuer *is, const struct idtoken *t)
{
	const struct discovery *d = issuer_get(c, is);
	EVP_PKEY *key = d ? jwks_find(d->keys, t->kid) : NULL;

	if (!d || key)
		return key;
	/* Keys rotate. */
	d = issuer_get_newer(c, is);
	return d ? jwks_find(d->keys, t->kid) : NULL;
}

/* Nothing parks between find_key() and idtoken_signed_by(), which runs on the loop: jwks.c bounds
 * what a key may cost. Google's tokens may spell the issuer without scheme wherever Google is
 * configured, in the options or in the file. */
static int verify(struct call *c, const struct provider *p, struct str token, const char *nonce,
	struct idtoken_person *out)
{
	static const char google[] = "https://accounts.google.com";
	const struct identity *id = c->w->identity;
	struct idtoken_want want = {.issuer = p->issuer,
		.client_id = p->client_id,
		.schemeless = p == &id->providers.google || strcmp(p->issuer, google) == 0,
		.nonce = nonce};
	struct idtoken t;
	const char *why;
	EVP_PKEY *key;

	if (!idtoken_open(&t, token, c->arena, &why))
		return refuse(c, p, why);
	key = find_key(c, issuer_of(id, p), &t);
	if (c->code != CODE_OK)
		return -1;
	if (!key || !idtoken_signed_by(&t, key))
		return refuse(c, p, key ? "the signature is wrong" : "its key is unknown");
	want.now_s = clock_real_ms() / 1000;
	switch (idtoken_claims(&t, &want, c->arena, out, &why)) {
	case IDTOKEN_GOOD:
		return 0;
	/* The credential is genuine, so it is not OAUTH_CREDENTIAL_INVALID (auth.md 4.4). */
	case IDTOKEN_EMAIL:
		return call_fail(c, CODE_INVALID_ARGUMENT, NULL,
			"the identity provider does not vouch for an e-mail address of yours");
	case IDTOKEN_BAD:
		break;
	}
	return refuse(c, p, why);
}

/* No nonce: the request has no field for one, and the contract checks none (auth.md 4.4). */
int identity_by_token(
	struct call *c, const struct provider *p, const char *token, struct idtoken_person *out)
{
	return verify(c, p, str_of(token), NULL, out);
}

static void on_thread(void *arg)
{
	exchange_run(arg);
}

static int unavailable(struct call *c, const struct provider *p, const char *why)
{
	log_warn("identity provider failed provider=%s error=%s", p->id, why);
	return call_fail(
		c, CODE_UNAVAILABLE, NULL, "the identity provider cannot be reached, try again");
}

/* Parks. The endpoint is copied: the documents may be replaced meanwhile. The thread allocates in
 * the call's arena, which nobody else touches while the call is parked; net.c, which weighs it,
 * reads `held` only. */
static int exchange(struct call *c, struct exchange *x, const struct discovery *d)
{
	uint64_t left = call_time_left(c);
	int rc;

	/* One more than is left, so that a provider that is too slow ends after the deadline and
	 * is told as that; and 0 would be no bound at all to libcurl. */
	x->timeout_ms = left < EXCHANGE_MS ? left + 1 : EXCHANGE_MS;
	x->basic = d->basic;
	x->endpoint = call_str(c, str_of(d->token_endpoint));
	if (!x->endpoint)
		return -1;
	if (!x->endpoint[0])
		return unavailable(c, x->provider, "the discovery document has no token_endpoint");
	rc = offload_run(c->w->offload, OFFLOAD_OUT, c->deadline_ms, on_thread, x);
	if (call_time_left(c) == 0)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
	if (rc < 0)
		return unavailable(c, x->provider, "no thread was free");
	if (x->outcome == EXCHANGE_FAILED)
		return unavailable(c, x->provider, x->error);
	/* invalid_grant is the visitor's code; what else RFC 6749 5.2 has is about us as a client,
	 * and the operator's to mend. */
	if (x->outcome == EXCHANGE_REFUSED && strcmp(x->error, "invalid_grant") != 0)
		log_warn("identity provider refuses us provider=%s error=%s", x->provider->id,
			x->error);
	return x->outcome == EXCHANGE_DONE ? 0 : refuse(c, x->provider, "the code is not valid");
}

int identity_by_code(struct call *c, const struct provider *p, const struct identity_code *code,
	struct idtoken_person *out)
{
	const struct discovery *d = issuer_get(c, issuer_of(c->w->identity, p));
	struct exchange *x = d ? call_alloc(c, sizeof(*x)) : NULL;

	if (!x)
		return -1;
	*x = (struct exchange){.opt = c->w->opt,
		.provider = p,
		.code = code->code,
		.code_verifier = code->code_verifier,
		.redirect_uri = code->redirect_uri,
		.a = c->arena};
	if (exchange(c, x, d) != 0)
		return -1;
	return verify(c, p, x->id_token, code->nonce, out);
}
