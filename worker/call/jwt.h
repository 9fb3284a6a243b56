/*
 * Access tokens: JWTs of HS256 (D7), signed by us, read by us and by the
 * dashboard (which needs a numeric exp and a string sub).
 */
#ifndef CALL_JWT_H
#define CALL_JWT_H

#include "shm/base/arena.h"
#include "shm/options.h"

/* A longer token is refused unread. */
enum { JWT_MAX = 4096 };

enum jwt_verdict { JWT_GOOD, JWT_EXPIRED, JWT_BAD };

/* A fresh token for the customer (an xid) in the arena; NULL without memory or
 * without a credential. */
char *jwt_sign(const struct options *opt, struct arena *a, const char *customer_id, int64_t now_s);
/* Checks signature (current or previous key), iss, aud, exp, iat and sub. Only
 * with JWT_GOOD customer_id is set. */
enum jwt_verdict jwt_verify(
	const struct options *opt, struct str token, int64_t now_s, char customer_id[21]);

#endif
