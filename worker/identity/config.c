/* See config.h. The first problem ends the reading; its place is the path to it. */
#include "worker/identity/config.h"

#include <stdarg.h>
#include <stdio.h>

#include "worker/identity/doc.h"
#include "worker/outbound.h"

/* One reading of the file. */
struct reader {
	struct arena *a;
	char *error;
};

/* Returns false. */
static bool bad(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool bad(struct reader *r, const char *fmt, ...)
{
	static const char file[] = "auth_config_file: ";
	va_list ap;

	memcpy(r->error, file, sizeof(file));
	va_start(ap, fmt);
	vsnprintf(r->error + sizeof(file) - 1, CONFIG_ERROR - sizeof(file) + 1, fmt, ap);
	va_end(ap);
	return false;
}

/* A key that nobody reads is a typing error, and would switch something off silently. */
static bool known_keys(
	struct reader *r, const json_t *object, const char *where, const char *const *keys)
{
	const char *key;
	json_t *value;
	size_t i;

	if (!json_is_object(object))
		return bad(r, "%s: must be an object", where);
	/* json_object_foreach() wants it without const, and changes nothing. */
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		for (i = 0; keys[i] && strcmp(keys[i], key) != 0; i++)
			;
		if (!keys[i])
			return bad(r, "%s: unknown key \"%.64s\"", where, key);
	}
	return true;
}

