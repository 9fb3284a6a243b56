/* Making API keys (D4): pub_/prv_ and 160 random bits in hex. */
#ifndef RPC_APIKEY_H
#define RPC_APIKEY_H

#include <stdint.h>
#include "shm/base/str.h"

enum apikey_kind { APIKEY_PUBLIC = 1, APIKEY_PRIVATE = 2 };

struct apikey {
	char id[21];        /* of its row; an xid */
	char text[45];      /* a private one must not be stored or logged */
	uint8_t digest[32]; /* SHA-256 of the text: what is looked up */
	char hint[12];      /* first and last four characters, shown in lists */
};

/* A new key from the system's random numbers; nothing is stored yet. */
void apikey_make(struct apikey *k, enum apikey_kind kind);

/* Points into *k. */
static inline struct str apikey_digest(const struct apikey *k)
{
	return (struct str){(const char *)k->digest, sizeof(k->digest)};
}

#endif
