/* Which origins a browser may read answers from. */
#include <criterion/criterion.h>
#include "worker/call/cors.h"
#include "worker/worker.h"
#include "shm/options.h"

static const struct {
	const char *configured;
	const char *origin;
	bool sdk, ok;
} origins[] = {
	{"", "https://a.example", false, false},
	{"", "https://a.example", true, true},
	{"https://a.example", "https://a.example", false, true},
	{"https://a.example", "HTTPS://A.example", false, true},
	{"https://a.example", "https://a.example.evil", false, false},
	{"https://a.example,https://b.example", "https://b.example", false, true},
	{"https://a.example, https://b.example", "https://b.example", false, true},
	{"https://*.example", "https://x.y.example", false, true},
	{"https://*.example", "https://example", false, false},
	{"https://*.example", "http://x.example", false, false},
	{"http://localhost:*", "http://localhost:5173", false, true},
	{"*", "https://anything", false, true},
	{"*", "", false, false},
	{"", "", true, false},
	{"", "a b", true, false},
	{"", "a\r\nX: y", true, false},
};

Test(cors, origins)
{
	for (size_t i = 0; i < sizeof(origins) / sizeof(origins[0]); i++)
		cr_assert_eq(cors_origin_ok(origins[i].configured, origins[i].sdk,
				     str_of(origins[i].origin)),
			origins[i].ok, "row %zu", i);
}

static struct options opt;
static struct worker worker = {.opt = &opt};
static struct http_request rq;
static struct call call;
static struct arena arena;

static void teardown(void)
{
	arena_free(&arena);
}

TestSuite(cors, .fini = teardown, .timeout = 20);

static char *preflight(
	enum pb_authz authz, const char *origin, const char *method, const char *names)
{
	struct pb_method m = {.authz = (uint8_t)authz};

	arena_free(&arena);
	arena_init(&arena, 1 << 16);
	memset(&rq, 0, sizeof(rq));
	memset(&call, 0, sizeof(call));
	strcpy(opt.cors_origins, "https://dash.example");
	rq.headers[rq.n_headers++] = (struct http_header){STR("Origin"), str_of(origin)};
	rq.headers[rq.n_headers++] =
		(struct http_header){STR("Access-Control-Request-Method"), str_of(method)};
	if (names)
		rq.headers[rq.n_headers++] =
			(struct http_header){STR("Access-Control-Request-Headers"), str_of(names)};
	call.w = &worker;
	call.rq = &rq;
	call.arena = &arena;
	buf_init(&call.reply.headers, &arena);
	cors_preflight(&call, &m);
	buf_c(&call.reply.headers, '\0');
	cr_assert_eq(call.reply.status, 204);
	cr_assert_not_null(
		strstr(call.reply.headers.p, "Vary: Origin, Access-Control-Request-Method"));
	return call.reply.headers.p;
}

Test(cors, preflight_of_the_dashboard)
{
	char *h = preflight(PB_AUTHZ_PROJECT, "https://dash.example", "POST",
		"authorization,connect-protocol-version,content-type,x-project-id");

	cr_assert_not_null(strstr(h, "Access-Control-Allow-Origin: https://dash.example\r\n"));
	cr_assert_not_null(strstr(h, "Access-Control-Allow-Methods: POST\r\n"));
	cr_assert_not_null(
		strstr(h, "Access-Control-Allow-Headers: "
			  "authorization,connect-protocol-version,content-type,x-project-id\r\n"));
	cr_assert_not_null(strstr(h, "Access-Control-Allow-Credentials: true\r\n"));
	cr_assert_not_null(strstr(h, "Access-Control-Max-Age: 7200\r\n"));
}

Test(cors, preflight_refusals)
{
	cr_assert_null(strstr(
		preflight(PB_AUTHZ_PROJECT, "https://evil.example", "POST", NULL), "Allow-"));
	cr_assert_null(strstr(
		preflight(PB_AUTHZ_PROJECT, "https://dash.example", "DELETE", NULL), "Allow-"));
	cr_assert_null(strstr(
		preflight(PB_AUTHZ_SHARED, "https://dash.example", "POST", "x-api-key"), "Allow-"));
	cr_assert_null(strstr(
		preflight(PB_AUTHZ_SDK, "https://site.example", "POST", "x-evil"), "Allow-"));
}

Test(cors, preflight_of_the_sdk)
{
	char *h = preflight(PB_AUTHZ_SDK, "https://any.example", "POST", "content-type,x-api-key");

	cr_assert_not_null(strstr(h, "Access-Control-Allow-Origin: https://any.example\r\n"));
	cr_assert_null(strstr(h, "*"));
}
