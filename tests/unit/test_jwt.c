/* Access tokens: what is signed verifies, and nothing else does. */
#include <criterion/criterion.h>
#include <jwt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "worker/call/jwt.h"
#include "worker/call/keys.h"

static const char customer[] = "0123456789abcdefghij";
enum { NOW = 1700000000 };

static const char session[] = "abcdefghij0123456789";
static struct jwt_subject subject; /* of the last verify_at() */
static struct options opt;
static struct arena arena;

static void setup(void)
{
	memset(&opt, 0, sizeof(opt));
	strcpy(opt.jwt_issuer, "pug/auth");
	strcpy(opt.jwt_audience, "pug/dashboard");
	opt.jwt_lifetime = 900000;
	opt.secret_len = 32;
	memset(opt.secret, 7, sizeof(opt.secret));
	arena_init(&arena, 1 << 20);
}

static void teardown(void)
{
	arena_free(&arena);
}

static enum jwt_verdict verify_at(const char *token, int64_t now)
{
	enum jwt_verdict v = jwt_verify(&opt, str_of(token), now, &subject);

	if (v == JWT_GOOD)
		cr_assert_str_eq(subject.customer_id, customer);
	else
		cr_assert_str_empty(subject.customer_id);
	if (v != JWT_GOOD)
		cr_assert_str_empty(subject.session_id);
	return v;
}

/* A token with our key whose claims and algorithm the test chooses. */
static char *forge(jwt_alg_t alg, const char *claims)
{
	uint8_t key[KEY_BYTES];
	jwt_t *jwt = NULL;
	char *text, *out;

	cr_assert(keys_derive(&opt, KEY_JWT, false, key));
	cr_assert_eq(jwt_new(&jwt), 0);
	cr_assert_eq(jwt_add_grants_json(jwt, claims), 0);
	cr_assert_eq(jwt_set_alg(jwt, alg, alg == JWT_ALG_NONE ? NULL : key,
			     alg == JWT_ALG_NONE ? 0 : KEY_BYTES),
		0);
	text = jwt_encode_str(jwt);
	out = arena_str(&arena, str_of(text));
	free(text);
	jwt_free(jwt);
	return out;
}

TestSuite(jwt, .init = setup, .fini = teardown, .timeout = 20);

Test(jwt, signed_verifies)
{
	char *t = jwt_sign(&opt, &arena, customer, session, NOW);

	cr_assert_not_null(t);
	cr_assert_eq(verify_at(t, NOW), JWT_GOOD);
	cr_assert_str_eq(subject.session_id, session);
	cr_assert_eq(verify_at(t, NOW + 899), JWT_GOOD);
	cr_assert_eq(verify_at(t, NOW + 900), JWT_EXPIRED);
	cr_assert_eq(verify_at(t, NOW - 61), JWT_BAD, "issued in the future");
}

Test(jwt, every_changed_byte_fails)
{
	char *t = jwt_sign(&opt, &arena, customer, session, NOW);

	for (size_t i = 0; t[i]; i++) {
		char old = t[i];

		t[i] = old == 'A' ? 'B' : 'A';
		cr_assert_eq(verify_at(t, NOW), JWT_BAD, "byte %zu", i);
		t[i] = old;
	}
}

Test(jwt, previous_secret_still_verifies)
{
	char *t = jwt_sign(&opt, &arena, customer, session, NOW);

	memcpy(opt.secret_previous, opt.secret, sizeof(opt.secret));
	opt.secret_previous_len = opt.secret_len;
	memset(opt.secret, 9, sizeof(opt.secret));
	cr_assert_eq(verify_at(t, NOW), JWT_GOOD);
	opt.secret_previous_len = 0;
	cr_assert_eq(verify_at(t, NOW), JWT_BAD);
}

Test(jwt, no_credential_signs_nothing)
{
	opt.secret_len = 31;
	cr_assert_null(jwt_sign(&opt, &arena, customer, session, NOW));
}

#define GOOD_CLAIMS "\"iss\":\"pug/auth\",\"sub\":\"0123456789abcdefghij\",\"iat\":1700000000"
#define GOOD_AUD    "\"aud\":[\"pug/dashboard\"]"

Test(jwt, claims)
{
	static const struct {
		const char *claims;
		enum jwt_verdict want;
	} rows[] = {
		{"{" GOOD_CLAIMS "," GOOD_AUD ",\"exp\":1700000900}", JWT_GOOD},
		{"{" GOOD_CLAIMS ",\"aud\":\"pug/dashboard\",\"exp\":1700000900}", JWT_GOOD},
		{"{" GOOD_CLAIMS "," GOOD_AUD
		 ",\"exp\":1700000900,\"sid\":\"abcdefghij0123456789\"}",
			JWT_GOOD},
		{"{" GOOD_CLAIMS "," GOOD_AUD ",\"exp\":1700000900,\"sid\":\"abc\"}", JWT_BAD},
		{"{" GOOD_CLAIMS "," GOOD_AUD "}", JWT_BAD},
		{"{" GOOD_CLAIMS "," GOOD_AUD ",\"exp\":\"1700000900\"}", JWT_BAD},
		{"{" GOOD_CLAIMS ",\"aud\":[\"other\"],\"exp\":1700000900}", JWT_BAD},
		{"{" GOOD_CLAIMS ",\"exp\":1700000900}", JWT_BAD},
		{"{" GOOD_CLAIMS "," GOOD_AUD ",\"exp\":1700000900,\"nbf\":1700000500}", JWT_BAD},
		{"{\"iss\":\"x\",\"sub\":\"0123456789abcdefghij\",\"iat\":1," GOOD_AUD
		 ",\"exp\":1700000900}",
			JWT_BAD},
		{"{\"iss\":\"pug/auth\",\"sub\":\"0123\",\"iat\":1," GOOD_AUD
		 ",\"exp\":1700000900}",
			JWT_BAD},
		{"{\"iss\":\"pug/auth\",\"iat\":1," GOOD_AUD ",\"exp\":1700000900}", JWT_BAD},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_assert_eq(verify_at(forge(JWT_ALG_HS256, rows[i].claims), NOW), rows[i].want,
			"row %zu", i);
}

Test(jwt, algorithm_is_pinned)
{
	static const char claims[] = "{" GOOD_CLAIMS "," GOOD_AUD ",\"exp\":1700000900}";

	cr_assert_eq(verify_at(forge(JWT_ALG_HS384, claims), NOW), JWT_BAD);
	cr_assert_eq(verify_at(forge(JWT_ALG_HS512, claims), NOW), JWT_BAD);
	cr_assert_eq(verify_at(forge(JWT_ALG_NONE, claims), NOW), JWT_BAD);
}

Test(jwt, garbage)
{
	static const char *const rows[] = {"", ".", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.",
		"...........................................",
		"0000000000000000000000000000000000000000000000"};
	char big[JWT_MAX + 2];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_assert_eq(verify_at(rows[i], NOW), JWT_BAD);
	memset(big, 'A', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	cr_assert_eq(verify_at(big, NOW), JWT_BAD);
}
