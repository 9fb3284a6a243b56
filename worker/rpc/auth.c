/*
 * AuthService: accounts, sign-in and sessions (auth.md 4, D5-D7, D57, D58).
 * What is allowed is decided in SQL and in the proto; this file joins them.
 */
#include <string.h>

#include "proto/auth/v1/auth.pb-c.h"
#include "q.h"
#include "rpc.h"
#include "shm/base/hash.h"
#include "shm/options.h"
#include "worker/call/limit.h"
#include "worker/rpc/apikey.h"
#include "worker/rpc/password.h"
#include "worker/rpc/session.h"
#include "worker/rpc/zone.h"
#include "worker/worker.h"

static int wrong_credentials(struct call *c, const char *email)
{
	if (limit_signin_charge(c, str_of(email)) != 0)
		return -1;
	return call_fail(c, CODE_UNAUTHENTICATED, "INVALID_CREDENTIALS",
		"invalid credentials: the e-mail or the password is wrong");
}

int rpc_auth_sign_up(
	struct call *c, const Auth__V1__SignUpRequest *in, Auth__V1__SignUpResponse *out)
{
	struct refresh r;
	struct apikey key;
	char customer[21], org[21], project[21], session[21];
	const char *hash = password_hash(c, in->password);
	if (!hash)
		return -1;
	session_first(&r);
	apikey_make(&key, APIKEY_PUBLIC);
	hash_xid(customer);
	hash_xid(org);
	hash_xid(project);
	hash_xid(session);
	struct str name = str_of(in->display_name ? in->display_name : "");
	struct q_auth_sign_up_args args = {
		.customer_id = str_of(customer),
		.email = str_of(in->email),
		.password_hash = str_of(hash),
		.display_name = name,
		.org_id = str_of(org),
		.org_name = name.n ? name : STR("default"),
		.project_id = str_of(project),
		.timezone = zone_or_utc(in->timezone),
		.key_id = str_of(key.id),
		.key = str_of(key.text),
		.key_digest = apikey_digest(&key),
		.key_hint = str_of(key.hint),
		.session_id = str_of(session),
		.refresh_hash = {(const char *)r.hash, sizeof(r.hash)},
		.lifetime_us = c->w->opt->refresh_lifetime * 1000,
	};
	struct q_auth_sign_up_row row;
	int n = q_auth_sign_up(&c->db, &args, &row);
	if (n < 0 && c->db.err.kind == DB_UNIQUE &&
		strcmp(c->db.err.constraint, "customers_email_key") == 0)
		return call_fail(c, CODE_ALREADY_EXISTS, "EMAIL_TAKEN",
			"email: an account with this address exists already");
	if (n < 0)
		return call_fail_db(c, &c->db);
	return session_tokens(c, customer, session, &r, &out->token, &out->refresh_token);
}

/* A bcrypt hash that just verified becomes yescrypt; failing to is no failure of the call. After
 * the session, which opens only while the old hash is there. */
static void upgrade_hash(
	struct call *c, const struct q_auth_customer_by_email_row *row, const char *password)
{
	const char *fresh = password_hash(c, password);
	if (fresh)
		(void)q_auth_upgrade_hash(&c->db, &(struct q_auth_upgrade_hash_args){.id = row->id,
							  .old_hash = row->password_hash,
							  .new_hash = str_of(fresh)});
}

