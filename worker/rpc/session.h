/* Sign-in sessions: an access token and a chain of refresh tokens (D7). */
#ifndef RPC_SESSION_H
#define RPC_SESSION_H

#include "worker/call/call.h"

enum { REFRESH_TEXT = 64, REFRESH_HASH = 32 };

/* A refresh token's text and what is stored of it. */
struct refresh {
	char text[REFRESH_TEXT + 1];
	uint8_t hash[REFRESH_HASH];
};

/* The first of a family: random. */
void session_first(struct refresh *r);
/* Fills r->hash from the text of a token that a client sent. */
void session_parse(struct refresh *r, const char *text);
/* What `r` becomes on rotation: HMAC under the refresh key, so that a lost answer can be
 * repeated (D58). -1 after call_fail(). `previous` uses the key before a rotation of keys. */
int session_successor(struct call *c, const struct refresh *r, bool previous, struct refresh *next);
/* Copies of a fresh access token and of r's text in the arena. -1 after call_fail(). */
int session_tokens(struct call *c, const char *customer_id, const char *session_id,
	const struct refresh *r, char **token, char **refresh_token);
/* A new session of the customer, stored. -1 after call_fail(). */
int session_open(struct call *c, const char *customer_id, char **token, char **refresh_token);
/* The same for a password that fitted `hash`: 1, 0 when the account's hash is another one
 * by now, -1 after call_fail(). */
int session_open_for(struct call *c, const char *customer_id, struct str hash, char **token,
	char **refresh_token);
/* session_open() as a step of a transaction. */
int session_open_in(
	struct call *c, struct db *tx, const char *customer_id, char **token, char **refresh_token);

#endif
