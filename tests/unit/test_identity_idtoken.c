/* Id tokens and what they are checked with: signed here by OpenSSL, not by our own code. */
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#include "proto/base64.h"
#include "worker/identity/discovery.h"
#include "worker/identity/exchange.h"
#include "worker/identity/idtoken.h"

enum { NOW = 1700000000 };

static struct arena arena;
static EVP_PKEY *key;
static const char *why;

static void setup(void)
{
	arena_init(&arena, 8 << 20);
	key = EVP_RSA_gen(2048);
	cr_assert_not_null(key);
}

static void teardown(void)
{
	EVP_PKEY_free(key);
	arena_free(&arena);
}

TestSuite(identity_idtoken, .init = setup, .fini = teardown, .timeout = 60);

static char *encoded(const void *p, size_t n)
{
	char *out = arena_alloc(&arena, base64_encoded_len(n, false) + 1);

	base64_encode_url(p, n, out);
	return out;
}

/* RS256 whatever the header says, but for `digest` and `padding`. */
static struct str sign(const char *header, const char *claims, const EVP_MD *digest, int padding)
{
	struct str text = arena_printf(
		&arena, "%s.%s", encoded(header, strlen(header)), encoded(claims, strlen(claims)));
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	uint8_t sig[1024];
	size_t n = sizeof(sig);

	cr_assert_eq(EVP_DigestSignInit(ctx, &pctx, digest, NULL, key), 1);
	cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, padding), 1);
	cr_assert_eq(EVP_DigestSign(ctx, sig, &n, (const uint8_t *)text.p, text.n), 1);
	EVP_MD_CTX_free(ctx);
	return arena_printf(&arena, "%s.%s", text.p, encoded(sig, n));
}

static char *number(const char *name)
{
	BIGNUM *n = NULL;
	uint8_t bytes[1024];
	char *out;

	cr_assert_eq(EVP_PKEY_get_bn_param(key, name, &n), 1);
	out = encoded(bytes, (size_t)BN_bn2bin(n, bytes));
	BN_free(n);
	return out;
}

/* Our key as a JWK with these members in front. */
static const char *jwk(const char *members)
{
	return arena_printf(&arena, "{%s\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}", members,
		number(OSSL_PKEY_PARAM_RSA_N), number(OSSL_PKEY_PARAM_RSA_E))
		.p;
}

static struct jwks *keys(const char *list)
{
	struct jwks *k = jwks_read(arena_printf(&arena, "{\"keys\":[%s]}", list), &why);

	cr_assert_not_null(k, "%s", why);
	return k;
}

#define HEADER "{\"alg\":\"RS256\",\"kid\":\"a\"}"
#define CLAIMS                                                                                    \
	"\"iss\":\"https://i.example\",\"aud\":\"us\",\"exp\":1700000300,\"sub\":\"s\",\"email\"" \
	":\"a@b.c\",\"email_verified\":true"

Test(identity_idtoken, a_good_one_verifies_and_no_changed_byte_does)
{
	struct str text = sign(HEADER, "{" CLAIMS "}", EVP_sha256(), RSA_PKCS1_PADDING);
	struct jwks *k = keys(jwk("\"kid\":\"a\","));
	struct idtoken_want want = {"https://i.example", "us", .now_s = NOW};
	struct idtoken_person who;
	struct idtoken t;
	char *copy = arena_str(&arena, text);

	cr_assert(idtoken_open(&t, text, &arena, &why), "%s", why);
	cr_assert(str_eq(t.kid, STR("a")));
	cr_assert(idtoken_signed_by(&t, jwks_find(k, t.kid)));
	cr_assert_eq(idtoken_claims(&t, &want, &arena, &who, &why), IDTOKEN_GOOD, "%s", why);
	cr_assert(str_eq(who.subject, STR("s")) && str_eq(who.email, STR("a@b.c")));
	cr_assert_eq(who.name.n + who.picture.n, 0);
	/* The last character may carry bits that mean nothing. */
	for (size_t i = 0; i + 1 < text.n; i++) {
		char old = copy[i];

		copy[i] = old == 'A' ? 'B' : 'A';
		cr_assert_not(idtoken_open(&t, (struct str){copy, text.n}, &arena, &why) &&
				      idtoken_signed_by(&t, k->v[0].key),
			"byte %zu", i);
		copy[i] = old;
	}
	jwks_free(k);
}

Test(identity_idtoken, other_digests_and_paddings_do_not_verify)
{
	struct jwks *k = keys(jwk(""));
	const struct {
		const EVP_MD *digest;
		int padding;
	} rows[] = {
		{EVP_sha512(), RSA_PKCS1_PADDING},
		{EVP_sha1(), RSA_PKCS1_PADDING},
		{EVP_sha256(), RSA_PKCS1_PSS_PADDING},
	};
	struct idtoken t;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str text = sign(HEADER, "{}", rows[i].digest, rows[i].padding);

		cr_assert(idtoken_open(&t, text, &arena, &why));
		cr_assert_not(idtoken_signed_by(&t, k->v[0].key), "row %zu", i);
	}
	jwks_free(k);
}