/* 1 signed in, 0 the account's password changed meanwhile, -1 after call_fail(). */
static int sign_in(struct call *c, const Auth__V1__SignInRequest *in, Auth__V1__SignInResponse *out)
{
	struct q_auth_customer_by_email_row row = {0};
	int n = q_auth_customer_by_email(
		&c->db, &(struct q_auth_customer_by_email_args){.email = str_of(in->email)}, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	/* Also without an account: the time must not tell (D5). */
	int match = password_verify(c, in->password, n ? row.password_hash : (struct str){0});
	if (match < 0)
		return -1;
	if (match == PASSWORD_WRONG)
		return wrong_credentials(c, in->email);
	/* Once more: it may have been one of many guesses that were under way. */
	if (limit_signin_check(c, str_of(in->email)) != 0)
		return -1;
	char *id = call_str(c, row.id);
	if (!id)
		return -1;
	n = session_open_for(c, id, row.password_hash, &out->token, &out->refresh_token);
	if (n == 1 && match == PASSWORD_RIGHT_OLD)
		upgrade_hash(c, &row, in->password);
	return n;
}

int rpc_auth_sign_in(
	struct call *c, const Auth__V1__SignInRequest *in, Auth__V1__SignInResponse *out)
{
	if (limit_signin_check(c, str_of(in->email)) != 0)
		return -1;
	/* Twice: of two sign-ins at once one may have upgraded the hash. */
	for (int round = 0; round < 2; round++) {
		int n = sign_in(c, in, out);
		if (n != 0)
			return n < 0 ? -1 : 0;
	}
	return wrong_credentials(c, in->email);
}

enum refresh_outcome { REFRESH_REFUSED, REFRESH_ROTATED, REFRESH_REPEATED, REFRESH_REUSED };

static int refresh_refused(struct call *c)
{
	return call_fail(c, CODE_UNAUTHENTICATED, "INVALID_TOKEN",
		"refresh_token: unknown, expired, revoked or used before");
}

/* Inside the grace the answer repeats the successor, which the previous key may have made
 * if keys were rotated in between. */
static int repeated_successor(struct call *c, const struct refresh *used, struct refresh *next)
{
	struct q_auth_refresh_known_row row;
	struct q_auth_refresh_known_args args = {
		.hash = {(const char *)next->hash, sizeof(next->hash)}};
	if (c->w->opt->secret_previous_len == 0)
		return 0;
	if (q_auth_refresh_known(&c->db, &args, &row) < 0)
		return call_fail_db(c, &c->db);
	return row.known ? 0 : session_successor(c, used, true, next);
}

/* The successor follows from the token and a key, so it is made before anybody knows whether it
 * will count. A reuse is told like any other refusal. */
int rpc_auth_refresh_token(struct call *c, const Auth__V1__RefreshTokenRequest *in,
	Auth__V1__RefreshTokenResponse *out)
{
	struct refresh used, next;
	struct q_auth_refresh_row row;
	session_parse(&used, in->refresh_token);
	if (strlen(in->refresh_token) != REFRESH_TEXT)
		return refresh_refused(c);
	if (session_successor(c, &used, false, &next) != 0)
		return -1;
	struct q_auth_refresh_args args = {
		.hash = {(const char *)used.hash, sizeof(used.hash)},
		.successor_hash = {(const char *)next.hash, sizeof(next.hash)},
		.lifetime_us = c->w->opt->refresh_lifetime * 1000,
		.grace_us = c->w->opt->refresh_grace * 1000,
	};
	int n = q_auth_refresh(&c->db, &args, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0 || row.outcome == REFRESH_REFUSED || row.outcome == REFRESH_REUSED)
		return refresh_refused(c);
	if (row.outcome == REFRESH_REPEATED && repeated_successor(c, &used, &next) != 0)
		return -1;
	char *id = call_str(c, row.customer_id), *session = call_str(c, row.session_id);
	if (!id || !session)
		return -1;
	return session_tokens(c, id, session, &next, &out->token, &out->refresh_token);
}

/* Unknown tokens are a success, too (auth.md 4.6). */
int rpc_auth_sign_out(
	struct call *c, const Auth__V1__SignOutRequest *in, Auth__V1__SignOutResponse *out)
{
	struct refresh r;
	(void)out;
	if (!in->refresh_token || !in->refresh_token[0])
		return 0;
	session_parse(&r, in->refresh_token);
	struct q_auth_sign_out_args args = {.hash = {(const char *)r.hash, sizeof(r.hash)}};
	if (q_auth_sign_out(&c->db, &args) < 0)
		return call_fail_db(c, &c->db);
	return 0;
}
