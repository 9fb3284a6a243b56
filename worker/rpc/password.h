/* Password hashes (D5): yescrypt for new ones, bcrypt still verifies. Both take
 * tens of milliseconds, so they run on an offload thread and park the caller. */
#ifndef RPC_PASSWORD_H
#define RPC_PASSWORD_H

#include <crypt.h>
#include "worker/call/call.h"

/* A new yescrypt hash; blocks for tens of milliseconds, so only on threads and in commands. */
bool password_make(const char *password, char out[CRYPT_OUTPUT_SIZE]);

/* A new yescrypt hash in c's arena; NULL after call_fail(). */
const char *password_hash(struct call *c, const char *password);

enum password_match { PASSWORD_WRONG, PASSWORD_RIGHT, PASSWORD_RIGHT_OLD /* upgrade it */ };

/* hash == NULL (unknown address, or an account without a password) costs the same
 * time and is PASSWORD_WRONG. -1 after call_fail(). */
int password_verify(struct call *c, const char *password, struct str hash);

#endif
