/* See seal.h. Nonces are random: a key seals far fewer than 2^32 secrets in its life. */
#include "worker/call/seal.h"

#include <openssl/evp.h>
#include <string.h>

#include "shm/base/hash.h"

enum { NONCE = 12, TAG = 16, AT_NONCE = 1, AT_TEXT = AT_NONCE + NONCE };

/* One byte spares most decryptions under the wrong key; what decides is the tag. */
static uint8_t key_check(const uint8_t key[KEY_BYTES])
{
	uint8_t digest[32];

	hash_sha256(key, KEY_BYTES, digest);
	return digest[0];
}

/* in -> out, and the tag made (encrypting) or compared. Decrypted bytes are in `out` before the
 * tag is looked at: they count only with true. OpenSSL's lengths are int. */
static bool gcm(bool encrypt, const uint8_t key[KEY_BYTES], const uint8_t *nonce, struct str bound,
	struct str in, uint8_t *out, uint8_t *tag)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0, tail = 0;
	bool ok = ctx && bound.n < INT32_MAX && in.n < INT32_MAX &&
		  EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, encrypt) == 1 &&
		  EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)bound.p, (int)bound.n) == 1 &&
		  EVP_CipherUpdate(ctx, out, &n, (const uint8_t *)in.p, (int)in.n) == 1 &&
		  (encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1) &&
		  EVP_CipherFinal_ex(ctx, out + n, &tail) == 1 &&
		  (!encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG, tag) == 1);

	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

struct str seal_make(const struct options *opt, enum key_use use, struct str bound, struct str text,
	struct arena *a)
{
	uint8_t key[KEY_BYTES];
	uint8_t *out = arena_alloc(a, text.n + SEAL_OVERHEAD);
	bool ok = out && keys_derive(opt, use, false, key);

	if (ok) {
		out[0] = key_check(key);
		hash_random(out + AT_NONCE, NONCE);
		ok = gcm(true, key, out + AT_NONCE, bound, text, out + AT_TEXT,
			out + AT_TEXT + text.n);
	}
	explicit_bzero(key, sizeof(key));
	return ok ? (struct str){(const char *)out, text.n + SEAL_OVERHEAD} : (struct str){NULL, 0};
}

static bool open_with(const struct options *opt, enum key_use use, bool previous, struct str bound,
	struct str sealed, uint8_t *out)
{
	const uint8_t *in = (const uint8_t *)sealed.p;
	struct str text = {sealed.p + AT_TEXT, sealed.n - SEAL_OVERHEAD};
	uint8_t key[KEY_BYTES], tag[TAG];
	bool ok = keys_derive(opt, use, previous, key) && in[0] == key_check(key);

	memcpy(tag, text.p + text.n, TAG);
	ok = ok && gcm(false, key, in + AT_NONCE, bound, text, out, tag);
	explicit_bzero(key, sizeof(key));
	return ok;
}

struct str seal_open(const struct options *opt, enum key_use use, struct str bound,
	struct str sealed, struct arena *a, bool *old)
{
	/* wraps for what is too short, and is not used then */
	size_t n = sealed.n - SEAL_OVERHEAD;
	uint8_t *out;

	if (sealed.n < SEAL_OVERHEAD || !(out = arena_alloc(a, n + 1)))
		return (struct str){NULL, 0};
	for (int previous = 0; previous < 2; previous++) {
		if (!open_with(opt, use, previous != 0, bound, sealed, out))
			continue;
		if (old)
			*old = previous != 0;
		out[n] = '\0';
		return (struct str){(const char *)out, n};
	}
	return (struct str){NULL, 0};
}
