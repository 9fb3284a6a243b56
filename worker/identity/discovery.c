/* See discovery.h. */
#include "worker/identity/discovery.h"

#include <stdio.h>
#include <stdlib.h>

#include "worker/identity/doc.h"

/* Each is for one of the two documents. */
enum { DOCUMENT_MAX = 256 * 1024, FETCH_MS = 5000 };

/* Only max-age is looked at: what may not be kept at all (no-store) lives for the least, too, or
 * each sign-in would cost two fetches. */
int64_t discovery_lifetime(const char *cache_control)
{
	int64_t min = LIFETIME_MIN_S, s = -1;
	struct str rest = str_of(cache_control), word;
	uint64_t n;

#ifdef PUGD_TEST_HOOKS
	min = 0; /* or no test could see a document get old */
#endif
	while (rest.n > 0) {
		long comma = str_find(rest, ',');

		word = str_trim((struct str){rest.p, comma < 0 ? rest.n : (size_t)comma});
		rest.p += comma < 0 ? rest.n : (size_t)comma + 1;
		rest.n -= comma < 0 ? rest.n : (size_t)comma + 1;
		if (word.n > 8 && str_case_eq((struct str){word.p, 8}, STR("max-age=")) &&
			str_u64((struct str){word.p + 8, word.n - 8}, &n))
			s = n > LIFETIME_MAX_S ? LIFETIME_MAX_S : (int64_t)n;
	}
	if (s < 0)
		return LIFETIME_MIN_S;
	return s < min ? min : s;
}

static bool take_url(const json_t *doc, const char *key, char out[DISCOVERY_URL])
{
	const char *url = doc_text(doc, key);

	out[0] = '\0';
	if (!url || strlen(url) >= DISCOVERY_URL || !outbound_url_ok(url))
		return false;
	memcpy(out, url, strlen(url) + 1);
	return true;
}

static const char *read_document(struct discovery *d, const json_t *doc, const char *issuer)
{
	static const char methods[] = "token_endpoint_auth_methods_supported";
	const char *named = doc_text(doc, "issuer");

	if (!json_is_object(doc))
		return "the discovery document is not a JSON object";
	/* Exactly: or one provider could speak for another (Discovery 4.3). */
	if (!named || strcmp(named, issuer) != 0)
		return "the discovery document names another issuer";
	if (!take_url(doc, "jwks_uri", d->jwks_uri))
		return "the discovery document's jwks_uri is no https:// URL";
	/* SignInWithOAuth needs none. */
	if (json_object_get(doc, "token_endpoint") &&
		!take_url(doc, "token_endpoint", d->token_endpoint))
		return "the discovery document's token_endpoint is no https:// URL";
	/* Discovery 3: a provider that lists no methods takes client_secret_basic. */
	d->basic = !json_object_get(doc, methods) || doc_lists(doc, methods, "client_secret_basic");
	return NULL;
}

const char *discovery_read(struct discovery *d, struct str json, const char *issuer)
{
	json_t *doc = doc_parse(json, NULL);
	const char *why = read_document(d, doc, issuer);

	json_decref(doc);
	return why;
}

/* What is to be believed for so long comes with status 200 or not at all. OPERATOR: the issuer
 * stands in the configuration, so private networks are fine, also where its document names
 * them. */
static bool get(const struct options *opt, const char *url, const char *what, struct arena *a,
	struct outbound_answer *out, char *error)
{
	struct outbound o = {.opt = opt, .target = OUTBOUND_OPERATOR, .timeout_ms = FETCH_MS};
	struct outbound_request rq = {
		.url = url, .headers = {"Accept: application/json"}, .answer_max = DOCUMENT_MAX};

	if (outbound_http(&o, &rq, a, out) != 0)
		snprintf(error, OUTBOUND_ERROR, "%s: %.200s", what, o.error);
	else if (out->status != 200)
		snprintf(error, OUTBOUND_ERROR, "%s: HTTP status %ld", what, out->status);
	else
		return true;
	return false;
}

static bool fetch_document(struct discovery *d, const struct options *opt, const char *issuer,
	struct arena *a, char *error)
{
	size_t n = strlen(issuer);
	struct outbound_answer answer;
	struct str url;
	const char *why;

	/* An issuer that ends in a slash is one with it, but the path has only one. */
	if (n > 0 && issuer[n - 1] == '/')
		n--;
	url = arena_printf(a, "%.*s/.well-known/openid-configuration", (int)n, issuer);
	if (!url.p || !get(opt, url.p, "discovery document", a, &answer, error))
		return false;
	d->lifetime_s = discovery_lifetime(answer.cache_control);
	why = discovery_read(d, answer.body, issuer);
	if (why)
		snprintf(error, OUTBOUND_ERROR, "%s", why);
	return !why;
}

/* Both documents are replaced together, so the one that lives shorter counts. */
static bool fetch_keys(struct discovery *d, const struct options *opt, struct arena *a, char *error)
{
	struct outbound_answer answer;
	const char *why;
	int64_t s;

	if (!get(opt, d->jwks_uri, "key set", a, &answer, error))
		return false;
	d->keys = jwks_read(answer.body, &why);
	if (!d->keys) {
		snprintf(error, OUTBOUND_ERROR, "%s", why);
		return false;
	}
	s = discovery_lifetime(answer.cache_control);
	d->lifetime_s = s < d->lifetime_s ? s : d->lifetime_s;
	return true;
}

struct discovery *discovery_fetch(const struct options *opt, const char *issuer, char *error)
{
	struct discovery *d = calloc(1, sizeof(*d));
	struct arena a;
	bool ok;

	/* Stands where nothing else is written: a full arena writes nothing. */
	snprintf(error, OUTBOUND_ERROR, "out of memory");
	if (!d)
		return NULL;
	/* Two answers, and what their buffers left behind when they grew. */
	arena_init(&a, (size_t)8 * DOCUMENT_MAX);
	ok = fetch_document(d, opt, issuer, &a, error) && fetch_keys(d, opt, &a, error);
	arena_free(&a);
	if (ok)
		return d;
	discovery_free(d);
	return NULL;
}

void discovery_free(struct discovery *d)
{
	if (d)
		jwks_free(d->keys);
	free(d);
}
