/* The file of OpenID providers: what is taken, and where a mistake is said to be. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "worker/identity/config.h"
#include "worker/identity/redirect.h"

static struct options opt;
static struct arena arena;
static struct providers got;
static char error[CONFIG_ERROR];

static void setup(void)
{
	memset(&opt, 0, sizeof(opt));
	strcpy(opt.auth_config_file, "/etc/pugd/auth.json");
	arena_init(&arena, 1 << 20);
}

static void teardown(void)
{
	arena_free(&arena);
}

static bool load(const char *text)
{
	snprintf(opt.auth_config, sizeof(opt.auth_config), "%s", text);
	error[0] = '\0';
	return providers_load(&opt, &arena, &got, error);
}

/* The only provider of a file, with these members after the usual ones. */
static bool load_one(const char *members)
{
	char text[4096];

	snprintf(text, sizeof(text), "{\"version\":1,\"auth\":{\"providers\":[{%s}]}}", members);
	return load(text);
}

#define PLAIN_BUT_ID                                                                            \
	"\"type\":\"oidc\",\"displayName\":\"Corp\",\"clientId\":\"pug\",\"issuerUrl\":\"https" \
	"://corp.example\""
#define PLAIN "\"id\":\"corp\"," PLAIN_BUT_ID

TestSuite(identity_config, .init = setup, .fini = teardown, .timeout = 20);

Test(identity_config, what_is_read)
{
	cr_assert(load_one(PLAIN), "%s", error);
	cr_assert_eq(got.n, 1);
	cr_assert_str_eq(got.v[0].id, "corp");
	cr_assert_str_eq(got.v[0].issuer, "https://corp.example");
	cr_assert_null(got.v[0].client_secret);
	cr_assert_eq(got.v[0].n_scopes, 3);
	cr_assert_str_eq(got.v[0].scopes[2], "email");
	cr_assert_null(got.google.id);
	cr_assert(providers_find(&got, "corp") == &got.v[0]);
	cr_assert_null(providers_find(&got, "cor"));
	cr_assert(load_one(PLAIN ",\"clientSecret\":\"s\",\"scopes\":[\"email\",\"openid\"]"));
	cr_assert_str_eq(got.v[0].client_secret, "s");
	cr_assert_eq(got.v[0].n_scopes, 2);
	cr_assert(load("{\"version\":1,\"auth\":{\"providers\":[]}}"));
	cr_assert_eq(got.n, 0);
}

Test(identity_config, loopback_may_be_plain_http)
{
	static const char tail[] = ",\"type\":\"oidc\",\"displayName\":\"C\",\"clientId\":\"p\","
				   "\"id\":\"a\"";
	static const char *const yes[] = {"http://localhost:8080", "http://127.0.0.1",
		"http://[::1]:1", "https://a.example/tenant/", "https://a.example:444"};
	static const char *const no[] = {"http://corp.example", "http://127.0.0.1.evil.example",
		"https://a.example?x", "https://a.example#x", "https://u@a.example", "a.example",
		"ftp://a", "https://"};
	char text[512];

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		snprintf(text, sizeof(text), "\"issuerUrl\":\"%s\"%s", yes[i], tail);
		cr_assert(load_one(text), "%s: %s", yes[i], error);
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		snprintf(text, sizeof(text), "\"issuerUrl\":\"%s\"%s", no[i], tail);
		cr_assert_not(load_one(text), "%s", no[i]);
		cr_assert(strstr(error, "auth.providers[0].issuerUrl: must be"), "%s", error);
	}
}

