/*
 * Every signing key of the product, each an HKDF label of the one credential
 * file (D86). All hosts share the file, so what one host signs another accepts;
 * the previous file's keys verify but never sign. A label names its version:
 * changing what is signed means a new label, never a reuse.
 */
#ifndef CALL_KEYS_H
#define CALL_KEYS_H

#include <stdbool.h>
#include "shm/options.h"

enum key_use {
	KEY_JWT,             /* HS256 of access tokens (jwt.c) */
	KEY_REFRESH,         /* successor of a refresh token (D7) */
	KEY_PAGE_TOKEN,      /* HMAC of page tokens (D55) */
	KEY_PROVIDER_SECRET, /* AES-256-GCM of mail provider secrets (D16) */
	KEY_MAIL,            /* AES-256-GCM of links that wait in the outbox */
	KEY_SHARE,           /* AES-256-GCM of tokens of shared dashboards */
	KEY_USES
};

enum { KEY_BYTES = 32 };

/* False when there is no such secret (no previous one, or none configured):
 * then out is zeroed and must not be used. */
bool keys_derive(
	const struct options *opt, enum key_use use, bool previous, uint8_t out[KEY_BYTES]);

#endif
