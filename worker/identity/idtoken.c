/*
 * See idtoken.h. The signature is checked with EVP_DigestVerify and not with libjwt:
 * libjwt takes the algorithm from the token and the key as PEM text, and both are what
 * algorithm confusion lives on; here the key is an RSA key, the digest is SHA-256 and
 * the padding PKCS #1 v1.5, whatever the token says.
 */
#include "worker/identity/idtoken.h"

#include <openssl/rsa.h>

#include "proto/base64.h"
#include "proto/validate.h"
#include "worker/identity/doc.h"
#include "worker/identity/jwks.h"

enum {
	HEADER_MAX = 2048,
	/* of the longest key, BITS_MAX of jwks.c */
	SIGNATURE_MAX = 8192 / 8,
	/* hosts' clocks differ a little */
	LEEWAY_S = 60,
	/* What accounts hold (auth.md 8): these are bytes, the next two code points. */
	EMAIL_MAX = 255,
	DISPLAY_NAME_MAX = 150,
	PICTURE_MAX = 255
};

static bool refuse(const char **why, const char *text)
{
	*why = text;
	return false;
}

/* Three parts of the URL-safe alphabet, none of them empty. */
static bool split(struct idtoken *t, struct str text, struct str *header)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	struct str *parts[] = {header, &t->claims, &t->signature}, rest = text;

	for (int i = 0; i < 3; i++) {
		size_t n = 0;

		while (n < rest.n && rest.p[n] && strchr(alphabet, rest.p[n]))
			n++;
		*parts[i] = (struct str){rest.p, n};
		rest.p += n;
		rest.n -= n;
		if (n == 0 || (i < 2 && !str_take(&rest, '.')))
			return false;
	}
	t->signed_part = (struct str){text.p, (size_t)(t->signature.p - 1 - text.p)};
	return rest.n == 0;
}

/* A part's JSON object; NULL. */
static json_t *part_json(struct str part, struct arena *a)
{
	uint8_t *bytes = arena_alloc(a, base64_decoded_max(part.n));
	size_t n;
	json_t *doc;

	if (!bytes || !base64_decode(part, bytes, &n))
		return NULL;
	doc = doc_parse((struct str){(const char *)bytes, n}, NULL);
	if (json_is_object(doc))
		return doc;
	json_decref(doc);
	return NULL;
}

/* Access and logout tokens of the same issuer say what they are; id tokens say nothing. */
static bool type_ok(const json_t *header)
{
	const json_t *typ = json_object_get(header, "typ");
	struct str text = str_of(json_string_value(typ));

	return !typ || str_case_eq(text, STR("JWT")) || str_case_eq(text, STR("application/jwt"));
}

/* crit lists extensions that must be understood (RFC 7515 4.1.11); here none is. */
static bool read_header(struct idtoken *t, const json_t *header, struct arena *a, const char **why)
{
	const json_t *kid = json_object_get(header, "kid");
	const char *alg = doc_text(header, "alg");

	if (!alg || strcmp(alg, "RS256") != 0)
		return refuse(why, "the algorithm is not RS256");
	if (json_object_get(header, "crit") || !type_ok(header))
		return refuse(why, "it is not an id token");
	t->kid = (struct str){NULL, 0};
	if (!kid)
		return true;
	if (!json_is_string(kid) || json_string_length(kid) == 0 ||
		json_string_length(kid) > KID_MAX)
		return refuse(why, "the name of its key makes no sense");
	t->kid = str_of(arena_str(a, str_of(json_string_value(kid))));
	return t->kid.p || refuse(why, "out of memory");
}

bool idtoken_open(struct idtoken *t, struct str text, struct arena *a, const char **why)
{
	struct str part;
	json_t *header;
	bool ok;

	if (text.n > IDTOKEN_MAX || !split(t, text, &part) || part.n > HEADER_MAX)
		return refuse(why, "it is not a signed token");
	header = part_json(part, a);
	if (!header)
		return refuse(why, "its header is not JSON");
	ok = read_header(t, header, a, why);
	json_decref(header);
	return ok;
}

bool idtoken_signed_by(const struct idtoken *t, EVP_PKEY *key)
{
	uint8_t bytes[SIGNATURE_MAX + 4];
	EVP_PKEY_CTX *pctx;
	EVP_MD_CTX *ctx;
	size_t n;
	bool ok;

	/* RFC 8017 8.2.2: a signature is exactly as long as the modulus. */
	if (base64_decoded_max(t->signature.n) > sizeof(bytes) ||
		!base64_decode(t->signature, bytes, &n) || n != (size_t)EVP_PKEY_get_size(key))
		return false;
	ctx = EVP_MD_CTX_new();
	ok = ctx && EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, key) == 1 &&
	     EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PADDING) == 1 &&
	     EVP_DigestVerify(ctx, bytes, n, (const uint8_t *)t->signed_part.p, t->signed_part.n) ==
		     1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

