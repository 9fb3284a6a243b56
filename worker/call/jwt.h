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

/* Whose token it is: xids. The session (claim sid) is what SetPassword spares and
 * checks; other methods do not ask whether it still lives (auth.md 2.3), only whether it was
 * voided (D84). */
struct jwt_subject {
	char customer_id[21];
	char session_id[21]; /* "" in a token of a pugd that had no such claim */
};

/* A fresh token in the arena; NULL without memory or without a credential. */
char *jwt_sign(const struct options *opt, struct arena *a, const char *customer_id,
	const char *session_id, int64_t now_s);
/* Checks signature (current or previous key), iss, aud, exp, iat, sub and sid. Only
 * with JWT_GOOD the subject is set. */
enum jwt_verdict jwt_verify(
	const struct options *opt, struct str token, int64_t now_s, struct jwt_subject *subject);

#endif
