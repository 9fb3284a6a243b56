/*
 * Accounts that a mailed link or an identity provider makes (auth.md 4.3, 4.4): steps
 * of one transaction of the caller's, which ends with a session.
 */
#ifndef RPC_ACCOUNT_H
#define RPC_ACCOUNT_H

#include "worker/call/call.h"

struct account_new {
	struct str email, display_name, picture_url;
	const char *timezone; /* of the browser, unchecked; NULL is UTC */
	bool with_org;        /* org and project `default` and a public key, too */
};

/* The account of a->email: found, and then locked and otherwise left alone, or made.
 * *made may be NULL. 0, or -1 after call_fail(). */
int account_find_or_create(
	struct call *c, struct db *tx, const struct account_new *a, char id[21], bool *made);
/* Notes that the person owns the address; the first time, password and sessions of
 * before are removed, access tokens included (D84). Before the new session is made. 0, or
 * -1 after call_fail(). */
int account_verified(struct call *c, struct db *tx, const char *id);

#endif
