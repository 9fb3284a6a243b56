/*
 * Step 2: who is calling (D3). Fills c->who or fails: unauthenticated when the
 * credential is missing or wrong, permission_denied when it is good but of the
 * wrong kind or for another project, unavailable when nobody could tell.
 */
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "q.h"
#include "worker/call/apikey.h"
#include "worker/call/jwt.h"
#include "worker/call/limit.h"
#include "worker/worker.h"

enum credential_kind { NO_CREDENTIAL, API_KEY, TOKEN };

struct credential {
	enum credential_kind kind;
	struct str text;
};

static bool key_like(struct str s)
{
	return str_starts(s, STR("pub_")) || str_starts(s, STR("prv_"));
}

/* The value of api_key in a query string; a key has nothing to percent-decode. */
static struct str query_key(struct str query)
{
	static const char name[] = "api_key=";

	while (query.n > 0) {
		long amp = str_find(query, '&');
		size_t n = amp < 0 ? query.n : (size_t)amp;
		struct str pair = {query.p, n};

		if (str_starts(pair, STR(name)))
			return (struct str){pair.p + sizeof(name) - 1, n - (sizeof(name) - 1)};
		query.p += amp < 0 ? n : n + 1;
		query.n -= amp < 0 ? n : n + 1;
	}
	return (struct str){NULL, 0};
}

/* "Bearer <text>", scheme in any case, any number of spaces. */
static struct str bearer(struct str header)
{
	static const char scheme[] = "bearer";
	const size_t n = sizeof(scheme) - 1;

	if (header.n <= n || !str_case_eq((struct str){header.p, n}, STR(scheme)) ||
		(header.p[n] != ' ' && header.p[n] != '\t'))
		return (struct str){NULL, 0};
	return str_trim((struct str){header.p + n, header.n - n});
}

/* x-api-key goes before Authorization (D3). */
static struct credential find_credential(const struct call *c)
{
	struct str key = http_header_get(c->rq, STR("x-api-key"));
	struct str token = bearer(http_header_get(c->rq, STR("authorization")));

	if (key.n > 0)
		return (struct credential){API_KEY, key};
	if (token.n > 0)
		return (struct credential){key_like(token) ? API_KEY : TOKEN, token};
	/* Beacons cannot set headers. Private keys are refused here: a URL ends in
	 * logs and histories. */
	key = c->method->authz == PB_AUTHZ_SDK ? query_key(c->rq->query) : (struct str){NULL, 0};
	if (str_starts(key, STR("pub_")))
		return (struct credential){API_KEY, key};
	return (struct credential){NO_CREDENTIAL, {NULL, 0}};
}

/* A good key that may not do this: paid for like any other call. */
static int key_refused(struct call *c, const char *why)
{
	if (call_limit(c) < 0)
		return -1;
	return call_fail(c, CODE_PERMISSION_DENIED, NULL, "%s", why);
}

/* A foreign and an unknown project are one answer (D52). */
static const char foreign_project[] =
	"x-project-id names no project that this credential gives access to";

static int wrong_project(struct call *c)
{
	return call_fail(c, CODE_PERMISSION_DENIED, NULL, "%s", foreign_project);
}

static void put(char *to, size_t size, struct str from)
{
	size_t n = from.n < size ? from.n : size - 1;

	if (n > 0)
		memcpy(to, from.p, n);
	to[n] = '\0';
}

static void principal_hash(struct principal *who)
{
	struct str id = str_of(who->kind == WHO_CUSTOMER ? who->customer_id : who->key_id);

	who->hash = hash_64(id.p, id.n) | 1;
}

/* c->who is complete before anything is refused: call_limit() charges by it, and the log names the
 * key. */
static int with_key(struct call *c, struct str key)
{
	struct principal *who = &c->who;
	struct str asked = http_header_get(c->rq, STR("x-project-id"));
	struct key_entry e;

	if (apikey_find(c, key, &e) < 0)
		return -1;
	who->kind = e.kind == 2 ? WHO_PRIVATE_KEY : WHO_PUBLIC_KEY;
	put(who->key_id, sizeof(who->key_id), str_of(e.key_id));
	put(who->project_id, sizeof(who->project_id), str_of(e.project_id));
	put(who->org_id, sizeof(who->org_id), str_of(e.org_id));
	who->project = e.project;
	principal_hash(who);
	if (c->method->authz != PB_AUTHZ_SDK &&
		!(c->method->authz == PB_AUTHZ_SHARED && who->kind == WHO_PRIVATE_KEY))
		return key_refused(c, "an API key of this kind may not call this method");
	if (asked.n > 0 && !str_eq(asked, str_of(who->project_id)))
		return key_refused(c, foreign_project);
	return 0;
}

