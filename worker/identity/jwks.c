/* See jwks.h. */
#include "worker/identity/jwks.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <stdlib.h>

#include "proto/base64.h"
#include "worker/identity/doc.h"

enum {
	/* RFC 7518 3.3 */
	BITS_MIN = 2048,
	/* SIGNATURE_MAX of idtoken.c is for these. */
	BITS_MAX = 8192,
	/* Verifying with a long exponent takes as long as signing. It happens on the loop. */
	EXPONENT_BYTES = 8
};

/* "Base64urlUInt"; NULL when it is none, or longer than max bytes. 4 bytes of room more than the
 * longest one has, because base64_decoded_max() rounds up. */
static BIGNUM *number(const char *text, size_t max)
{
	uint8_t bytes[BITS_MAX / 8 + 4];
	struct str s = str_of(text);
	size_t n;

	if (s.n == 0 || base64_decoded_max(s.n) > sizeof(bytes) || !base64_decode(s, bytes, &n) ||
		n > max)
		return NULL;
	return BN_bin2bn(bytes, (int)n, NULL);
}

static EVP_PKEY *build(const BIGNUM *n, const BIGNUM *e)
{
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY *key = NULL;

	if (b && ctx && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, n) &&
		OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, e) &&
		(params = OSSL_PARAM_BLD_to_param(b)) && EVP_PKEY_fromdata_init(ctx) == 1 &&
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(b);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

/* An even modulus or exponent is no RSA key, and with the exponent 1 everybody can sign. */
static EVP_PKEY *rsa_key(const json_t *jwk)
{
	BIGNUM *n = number(doc_text(jwk, "n"), BITS_MAX / 8);
	BIGNUM *e = number(doc_text(jwk, "e"), EXPONENT_BYTES);
	EVP_PKEY *key = NULL;

	if (n && e && BN_num_bits(n) >= BITS_MIN && BN_is_odd(n) && BN_is_odd(e) && !BN_is_one(e))
		key = build(n, e);
	BN_free(n);
	BN_free(e);
	return key;
}

/* Absent, or this text. */
static bool absent_or(const json_t *jwk, const char *member, const char *want)
{
	const char *text = doc_text(jwk, member);

	return !json_object_get(jwk, member) || (text && strcmp(text, want) == 0);
}

/* RFC 7517 4.2 to 4.4: a key that does not say what it is for is for anything. */
static bool fits(const json_t *jwk)
{
	const char *kty = doc_text(jwk, "kty"), *kid = doc_text(jwk, "kid");

	return kty && strcmp(kty, "RSA") == 0 && absent_or(jwk, "use", "sig") &&
	       absent_or(jwk, "alg", "RS256") && (!kid || strlen(kid) <= KID_MAX) &&
	       (!json_object_get(jwk, "key_ops") || doc_lists(jwk, "key_ops", "verify"));
}

static void add(struct jwks *k, const json_t *jwk)
{
	const char *kid = doc_text(jwk, "kid");
	struct jwk *to = &k->v[k->n];

	to->key = fits(jwk) ? rsa_key(jwk) : NULL;
	if (!to->key)
		return;
	memcpy(to->kid, kid ? kid : "", kid ? strlen(kid) + 1 : 1);
	k->n++;
}

struct jwks *jwks_read(struct str json, const char **why)
{
	json_t *doc = doc_parse(json, NULL);
	const json_t *keys = json_object_get(doc, "keys");
	struct jwks *k = NULL;

	*why = "the key set is not a JSON object with keys";
	if (json_is_array(keys) && json_array_size(keys) > JWKS_MAX)
		*why = "the key set has too many keys";
	else if (json_is_array(keys) && !(k = calloc(1, sizeof(*k))))
		*why = "out of memory";
	for (size_t i = 0; k && i < json_array_size(keys); i++)
		add(k, json_array_get(keys, i));
	json_decref(doc);
	return k;
}

void jwks_free(struct jwks *k)
{
	for (unsigned i = 0; k && i < k->n; i++)
		EVP_PKEY_free(k->v[i].key);
	free(k);
}

EVP_PKEY *jwks_find(const struct jwks *k, struct str kid)
{
	if (kid.n == 0)
		return k->n == 1 ? k->v[0].key : NULL;
	for (unsigned i = 0; i < k->n; i++)
		if (str_eq(str_of(k->v[i].kid), kid))
			return k->v[i].key;
	return NULL;
}
