/*
 * Access tokens. The signature is checked here, over the bytes as sent, before
 * libjwt sees anything: so the algorithm cannot be negotiated, nothing that an
 * attacker wrote reaches a JSON parser, and the comparison is constant-time
 * whatever the library does. libjwt then reads and writes the claims.
 */
#include <errno.h>
#include <inttypes.h>
#include <jwt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include "shm/base/hash.h"
#include "worker/call/jwt.h"
#include "worker/call/keys.h"

/* Hosts' clocks differ a little: a token may seem to be issued in the future. */
enum { IAT_LEEWAY_S = 60, SIGNATURE_CHARS = 43, XID_CHARS = 20 };

/* ["<audience>"], with the two characters that JSON must escape. */
static struct str audience_json(struct arena *a, const char *audience)
{
	struct buf b;

	buf_init(&b, a);
	buf_z(&b, "[\"");
	for (; *audience; audience++) {
		if (*audience == '"' || *audience == '\\')
			buf_c(&b, '\\');
		buf_c(&b, *audience);
	}
	buf_z(&b, "\"]");
	buf_c(&b, '\0');
	return b.over ? (struct str){NULL, 0} : (struct str){b.p, b.n - 1};
}

/* aud is a list of one, as in the released server's tokens (auth.md 2.3). */
static bool add_claims(jwt_t *jwt, const struct options *opt, const char *customer_id,
	const char *session_id, int64_t now_s, const char *aud)
{
	char jti[21];

	hash_xid(jti);
	return jwt_add_grant(jwt, "iss", opt->jwt_issuer) == 0 &&
	       jwt_add_grant(jwt, "sub", customer_id) == 0 &&
	       jwt_add_grant(jwt, "sid", session_id) == 0 && jwt_add_grant(jwt, "jti", jti) == 0 &&
	       jwt_add_grants_json(jwt, aud) == 0 &&
	       jwt_add_grant_int(jwt, "iat", (long)now_s) == 0 &&
	       jwt_add_grant_int(jwt, "exp", (long)(now_s + opt->jwt_lifetime / 1000)) == 0;
}

char *jwt_sign(const struct options *opt, struct arena *a, const char *customer_id,
	const char *session_id, int64_t now_s)
{
	uint8_t key[KEY_BYTES];
	struct str list = audience_json(a, opt->jwt_audience);
	struct str aud = arena_printf(a, "{\"aud\":%.*s}", STR_ARG(list));
	char *z = aud.p ? arena_str(a, aud) : NULL, *token = NULL, *out = NULL;
	jwt_t *jwt = NULL;

	if (!z || !keys_derive(opt, KEY_JWT, false, key) || jwt_new(&jwt) != 0)
		return NULL;
	if (add_claims(jwt, opt, customer_id, session_id, now_s, z) &&
		jwt_set_alg(jwt, JWT_ALG_HS256, key, KEY_BYTES) == 0)
		token = jwt_encode_str(jwt);
	if (token)
		out = arena_str(a, str_of(token));
	free(token);
	jwt_free(jwt);
	OPENSSL_cleanse(key, sizeof(key));
	return out;
}

/* base64url(HMAC) compared as text: a second spelling of the same bits (stray
 * bits in the last character) is then no second valid token. */
static bool signature_ok(const uint8_t key[KEY_BYTES], struct str signed_part, struct str sig)
{
	uint8_t mac[32], text[48];

	hash_hmac(key, KEY_BYTES, signed_part.p, signed_part.n, mac);
	EVP_EncodeBlock(text, mac, sizeof(mac));
	for (size_t i = 0; i < SIGNATURE_CHARS; i++)
		text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
	return str_secret_eq((struct str){(const char *)text, SIGNATURE_CHARS}, sig);
}

static bool audience_ok(jwt_t *jwt, const char *audience)
{
	struct arena a;
	struct str want;
	char *have;
	bool ok;
	const char *plain = jwt_get_grant(jwt, "aud");

	if (plain)
		return strcmp(plain, audience) == 0;
	have = jwt_get_grants_json(jwt, "aud");
	arena_init(&a, 4096);
	want = audience_json(&a, audience);
	ok = have && want.p && str_eq(str_of(have), want);
	arena_free(&a);
	free(have);
	return ok;
}

/* A claim that is missing or no integer reads as 0 or less. */
static int64_t claim_int(jwt_t *jwt, const char *name)
{
	long v;

	errno = 0;
	v = jwt_get_grant_int(jwt, name);
	return errno != 0 ? -1 : v;
}

static bool is_xid(const char *text)
{
	return strlen(text) == XID_CHARS &&
	       strspn(text, "0123456789abcdefghijklmnopqrstuv") == XID_CHARS;
}

/* The expiry comes last, so that JWT_EXPIRED is said only of a token that is good in all else. */
static enum jwt_verdict check_claims(
	jwt_t *jwt, const struct options *opt, int64_t now_s, struct jwt_subject *subject)
{
	const char *iss = jwt_get_grant(jwt, "iss"), *sub = jwt_get_grant(jwt, "sub");
	const char *sid = jwt_get_grant(jwt, "sid");
	int64_t exp = claim_int(jwt, "exp"), iat = claim_int(jwt, "iat");

	if (jwt_get_alg(jwt) != JWT_ALG_HS256 || !iss || strcmp(iss, opt->jwt_issuer) != 0 ||
		!audience_ok(jwt, opt->jwt_audience))
		return JWT_BAD;
	if (exp <= 0 || iat <= 0 || iat > now_s + IAT_LEEWAY_S || claim_int(jwt, "nbf") > now_s)
		return JWT_BAD;
	if (!sub || !is_xid(sub) || (sid && !is_xid(sid)))
		return JWT_BAD;
	if (exp <= now_s)
		return JWT_EXPIRED;
	memcpy(subject->customer_id, sub, XID_CHARS + 1);
	if (sid)
		memcpy(subject->session_id, sid, XID_CHARS + 1);
	return JWT_GOOD;
}

enum jwt_verdict jwt_verify(
	const struct options *opt, struct str token, int64_t now_s, struct jwt_subject *subject)
{
	char text[JWT_MAX + 1];
	uint8_t key[KEY_BYTES];
	enum jwt_verdict verdict = JWT_BAD;
	jwt_t *jwt = NULL;
	struct str sig, head;

	*subject = (struct jwt_subject){.customer_id = ""};
	if (token.n > JWT_MAX || token.n <= SIGNATURE_CHARS + 1 ||
		memchr(token.p, '\0', token.n) != NULL)
		return JWT_BAD;
	sig = (struct str){token.p + token.n - SIGNATURE_CHARS, SIGNATURE_CHARS};
	head = (struct str){token.p, token.n - SIGNATURE_CHARS - 1};
	if (head.p[head.n] != '.')
		return JWT_BAD;
	memcpy(text, token.p, token.n);
	text[token.n] = '\0';
	for (int previous = 0; previous < 2; previous++) {
		if (!keys_derive(opt, KEY_JWT, previous != 0, key) || !signature_ok(key, head, sig))
			continue;
		if (jwt_decode(&jwt, text, key, KEY_BYTES) == 0)
			verdict = check_claims(jwt, opt, now_s, subject);
		jwt_free(jwt);
		break;
	}
	OPENSSL_cleanse(key, sizeof(key));
	return verdict;
}
