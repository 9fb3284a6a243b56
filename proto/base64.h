/* Base64 (RFC 4648). */
#ifndef PROTO_BASE64_H
#define PROTO_BASE64_H

#include "shm/base/str.h"

/* Bytes that base64_decode() may write for n characters. */
static inline size_t base64_decoded_max(size_t n)
{
	return n / 4 * 3 + 3;
}

/* Characters of base64_encode() for n bytes, without the NUL. */
static inline size_t base64_encoded_len(size_t n, bool pad)
{
	return pad ? (n + 2) / 3 * 4 : n / 3 * 4 + (n % 3 ? n % 3 + 1 : 0);
}

/* Reads the standard and the URL-safe alphabet (mixed too), padded or not, but
 * no spaces or line ends. False on anything else; *n_out is the length. */
bool base64_decode(struct str s, uint8_t *out, size_t *n_out);
/* Standard alphabet, and a NUL; returns the length. */
size_t base64_encode(const void *p, size_t n, bool pad, char *out);
/* URL-safe alphabet without padding, and a NUL; returns the length. */
size_t base64_encode_url(const void *p, size_t n, char *out);

#endif
