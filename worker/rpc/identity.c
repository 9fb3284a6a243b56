/*
 * AuthService by other providers: SignInWithOAuth, GetAuthConfig, CompleteOIDCSignIn
 * (auth.md 4.4, 12). Who somebody is says worker/identity; whose account that is, this.
 */
#include "worker/identity/identity.h"

#include "proto/auth/v1/auth.pb-c.h"
#include "q.h"
#include "rpc.h"
#include "worker/identity/redirect.h"
#include "worker/rpc/account.h"
#include "worker/rpc/session.h"
#include "worker/worker.h"

/* Also pugd.customer_identities.provider and subject. */
struct foreign_id {
	struct str provider, subject;
};

struct session_texts {
	char *token, *refresh_token;
};

enum resolved { RESOLVED_LOST = 1 /* somebody else was faster: look again */ };

static int disabled(struct call *c, const char *field)
{
	return call_fail(c, CODE_INVALID_ARGUMENT, "OAUTH_PROVIDER_DISABLED",
		"%s: this provider is not set up on this server", field);
}

/* 1 and the id when the identity is somebody's, 0, or -1. */
static int find(struct call *c, struct db *tx, const struct foreign_id *f, char id[21])
{
	struct q_identity_find_args args = {.provider = f->provider, .subject = f->subject};
	struct q_identity_find_row row;
	int n = q_identity_find(tx, &args, &row);

	if (n < 0)
		return call_fail_db(c, tx);
	if (n > 0)
		memcpy(id, row.customer_id.p, 21);
	return n;
}

/* The account of the e-mail address, made where there is none, becomes theirs. */
static int link(struct call *c, struct db *tx, const struct foreign_id *f,
	const struct account_new *a, char id[21])
{
	int n;

	if (account_find_or_create(c, tx, a, id, NULL) != 0)
		return -1;
	struct q_identity_link_args args = {
		.provider = f->provider, .subject = f->subject, .customer_id = str_of(id)};
	n = q_identity_link(tx, &args);
	if (n < 0)
		return call_fail_db(c, tx);
	/* The winner may have taken another address: nothing of this attempt may stay. */
	if (n == 0)
		return RESOLVED_LOST;
	return account_verified(c, tx, id);
}

/* A known identity stays with its account, whatever its e-mail is by now, and proves
 * nothing about the address of the account. */
static int resolve_in(struct call *c, struct db *tx, const struct foreign_id *f,
	const struct account_new *a, struct session_texts *out)
{
	char id[21];
	int n = find(c, tx, f, id);

	if (n < 0)
		return -1;
	if (n == 0 && (n = link(c, tx, f, a, id)) != 0)
		return n;
	return session_open_in(c, tx, id, &out->token, &out->refresh_token);
}

static int resolve_once(struct call *c, const struct foreign_id *f, const struct account_new *a,
	struct session_texts *out)
{
	struct db tx;
	int rc;

	if (db_begin(&tx, c->w->db, c->arena, c->deadline_ms) < 0)
		return call_fail_db(c, &tx);
	rc = resolve_in(c, &tx, f, a, out);
	if (rc != 0) {
		db_rollback(&tx);
		return rc;
	}
	return db_commit(&tx) < 0 ? call_fail_db(c, &tx) : 0;
}

static int resolve(struct call *c, struct str provider, struct str subject,
	const struct idtoken_person *p, const char *zone, struct session_texts *out)
{
	struct foreign_id f = {provider, subject};
	struct account_new a = {.email = p->email,
		.display_name = p->name,
		.picture_url = p->picture,
		.timezone = zone,
		.with_org = true};
	int rc = resolve_once(c, &f, &a, out);

	/* The winner has committed by now, so the second look finds them. */
	if (rc == RESOLVED_LOST)
		rc = resolve_once(c, &f, &a, out);
	if (rc == RESOLVED_LOST)
		return call_fail(c, CODE_ABORTED, NULL, "the account is changing, try again");
	return rc;
}