Test(identity_config, mistakes_have_a_place)
{
	static const char *const rows[][2] = {
		{"", "line 1, column 0: ends too early"},
		{"{\n  \"version\": 1,\n  secret\n}", "line 3, column 8: not JSON"},
		{"{\"version\":1,\"version\":1}", "a key that was there before"},
		{"[]", "top level: must be an object"},
		{"{\"version\":1,\"auht\":{}}", "top level: unknown key \"auht\""},
		{"{\"auth\":{\"providers\":[]}}", "version: must be 1"},
		{"{\"version\":2,\"auth\":{\"providers\":[]}}", "version: must be 1"},
		{"{\"version\":\"1\",\"auth\":{\"providers\":[]}}", "version: must be 1"},
		{"{\"version\":1}", "auth: must be an object"},
		{"{\"version\":1,\"auth\":{\"x\":1}}", "auth: unknown key \"x\""},
		{"{\"version\":1,\"auth\":{}}", "auth.providers: must be an array"},
		{"{\"version\":1,\"auth\":{\"providers\":[7]}}",
			"auth.providers[0]: must be an object"},
		{"{\"version\":1,\"auth\":{\"providers\":[{" PLAIN "},{" PLAIN "}]}}",
			"auth.providers[1].id: was there before"},
		{"[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", "nested too deep"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_not(load(rows[i][0]), "row %zu", i);
		cr_assert(strstr(error, rows[i][1]), "row %zu: %s", i, error);
		cr_assert_eq(strncmp(error, "auth_config_file: ", 18), 0);
	}
}

Test(identity_config, mistakes_of_a_provider)
{
	static const char *const rows[][2] = {
		{PLAIN ",\"secret\":1", ": unknown key \"secret\""},
		{PLAIN_BUT_ID, ".id: is missing"},
		{PLAIN_BUT_ID ",\"id\":\"Corp\"", ".id: must be of"},
		{PLAIN_BUT_ID ",\"id\":\"1\"", ".id: must be of"},
		{PLAIN_BUT_ID ",\"id\":\"\"", ".id: must be 1 to 63"},
		{PLAIN_BUT_ID ",\"id\":7", ".id: must be a string"},
		{PLAIN ",\"clientSecret\":\"\"", ".clientSecret: must be 1 to"},
		{PLAIN ",\"clientSecret\":null", ".clientSecret: must be a string"},
		{PLAIN ",\"clientSecret\":\"a\\nb\"", ".clientSecret: must be 1 to"},
		{PLAIN ",\"scopes\":\"openid\"", ".scopes: must be an array"},
		{PLAIN ",\"scopes\":[]", ".scopes: must contain openid"},
		{PLAIN ",\"scopes\":[\"email\"]", ".scopes: must contain openid"},
		{PLAIN ",\"scopes\":[\"openid\",\"openid\"]", ".scopes[1]: was there before"},
		{PLAIN ",\"scopes\":[\"openid\",\"a b\"]", ".scopes[1]: must be a word"},
		{PLAIN ",\"scopes\":[\"openid\",1]", ".scopes[1]: must be a word"},
		{"\"id\":\"a\",\"type\":\"saml\",\"displayName\":\"C\",\"clientId\":\"p\","
		 "\"issuerUrl\":\"https://a\"",
			".type: must be \"oidc\""},
		{"\"id\":\"a\",\"displayName\":\"C\",\"clientId\":\"p\",\"issuerUrl\":\"https://"
		 "a\"",
			".type: must be \"oidc\""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_not(load_one(rows[i][0]), "row %zu", i);
		cr_assert(strstr(error, rows[i][1]), "row %zu: %s", i, error);
		cr_assert(strstr(error, "auth.providers[0]"), "row %zu: %s", i, error);
	}
}

Test(identity_config, a_display_name_has_64_characters_at_most)
{
	char members[512], name[256] = "";

	for (int i = 0; i < 64; i++)
		strcat(name, "\xc3\xbc");
	snprintf(members, sizeof(members),
		"\"id\":\"a\",\"type\":\"oidc\",\"clientId\":\"p\",\"issuerUrl\":\"https://a.b\","
		"\"displayName\":\"%s\"",
		name);
	cr_assert(load_one(members), "%s", error);
	strcat(name, "x");
	snprintf(members, sizeof(members),
		"\"id\":\"a\",\"type\":\"oidc\",\"clientId\":\"p\",\"issuerUrl\":\"https://a.b\","
		"\"displayName\":\"%s\"",
		name);
	cr_assert_not(load_one(members));
}

Test(identity_config, no_secret_in_a_complaint)
{
	cr_assert_not(load("{\"version\":1, \"clientSecret\": \"hunter2\" \"x\"}"));
	cr_assert_null(strstr(error, "hunter2"), "%s", error);
}

Test(identity_config, google)
{
	opt.auth_config_file[0] = '\0';
	strcpy(opt.google_client_id, "id.apps.example");
	strcpy(opt.google_issuer, "https://accounts.google.com");
	cr_assert(load(""));
	cr_assert_str_eq(got.google.client_id, "id.apps.example");
	cr_assert_eq(got.n, 0);
	strcpy(opt.google_issuer, "http://accounts.google.com");
	cr_assert_not(load(""));
	cr_assert_eq(strncmp(error, "google_issuer: ", 15), 0);
	opt.google_client_id[0] = '\0';
	cr_assert(load(""), "an issuer that nobody asks may be anything");
}

Test(identity_config, redirect_uris)
{
	static const char *const yes[] = {"https://a.example/oauth/callback",
		"https://A.example:8443/oauth/callback", "http://localhost/oauth/callback",
		"http://127.0.0.1:1/oauth/callback", "http://[::1]:65535/oauth/callback",
		"https://[2001:db8::1]/oauth/callback"};
	static const char *const no[] = {"", "https:///oauth/callback", "https://a.example",
		"https://a.example/oauth/callback/", "https://a.example/oauth/callback?x",
		"https://a.example/oauth/callback#", "https://a@b/oauth/callback",
		"https://a:b@c/oauth/callback", "https://a.example:/oauth/callback",
		"https://a.example:65536/oauth/callback", "https://a.example:0/oauth/callback",
		"https://a.example\\@b/oauth/callback", "http://a.example/oauth/callback",
		"http://127.0.0.2/oauth/callback", "https://[::1/oauth/callback",
		"HTTPS://a.example/oauth/callback", "//a.example/oauth/callback",
		"https://a.example//oauth/callback", "https://a.example/oauth%2fcallback"};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		cr_assert(redirect_ok(str_of(yes[i])), "%s", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		cr_assert_not(redirect_ok(str_of(no[i])), "%s", no[i]);
}

Test(identity_config, same_origin)
{
	struct str uri = STR("https://a.example/oauth/callback");

	cr_assert(redirect_same_origin(uri, STR("https://a.example")));
	cr_assert(redirect_same_origin(uri, STR("https://A.EXAMPLE:443")));
	cr_assert_not(redirect_same_origin(uri, STR("https://a.example:444")));
	cr_assert_not(redirect_same_origin(uri, STR("http://a.example")));
	cr_assert_not(redirect_same_origin(uri, STR("https://a.example.evil")));
	cr_assert_not(redirect_same_origin(uri, STR("https://a.example/")));
	cr_assert_not(redirect_same_origin(uri, STR("null")));
	cr_assert_not(redirect_same_origin(uri, STR("")));
	cr_assert(redirect_same_origin(
		STR("http://localhost:5173/oauth/callback"), STR("http://localhost:5173")));
	cr_assert_not(redirect_same_origin(
		STR("http://localhost:5173/oauth/callback"), STR("http://127.0.0.1:5173")));
}