static bool issuer_ok(const json_t *claims, const struct idtoken_want *want)
{
	const char *iss = doc_text(claims, "iss"), *bare = strstr(want->issuer, "://");

	return iss && (strcmp(iss, want->issuer) == 0 ||
			      (want->schemeless && bare && strcmp(iss, bare + 3) == 0));
}

/* A token for several audiences was asked for by one of them, and that must be us. */
static bool audience_ok(const json_t *claims, const char *client_id)
{
	const json_t *aud = json_object_get(claims, "aud"), *azp = json_object_get(claims, "azp");
	const char *one = json_string_value(aud), *party = json_string_value(azp);

	if (one)
		return strcmp(one, client_id) == 0;
	if (!doc_lists(claims, "aud", client_id))
		return false;
	return json_array_size(aud) == 1 || !azp || (party && strcmp(party, client_id) == 0);
}

/* Seconds; false unless it is a number that makes sense. It may have a fraction (RFC 7519 2). 1e12
 * is less than today's milliseconds, so these do not pass for seconds. */
static bool time_of(const json_t *value, double *out)
{
	*out = json_number_value(value);
	return json_is_number(value) && *out > 0 && *out < 1e12;
}

static bool times_ok(const json_t *claims, int64_t now_s)
{
	const json_t *begin[] = {json_object_get(claims, "iat"), json_object_get(claims, "nbf")};
	double now = (double)now_s, t;

	if (!time_of(json_object_get(claims, "exp"), &t) || t + LEEWAY_S <= now)
		return false;
	for (int i = 0; i < 2; i++)
		if (begin[i] && (!time_of(begin[i], &t) || t > now + LEEWAY_S))
			return false;
	return true;
}

static bool nonce_ok(const json_t *claims, const char *want)
{
	const char *nonce = doc_text(claims, "nonce");

	return !want || (nonce && str_secret_eq(str_of(nonce), str_of(want)));
}

/* The first `most` code points of valid UTF-8. */
static struct str cut(struct str s, size_t most)
{
	size_t n = 0, points = 0;

	for (; n < s.n; n++)
		if (((uint8_t)s.p[n] & 0xc0) != 0x80 && points++ == most)
			break;
	return (struct str){s.p, n};
}

static bool copy(struct arena *a, struct str s, struct str *out)
{
	out->p = arena_str(a, s);
	out->n = s.n;
	return out->p != NULL;
}

/* email_verified is the boolean true, and nothing like it (auth.md 4.4). */
static bool email_ok(const json_t *claims, struct str *out)
{
	*out = str_of(doc_text(claims, "email"));
	return out->n > 0 && out->n <= EMAIL_MAX && valid_email(*out) &&
	       json_is_true(json_object_get(claims, "email_verified"));
}

/* Texts for show only: what does not fit is cut or left out, and is no reason to refuse. */
static bool take_profile(const json_t *claims, struct arena *a, struct idtoken_person *out)
{
	const char *name = doc_text(claims, "name"), *picture = doc_text(claims, "picture");
	struct str url = str_of(picture ? picture : "");

	if (!valid_https(url) || str_utf8_len(url) > PICTURE_MAX)
		url = STR("");
	return copy(a, cut(str_of(name ? name : ""), DISPLAY_NAME_MAX), &out->name) &&
	       copy(a, url, &out->picture);
}

/* The e-mail comes last: IDTOKEN_EMAIL, which is told to clients, is said only of a token that is
 * good in all else. */
static enum idtoken_verdict check(const json_t *claims, const struct idtoken_want *want,
	struct arena *a, struct idtoken_person *out, const char **why)
{
	struct str subject = str_of(doc_text(claims, "sub")), email;

	*why = NULL;
	if (!issuer_ok(claims, want))
		*why = "it is of another issuer";
	else if (!audience_ok(claims, want->client_id))
		*why = "it is for another client";
	else if (!times_ok(claims, want->now_s))
		*why = "it has expired, or is not valid yet";
	else if (!nonce_ok(claims, want->nonce))
		*why = "the nonce is another";
	else if (subject.n == 0 || subject.n > SUBJECT_MAX)
		*why = "it has no subject";
	if (*why)
		return IDTOKEN_BAD;
	if (!email_ok(claims, &email)) {
		*why = "it has no verified e-mail";
		return IDTOKEN_EMAIL;
	}
	if (copy(a, subject, &out->subject) && copy(a, email, &out->email) &&
		take_profile(claims, a, out))
		return IDTOKEN_GOOD;
	*why = "out of memory";
	return IDTOKEN_BAD;
}

enum idtoken_verdict idtoken_claims(const struct idtoken *t, const struct idtoken_want *want,
	struct arena *a, struct idtoken_person *out, const char **why)
{
	json_t *claims = part_json(t->claims, a);
	enum idtoken_verdict v = IDTOKEN_BAD;

	*why = "its claims are not JSON";
	if (claims)
		v = check(claims, want, a, out, why);
	json_decref(claims);
	return v;
}
