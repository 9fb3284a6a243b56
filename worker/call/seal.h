/*
 * Secrets at rest: AES-256-GCM under a key of the credential file (keys.h), bound to
 * the row they belong to, so that rows cannot be swapped. The first byte names the
 * key, because two may be in use while keys rotate:
 *
 *   1 key check (first byte of its SHA-256)   12 nonce   n ciphertext   16 tag
 */
#ifndef CALL_SEAL_H
#define CALL_SEAL_H

#include "shm/base/arena.h"
#include "worker/call/keys.h"

enum { SEAL_OVERHEAD = 1 + 12 + 16 };

/* Sealed bytes in the arena, always with the current key; {NULL, 0} without such a key
 * or without memory. `bound` is what the row is known by (an org id, a dispatch id). */
struct str seal_make(const struct options *opt, enum key_use use, struct str bound, struct str text,
	struct arena *a);
/* The text (NUL-terminated in the arena), or {NULL, 0} when no key of ours fits, the
 * bytes were changed, or they belong to another row. *old (may be NULL) is set when the
 * previous key opened it: such a secret should be sealed anew. */
struct str seal_open(const struct options *opt, enum key_use use, struct str bound,
	struct str sealed, struct arena *a, bool *old);

#endif
