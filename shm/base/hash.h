/* Hashes and identifiers. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "shm/base/str.h"

/* SipHash-2-4 under a per-boot random key: for tables an attacker can fill. */
uint64_t hash_sip(const uint8_t key[16], const void *p, size_t n);
/* Fast, unkeyed, 64 bits, the same everywhere: for fingerprints. Texts that collide are easy to
 * make, so it is not for tables that a client can fill. */
uint64_t hash_64(const void *p, size_t n);
/* As fast, under a random key of this process: for tables of texts from outside. */
uint64_t hash_text(const void *p, size_t n);
/* Of 16 bytes under a random key: fast, and nobody who does not know the key can choose some that
 * collide (NH: two have the same product for one key of 2^64). Ids that count up have products
 * that do, too, and would fill tables by steps: the rest, which loses nothing, scatters them. */
static inline uint64_t hash_pair(const uint64_t key[2], const void *p)
{
	uint64_t w[2], x;
	unsigned __int128 product;

	memcpy(w, p, sizeof(w));
	product = (unsigned __int128)(w[0] + key[0]) * (w[1] + key[1]);
	x = (uint64_t)product ^ (uint64_t)(product >> 64);
	x = (x ^ x >> 32) * 0x9e3779b97f4a7c15u;
	return x ^ x >> 32;
}
/* CRC-32C (Castagnoli), for stored bytes. */
uint32_t hash_crc32c(uint32_t crc, const void *p, size_t n);
/* SHA-256 of p into out[32]. */
void hash_sha256(const void *p, size_t n, uint8_t out[32]);
/* HMAC-SHA256 into out[32]. */
void hash_hmac(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[32]);
/* HKDF-SHA256 with an info label (D86): n bytes (at most 64) into out. */
void hash_hkdf(const void *secret, size_t secret_n, const char *label, uint8_t *out, size_t n);
/* n random bytes from the kernel; panics if there are none. */
void hash_random(void *p, size_t n);
/* A new xid: 20 characters [0-9a-v] and a NUL (D9), time-ordered. */
void hash_xid(char out[21]);
/* A new UUIDv7. */
void hash_uuid7(uint8_t out[16]);
/* A new UUIDv4: random. */
void hash_uuid4(uint8_t out[16]);
/* The UUIDv5 of a name in a namespace: the same for the same name. */
void hash_uuid5(const uint8_t space[16], const void *name, size_t n, uint8_t out[16]);

#endif