/* The provider is asked before a transaction begins: one that is slow holds no connection. */
int rpc_auth_sign_in_with_oauth(struct call *c, const Auth__V1__SignInWithOAuthRequest *in,
	Auth__V1__SignInWithOAuthResponse *out)
{
	const struct provider *google = &identity_providers(c->w->identity)->google;
	struct session_texts texts;
	struct idtoken_person who;

	if (in->provider != AUTH__V1__OAUTH_PROVIDER__O_AUTH_PROVIDER_GOOGLE || !google->id)
		return disabled(c, "provider");
	if (identity_by_token(c, google, in->credential, &who) != 0 ||
		resolve(c, STR("google"), who.subject, &who, in->timezone, &texts) != 0)
		return -1;
	out->token = texts.token;
	out->refresh_token = texts.refresh_token;
	return 0;
}

/* A page may only finish what its own origin began: or a code that was stolen elsewhere
 * could be redeemed from any page. Programs send no Origin. */
static int check_origin(struct call *c, const char *redirect_uri)
{
	struct str origin = http_header_get(c->rq, STR("origin"));

	if (!origin.p || redirect_same_origin(str_of(redirect_uri), origin))
		return 0;
	return call_fail(c, CODE_INVALID_ARGUMENT, NULL,
		"redirect_uri must be on the origin of the page that sends it");
}

int rpc_auth_complete_oidc_sign_in(struct call *c, const Auth__V1__CompleteOIDCSignInRequest *in,
	Auth__V1__CompleteOIDCSignInResponse *out)
{
	const struct provider *p =
		providers_find(identity_providers(c->w->identity), in->provider_id);
	struct identity_code code = {in->code, in->code_verifier, in->redirect_uri, in->nonce};
	struct session_texts texts;
	struct idtoken_person who;
	struct str subject;

	if (!p)
		return disabled(c, "provider_id");
	if (check_origin(c, in->redirect_uri) != 0 || identity_by_code(c, p, &code, &who) != 0)
		return -1;
	/* A subject is one within its issuer only (OpenID Connect Core 2; auth.md 12). */
	subject = arena_printf(c->arena, "%s\x1f%s", p->issuer, who.subject.p);
	if (!subject.p)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "out of memory");
	if (resolve(c, STR("oidc"), subject, &who, in->timezone, &texts) != 0)
		return -1;
	out->token = texts.token;
	out->refresh_token = texts.refresh_token;
	return 0;
}

/* NULL after call_fail(). */
static Auth__V1__AuthProviderConfig *show(struct call *c, const struct provider *p)
{
	Auth__V1__AuthProviderConfig *m = call_alloc(c, sizeof(*m));

	if (!m)
		return NULL;
	auth__v1__auth_provider_config__init(m);
	m->id = call_str(c, str_of(p->id));
	m->has_type = 1;
	m->type = AUTH__V1__AUTH_PROVIDER_TYPE__AUTH_PROVIDER_TYPE_OIDC;
	m->display_name = call_str(c, str_of(p->display_name));
	m->client_id = call_str(c, str_of(p->client_id));
	m->issuer_url = call_str(c, str_of(p->issuer));
	m->scopes = call_alloc(c, SCOPES_MAX * sizeof(*m->scopes));
	if (!m->id || !m->display_name || !m->client_id || !m->issuer_url || !m->scopes)
		return NULL;
	for (; m->n_scopes < p->n_scopes; m->n_scopes++)
		if (!(m->scopes[m->n_scopes] = call_str(c, str_of(p->scopes[m->n_scopes]))))
			return NULL;
	return m;
}

int rpc_auth_get_auth_config(struct call *c, const Auth__V1__GetAuthConfigRequest *in,
	Auth__V1__GetAuthConfigResponse *out)
{
	const struct providers *p = identity_providers(c->w->identity);

	(void)in;
	out->providers = call_alloc(c, PROVIDERS_MAX * sizeof(*out->providers));
	if (!out->providers)
		return -1;
	for (unsigned i = 0; i < p->n; i++) {
		out->providers[i] = show(c, &p->v[i]);
		if (!out->providers[i])
			return -1;
		out->n_providers++;
	}
	return 0;
}
