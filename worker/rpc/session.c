/*
 * Access and refresh tokens. Nothing here decides whether a session is alive:
 * that is the rows' business (sql/query/auth.sql); only digests leave this file
 * for the database.
 */
#include "worker/rpc/session.h"

#include <string.h>

#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/options.h"
#include "worker/call/jwt.h"
#include "worker/call/keys.h"
#include "worker/worker.h"

static void digest(struct refresh *r)
{
	hash_sha256(r->text, strlen(r->text), r->hash);
}

void session_first(struct refresh *r)
{
	uint8_t bytes[REFRESH_TEXT / 2];
	hash_random(bytes, sizeof(bytes));
	str_hex(bytes, sizeof(bytes), r->text);
	explicit_bzero(bytes, sizeof(bytes));
	digest(r);
}

void session_parse(struct refresh *r, const char *text)
{
	size_t n = strnlen(text, REFRESH_TEXT);
	memcpy(r->text, text, n);
	r->text[n] = '\0';
	/* The digest of the whole text: a longer one must not pass for its prefix. */
	hash_sha256(text, strlen(text), r->hash);
}

/* Of the text, which only its owner has: the hashes that are stored must not make tokens, not even
 * for whoever has the key. */
int session_successor(struct call *c, const struct refresh *r, bool previous, struct refresh *next)
{
	uint8_t key[KEY_BYTES], mac[32];
	if (!keys_derive(c->w->opt, KEY_REFRESH, previous, key))
		return call_fail(c, CODE_INTERNAL, NULL, "no signing key is configured");
	hash_hmac(key, sizeof(key), r->text, strlen(r->text), mac);
	explicit_bzero(key, sizeof(key));
	str_hex(mac, sizeof(mac), next->text);
	digest(next);
	return 0;
}

int session_tokens(struct call *c, const char *customer_id, const char *session_id,
	const struct refresh *r, char **token, char **refresh_token)
{
	*token = jwt_sign(c->w->opt, c->arena, customer_id, session_id, clock_real_ms() / 1000);
	*refresh_token = arena_str(c->arena, str_of(r->text));
	if (!*token || !*refresh_token)
		return call_fail(c, CODE_INTERNAL, NULL, "the session could not be signed");
	return 0;
}

int session_open(struct call *c, const char *customer_id, char **token, char **refresh_token)
{
	return session_open_in(c, &c->db, customer_id, token, refresh_token);
}

int session_open_for(struct call *c, const char *customer_id, struct str hash, char **token,
	char **refresh_token)
{
	struct refresh r;
	char id[21];
	session_first(&r);
	hash_xid(id);
	struct q_auth_sign_in_row row;
	struct q_auth_sign_in_args args = {
		.session_id = str_of(id),
		.customer_id = str_of(customer_id),
		.password_hash = hash,
		.refresh_hash = {(const char *)r.hash, sizeof(r.hash)},
		.lifetime_us = c->w->opt->refresh_lifetime * 1000,
	};
	int n = q_auth_sign_in(&c->db, &args, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return 0;
	return session_tokens(c, customer_id, id, &r, token, refresh_token) < 0 ? -1 : 1;
}

int session_open_in(
	struct call *c, struct db *tx, const char *customer_id, char **token, char **refresh_token)
{
	struct refresh r;
	char id[21];
	session_first(&r);
	hash_xid(id);
	struct q_auth_session_open_args args = {
		.session_id = str_of(id),
		.customer_id = str_of(customer_id),
		.refresh_hash = {(const char *)r.hash, sizeof(r.hash)},
		.lifetime_us = c->w->opt->refresh_lifetime * 1000,
	};
	if (q_auth_session_open(tx, &args) < 0)
		return call_fail_db(c, tx);
	return session_tokens(c, customer_id, id, &r, token, refresh_token);
}