static int unknown_customer(struct call *c)
{
	return call_fail(c, CODE_UNAUTHENTICATED, NULL,
		"the account or the session of this token does not exist");
}

static int load_customer(struct call *c)
{
	struct q_authn_customer_args args = {
		.customer_id = str_of(c->who.customer_id), .session_id = str_of(c->who.session_id)};
	struct q_authn_customer_row row;
	int n = q_authn_customer(&c->db, &args, &row);

	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return unknown_customer(c);
	put(c->who.email, sizeof(c->who.email), row.email);
	c->who.demo = row.demo;
	return 0;
}

static int load_customer_project(struct call *c, struct str project)
{
	struct principal *who = &c->who;
	struct q_authn_customer_project_args args = {.customer_id = str_of(who->customer_id),
		.project_id = project,
		.session_id = str_of(who->session_id)};
	struct q_authn_customer_project_row row;
	int n = q_authn_customer_project(&c->db, &args, &row);

	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return unknown_customer(c);
	put(who->email, sizeof(who->email), row.email);
	who->demo = row.demo;
	if (row.project == 0)
		return wrong_project(c);
	put(who->project_id, sizeof(who->project_id), project);
	put(who->org_id, sizeof(who->org_id), row.org_id);
	who->project = row.project;
	who->role = (enum pb_role)row.role;
	return 0;
}

/* A stale x-project-id is refused on methods without a project too: the released
 * dashboard relies on one answer everywhere (auth.md 2.2). */
static int load(struct call *c)
{
	struct str project = http_header_get(c->rq, STR("x-project-id"));

	if (!c->w->db)
		return call_fail(
			c, CODE_UNAVAILABLE, NULL, "the database is not reachable, try again");
	if (project.n == 0)
		return load_customer(c);
	/* An id of another shape names nothing, and must not reach PostgreSQL,
	 * which refuses NUL and bad UTF-8 as an error of ours. */
	if (project.n != 20 || !str_utf8_ok(project) || memchr(project.p, 0, project.n))
		return load_customer(c) < 0 ? -1 : wrong_project(c);
	return load_customer_project(c, project);
}

static int with_token(struct call *c, struct str token)
{
	enum pb_authz authz = (enum pb_authz)c->method->authz;
	struct jwt_subject subject;

	switch (jwt_verify(c->w->opt, token, clock_real_ms() / 1000, &subject)) {
	case JWT_GOOD:
		break;
	case JWT_EXPIRED:
		return call_fail(c, CODE_UNAUTHENTICATED, NULL, "the token has expired");
	case JWT_BAD:
		return call_fail(c, CODE_UNAUTHENTICATED, NULL, "the token is not valid");
	}
	if (authz == PB_AUTHZ_SDK)
		return call_fail(c, CODE_PERMISSION_DENIED, NULL, "this method needs an API key");
	c->who.kind = WHO_CUSTOMER;
	put(c->who.customer_id, sizeof(c->who.customer_id), str_of(subject.customer_id));
	put(c->who.session_id, sizeof(c->who.session_id), str_of(subject.session_id));
	principal_hash(&c->who);
	if (limit_customer(c) < 0 || load(c) < 0)
		return -1;
	if (c->who.project == 0 && (authz == PB_AUTHZ_PROJECT || authz == PB_AUTHZ_SHARED))
		return call_fail(c, CODE_INVALID_ARGUMENT, "PROJECT_REQUIRED",
			"the header x-project-id is missing");
	return 0;
}

/* Public methods do not look at a credential, not even at a wrong one (auth.md 2.2). */
int call_authn(struct call *c)
{
	struct credential cred;

	if (c->w->db)
		db_pooled(&c->db, c->w->db, c->arena, c->deadline_ms);
	if (c->method->authz == PB_AUTHZ_PUBLIC)
		return 0;
	cred = find_credential(c);
	switch (cred.kind) {
	case API_KEY:
		return with_key(c, cred.text);
	case TOKEN:
		return with_token(c, cred.text);
	case NO_CREDENTIAL:
		break;
	}
	return call_fail(c, CODE_UNAUTHENTICATED, NULL, "the call has no credential");
}