static bool printable(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((uint8_t)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

/* A text of 1 to max code points, copied; NULL where it is absent. */
static bool take_text(struct reader *r, const json_t *object, const char *where, const char *key,
	size_t max, const char **out)
{
	const json_t *value = json_object_get(object, key);
	struct str s = {json_string_value(value), json_string_length(value)};

	*out = NULL;
	if (!value)
		return true;
	if (!json_is_string(value))
		return bad(r, "%s.%s: must be a string", where, key);
	if (s.n == 0 || str_utf8_len(s) > max || !printable(s))
		return bad(r, "%s.%s: must be 1 to %zu characters, none of them control", where,
			key, max);
	*out = arena_str(r->a, s);
	return *out || bad(r, "out of memory");
}

/* `id` is not empty (take_text()): strchr() would find the NUL of an empty one. */
static bool id_ok(const char *id)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
	static const char all[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";

	return strchr(letters, id[0]) && strspn(id, all) == strlen(id);
}

/* OpenID Connect Discovery 3: no query, no fragment; a user's name has no business there. */
static bool issuer_ok(const char *url)
{
	return outbound_url_ok(url) && !strpbrk(url, "?#@ ");
}

/* `max` counts code points. An id is no longer than a request may name it (auth.md 12), and an
 * issuer fits into customer_identities.subject (2048 bytes) together with a subject of
 * SUBJECT_MAX. */
static bool take_texts(
	struct reader *r, const json_t *object, const char *where, struct provider *p)
{
	const struct {
		const char *key;
		size_t max;
		const char **out;
		bool required;
	} rows[] = {
		{"id", 63, &p->id, true},
		{"displayName", 64, &p->display_name, true},
		{"clientId", 255, &p->client_id, true},
		{"clientSecret", 1024, &p->client_secret, false},
		{"issuerUrl", 255, &p->issuer, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!take_text(r, object, where, rows[i].key, rows[i].max, rows[i].out))
			return false;
		if (rows[i].required && !*rows[i].out)
			return bad(r, "%s.%s: is missing", where, rows[i].key);
	}
	return true;
}

/* RFC 6749 3.3: a scope-token. */
static bool scope_ok(const char *scope)
{
	for (const char *c = scope; *c; c++)
		if (*c <= ' ' || *c >= 0x7f || *c == '"' || *c == '\\')
			return false;
	return true;
}

static bool has_scope(const struct provider *p, const char *scope)
{
	for (unsigned i = 0; i < p->n_scopes; i++)
		if (strcmp(p->scopes[i], scope) == 0)
			return true;
	return false;
}

/* take_scopes() has seen that there is room. */
static bool take_scope(
	struct reader *r, const json_t *value, const char *where, size_t i, struct provider *p)
{
	const char *scope = json_string_value(value);

	if (!scope || !*scope || strlen(scope) > 128 || !scope_ok(scope))
		return bad(r, "%s.scopes[%zu]: must be a word of 1 to 128 characters", where, i);
	if (has_scope(p, scope))
		return bad(r, "%s.scopes[%zu]: was there before", where, i);
	p->scopes[p->n_scopes] = arena_str(r->a, str_of(scope));
	return p->scopes[p->n_scopes++] || bad(r, "out of memory");
}

/* Only shown to pages (GetAuthConfig), which ask the provider for them: without openid there would
 * be no id token. */
static bool take_scopes(
	struct reader *r, const json_t *object, const char *where, struct provider *p)
{
	static const char *const usual[] = {"openid", "profile", "email"};
	const json_t *list = json_object_get(object, "scopes");

	if (!list) {
		memcpy(p->scopes, usual, sizeof(usual));
		p->n_scopes = 3;
		return true;
	}
	if (!json_is_array(list) || json_array_size(list) > SCOPES_MAX)
		return bad(r, "%s.scopes: must be an array of at most %d", where, SCOPES_MAX);
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!take_scope(r, json_array_get(list, i), where, i, p))
			return false;
	return has_scope(p, "openid") || bad(r, "%s.scopes: must contain openid", where);
}

static bool take_provider(struct reader *r, const json_t *object, struct providers *out)
{
	static const char *const keys[] = {"id", "type", "displayName", "clientId", "clientSecret",
		"issuerUrl", "scopes", NULL};
	struct provider *p = &out->v[out->n];
	const char *type;
	char where[32];

	snprintf(where, sizeof(where), "auth.providers[%u]", out->n);
	if (!known_keys(r, object, where, keys) || !take_texts(r, object, where, p))
		return false;
	type = doc_text(object, "type");
	if (!type || strcmp(type, "oidc") != 0)
		return bad(r, "%s.type: must be \"oidc\"", where);
	if (!id_ok(p->id))
		return bad(
			r, "%s.id: must be of a-z, 0-9, _ and -, beginning with a letter", where);
	/* out->n does not count p yet: only those before it are looked at. */
	if (providers_find(out, p->id))
		return bad(r, "%s.id: was there before", where);
	if (!issuer_ok(p->issuer))
		return bad(r,
			"%s.issuerUrl: must be an https:// URL (http:// only to loopback) without "
			"query and fragment",
			where);
	out->n++;
	return take_scopes(r, object, where, p);
}

static bool take_all(struct reader *r, const json_t *doc, struct providers *out)
{
	static const char *const top[] = {"version", "auth", NULL}, *const in[] = {
									    "providers", NULL};
	const json_t *auth = json_object_get(doc, "auth"), *list;
	const json_t *version = json_object_get(doc, "version");

	if (!known_keys(r, doc, "top level", top))
		return false;
	if (!json_is_integer(version) || json_integer_value(version) != 1)
		return bad(r, "version: must be 1");
	if (!known_keys(r, auth, "auth", in))
		return false;
	list = json_object_get(auth, "providers");
	if (!json_is_array(list) || json_array_size(list) > PROVIDERS_MAX)
		return bad(r, "auth.providers: must be an array of at most %d", PROVIDERS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!take_provider(r, json_array_get(list, i), out))
			return false;
	return true;
}

/* `text` came with the options: whoever read those has read the file (master/config_check.c). */
static bool load_file(struct reader *r, const char *text, struct providers *out)
{
	char where[DOC_ERROR];
	json_t *doc = doc_parse(str_of(text), where);
	bool ok = doc ? take_all(r, doc, out) : bad(r, "%s", where);

	json_decref(doc);
	return ok;
}

/* `google` is none of v: GetAuthConfig does not list it, and only SignInWithOAuth takes its
 * tokens. */
bool providers_load(const struct options *opt, struct arena *a, struct providers *out, char *error)
{
	struct reader r = {a, error};

	memset(out, 0, sizeof(*out));
	if (opt->google_client_id[0]) {
		out->google = (struct provider){.id = "google",
			.display_name = "Google",
			.client_id = opt->google_client_id,
			.issuer = opt->google_issuer};
		if (!issuer_ok(opt->google_issuer)) {
			snprintf(error, CONFIG_ERROR,
				"google_issuer: must be an https:// URL (http:// only to loopback)");
			return false;
		}
	}
	return !opt->auth_config_file[0] || load_file(&r, opt->auth_config, out);
}

const struct provider *providers_find(const struct providers *p, const char *id)
{
	for (unsigned i = 0; i < p->n; i++)
		if (strcmp(p->v[i].id, id) == 0)
			return &p->v[i];
	return NULL;
}