Test(identity_idtoken, headers)
{
	static const char *const no[] = {"{}", "[]", "7", "{\"alg\":7}", "{\"alg\":\"none\"}",
		"{\"alg\":\"HS256\"}", "{\"alg\":\"RS384\"}", "{\"alg\":\"rs256\"}",
		"{\"alg\":\"RS256\\u0000\"}", "{\"alg\":\"none\",\"alg\":\"RS256\"}",
		"{\"alg\":\"RS256\",\"crit\":[]}", "{\"alg\":\"RS256\",\"typ\":\"at+jwt\"}",
		"{\"alg\":\"RS256\",\"typ\":7}", "{\"alg\":\"RS256\",\"kid\":\"\"}",
		"{\"alg\":\"RS256\",\"kid\":null}", "{\"alg\":\"RS256\""};
	static const char *const yes[] = {
		"{\"alg\":\"RS256\"}", "{\"alg\":\"RS256\",\"typ\":\"jwt\",\"x5t\":\"x\"}"};
	struct idtoken t;

	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		cr_assert_not(
			idtoken_open(&t,
				arena_printf(&arena, "%s.e30.AAAA", encoded(no[i], strlen(no[i]))),
				&arena, &why),
			"%s", no[i]);
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		cr_assert(idtoken_open(&t,
				  arena_printf(
					  &arena, "%s.e30.AAAA", encoded(yes[i], strlen(yes[i]))),
				  &arena, &why),
			"%s", yes[i]);
		cr_assert_eq(t.kid.n, 0);
	}
}

static enum idtoken_verdict verdict(const char *claims, const char *nonce)
{
	struct idtoken_want want = {"https://i.example", "us", .nonce = nonce, .now_s = NOW};
	struct idtoken_person who;
	struct idtoken t = {.claims = str_of(encoded(claims, strlen(claims)))};

	return idtoken_claims(&t, &want, &arena, &who, &why);
}

Test(identity_idtoken, claims)
{
	static const struct {
		const char *claims;
		enum idtoken_verdict want;
	} rows[] = {
		{"{" CLAIMS ",\"nonce\":\"n\"}", IDTOKEN_GOOD},
		{"{" CLAIMS ",\"nonce\":\"n\",\"iat\":1700000059}", IDTOKEN_GOOD},
		{"{" CLAIMS ",\"nonce\":\"n\",\"iat\":1700000061}", IDTOKEN_BAD},
		{"{" CLAIMS ",\"nonce\":\"n\",\"iat\":\"1\"}", IDTOKEN_BAD},
		{"{" CLAIMS ",\"nonce\":\"n\",\"nbf\":-1}", IDTOKEN_BAD},
		{"{" CLAIMS ",\"nonce\":\"n\",\"nonce\":\"n\"}", IDTOKEN_BAD},
		{"{" CLAIMS ",\"nonce\":\"m\"}", IDTOKEN_BAD},
		{"{" CLAIMS "}", IDTOKEN_BAD},
		{"[]", IDTOKEN_BAD},
		{"", IDTOKEN_BAD},
		{"{" CLAIMS ",\"nonce\":\"n\",\"name\":7,\"picture\":[]}", IDTOKEN_GOOD},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_assert_eq(verdict(rows[i].claims, "n"), rows[i].want, "row %zu", i);
	cr_assert_eq(verdict("{" CLAIMS "}", NULL), IDTOKEN_GOOD);
	cr_assert_eq(verdict("{\"iss\":\"https://i.example\",\"aud\":\"us\",\"exp\":1e999,"
			     "\"sub\":\"s\"}",
			     NULL),
		IDTOKEN_BAD);
	cr_assert_eq(verdict("{\"iss\":\"https://i.example\",\"aud\":\"us\",\"exp\":1700000300,"
			     "\"sub\":\"s\",\"email\":\"a@b.c\",\"email_verified\":\"true\"}",
			     NULL),
		IDTOKEN_EMAIL);
	cr_assert_eq(verdict("{\"iss\":\"i.example\",\"aud\":\"us\",\"exp\":1700000300,\"sub\":"
			     "\"s\",\"email\":\"a@b.c\",\"email_verified\":true}",
			     NULL),
		IDTOKEN_BAD);
}

Test(identity_idtoken, keys_by_name)
{
	struct jwks *k = keys(arena_printf(&arena, "%s,%s", jwk("\"kid\":\"a\","),
		jwk("\"kid\":\"b\",\"use\":\"sig\",\"key_ops\":[\"verify\"],"))
				      .p);

	cr_assert_eq(k->n, 2);
	cr_assert(jwks_find(k, STR("b")) == k->v[1].key);
	cr_assert_null(jwks_find(k, STR("c")));
	cr_assert_null(jwks_find(k, STR("")), "which of the two?");
	jwks_free(k);
	k = keys(
		arena_printf(&arena, "%s,{\"kty\":\"EC\"},%s", jwk(""), jwk("\"use\":\"enc\",")).p);
	cr_assert_eq(k->n, 1);
	cr_assert_not_null(jwks_find(k, STR("")));
	cr_assert_null(jwks_find(k, STR("a")));
	jwks_free(k);
	cr_assert_null(jwks_read(STR("{\"keys\":{}}"), &why));
	cr_assert_null(jwks_read(STR("nonsense"), &why));
}

Test(identity_idtoken, discovery)
{
	static const char *const bad[] = {"", "[]", "{}", "{\"issuer\":\"https://i.example/\"}",
		"{\"issuer\":\"https://i.example\"}",
		"{\"issuer\":\"https://i.example\",\"jwks_uri\":\"http://i.example/k\"}",
		"{\"issuer\":\"https://i.example\",\"jwks_uri\":\"https://i.example/k\","
		"\"token_endpoint\":\"http://i.example/t\"}",
		"{\"issuer\":\"https://i.example\",\"jwks_uri\":\"https://i.example/k\","
		"\"token_endpoint\":7}"};
	struct discovery d;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not_null(
			discovery_read(&d, str_of(bad[i]), "https://i.example"), "row %zu", i);
	cr_assert_null(discovery_read(&d,
		STR("{\"issuer\":\"https://i.example\",\"jwks_uri\":\"https://i.example/k\"}"),
		"https://i.example"));
	cr_assert(d.basic && !d.token_endpoint[0]);
}

Test(identity_idtoken, lifetimes)
{
	cr_assert_eq(discovery_lifetime(""), LIFETIME_MIN_S);
	cr_assert_eq(discovery_lifetime("no-store"), LIFETIME_MIN_S);
	cr_assert_eq(discovery_lifetime("public, Max-Age=3600, must-revalidate"), 3600);
	cr_assert_eq(discovery_lifetime("max-age=99999999999"), LIFETIME_MAX_S);
	cr_assert_eq(discovery_lifetime("max-age=x"), LIFETIME_MIN_S);
	cr_assert_eq(discovery_lifetime(",,max-age=400,"), 400);
}

static struct exchange an_exchange(const struct provider *p, bool basic)
{
	return (struct exchange){.provider = p,
		.basic = basic,
		.code = "a+b/c d",
		.code_verifier = "v",
		.redirect_uri = "https://a.example/oauth/callback",
		.a = &arena};
}

Test(identity_idtoken, client_authentication)
{
	struct provider p = {.client_id = "a:b", .client_secret = "c d"};
	struct exchange x = an_exchange(&p, true);

	cr_assert_str_eq(exchange_authorization(&x), "Authorization: Basic YSUzQWI6YyUyMGQ=");
	cr_assert_str_eq(exchange_form(&x).p,
		"grant_type=authorization_code&code=a%2Bb%2Fc%20d&redirect_uri="
		"https%3A%2F%2Fa.example%2Foauth%2Fcallback&code_verifier=v");
	x.basic = false;
	cr_assert_null(exchange_authorization(&x));
	cr_assert(strstr(exchange_form(&x).p, "&client_id=a%3Ab&client_secret=c%20d"));
	p.client_secret = NULL;
	x.basic = true;
	cr_assert_null(exchange_authorization(&x));
	cr_assert(strstr(exchange_form(&x).p, "&client_id=a%3Ab"));
	cr_assert_null(strstr(exchange_form(&x).p, "client_secret"));
}

Test(identity_idtoken, what_the_token_endpoint_means)
{
	static const struct {
		long status;
		const char *body;
		enum exchange_outcome want;
		const char *error;
	} rows[] = {
		{200, "{\"id_token\":\"t\"}", EXCHANGE_DONE, NULL},
		{200, "{}", EXCHANGE_FAILED, "no id token"},
		{200, "nonsense", EXCHANGE_FAILED, "no id token"},
		{400, "{\"error\":\"invalid_grant\"}", EXCHANGE_REFUSED, "invalid_grant"},
		{401, "{\"error\":\"invalid_client\"}", EXCHANGE_REFUSED, "invalid_client"},
		{400, "{\"error\":\"Secret leaks here\"}", EXCHANGE_REFUSED, "none"},
		{403, "", EXCHANGE_REFUSED, "none"},
		{429, "{\"error\":\"invalid_grant\"}", EXCHANGE_FAILED, "429"},
		{302, "{\"id_token\":\"t\"}", EXCHANGE_FAILED, "302"},
		{500, "", EXCHANGE_FAILED, "500"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct exchange x = {.a = &arena};

		exchange_read(&x, rows[i].status, str_of(rows[i].body));
		cr_assert_eq(x.outcome, rows[i].want, "row %zu", i);
		if (rows[i].error)
			cr_assert(strstr(x.error, rows[i].error), "row %zu: %s", i, x.error);
	}
}
