/*
 * CORS. SDK services are called from any site with a public key, and the SDK's
 * beacons are sent with credentials, for which browsers refuse "*": so the
 * origin is reflected. Everything else answers configured dashboards only.
 * Nothing here is access control for anybody but browsers.
 */
#include "shm/options.h"
#include "worker/call/cors.h"
#include "worker/worker.h"

enum { ORIGIN_MAX = 512 };

/* x-api-key is missing from the second list on purpose: a private key has no
 * business in a page. */
static const char sdk_names[] =
	"Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, "
	"Grpc-Timeout, X-Grpc-Web, X-User-Agent, X-Api-Key, Authorization, X-Project-Id, X-Request-Id";
static const char dashboard_names[] =
	"Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, "
	"Grpc-Timeout, X-Grpc-Web, X-User-Agent, Authorization, X-Project-Id, X-Request-Id";
static const char expose_line[] =
	"Access-Control-Expose-Headers: Grpc-Status, Grpc-Message, "
	"Grpc-Status-Details-Bin, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id\r\n";

static bool is_sep(char ch)
{
	return ch == ' ' || ch == ',' || ch == '\t';
}

/* Next word of a list separated by commas and spaces; false at its end. */
static bool next_word(struct str *list, struct str *word)
{
	size_t n = 0;

	while (list->n > 0 && is_sep(list->p[0])) {
		list->p++;
		list->n--;
	}
	while (n < list->n && !is_sep(list->p[n]))
		n++;
	*word = (struct str){list->p, n};
	list->p += n;
	list->n -= n;
	return n > 0;
}

/* One * stands for any text, the empty one included. */
static bool matches(struct str pattern, struct str origin)
{
	long star = str_find(pattern, '*');
	struct str head, tail;

	if (star < 0)
		return str_case_eq(pattern, origin);
	head = (struct str){pattern.p, (size_t)star};
	tail = (struct str){pattern.p + star + 1, pattern.n - (size_t)star - 1};
	return origin.n >= head.n + tail.n && str_case_eq(head, (struct str){origin.p, head.n}) &&
	       str_case_eq(tail, (struct str){origin.p + origin.n - tail.n, tail.n});
}

bool cors_origin_ok(const char *configured, bool sdk, struct str origin)
{
	struct str list = str_of(configured), word;

	if (origin.n == 0 || origin.n > ORIGIN_MAX)
		return false;
	/* It is written into the answer: visible ASCII without list separators. */
	for (size_t i = 0; i < origin.n; i++)
		if (origin.p[i] <= ' ' || origin.p[i] >= 127 || origin.p[i] == ',')
			return false;
	if (sdk)
		return true;
	while (next_word(&list, &word))
		if (matches(word, origin))
			return true;
	return false;
}

static bool listed(struct str list, struct str name)
{
	struct str word;

	while (next_word(&list, &word))
		if (str_case_eq(word, name))
			return true;
	return false;
}

static bool names_ok(struct str allowed, struct str asked)
{
	struct str word;

	while (next_word(&asked, &word))
		if (!listed(allowed, word))
			return false;
	return true;
}

static void allow_origin(struct buf *out, struct str origin)
{
	buf_z(out, "Access-Control-Allow-Origin: ");
	buf_str(out, origin);
	buf_z(out, "\r\nAccess-Control-Allow-Credentials: true\r\n");
}

/* A client that is newer than this server must be able to read its 404, or it takes
 * the answer for a network failure: paths without a method go by their prefix. */
static bool is_sdk(const struct call *c, const struct pb_method *m)
{
	return m ? m->authz == PB_AUTHZ_SDK : str_starts(c->rq->path, STR("/sdk."));
}

void cors_preflight(struct call *c, const struct pb_method *m)
{
	struct buf *out = &c->reply.headers;
	bool sdk = is_sdk(c, m);
	struct str origin = http_header_get(c->rq, STR("origin"));
	struct str method = http_header_get(c->rq, STR("access-control-request-method"));
	struct str names = http_header_get(c->rq, STR("access-control-request-headers"));
	struct str allowed = sdk ? STR(sdk_names) : STR(dashboard_names);

	c->plain_answer = true;
	c->reply.status = 204;
	buf_z(out,
		"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n");
	if (!cors_origin_ok(c->w->opt->cors_origins, sdk, origin) || !names_ok(allowed, names) ||
		!(str_eq(method, STR("POST")) || str_eq(method, STR("GET"))))
		return; /* 204 all the same: the browser reads the refusal from what is missing */
	allow_origin(out, origin);
	buf_z(out, "Access-Control-Allow-Methods: ");
	buf_str(out, method);
	buf_z(out, "\r\nAccess-Control-Allow-Headers: ");
	buf_str(out, names.n ? names : allowed);
	buf_z(out, "\r\nAccess-Control-Max-Age: 7200\r\n");
}

void cors_headers(const struct call *c, struct buf *out)
{
	struct str origin = http_header_get(c->rq, STR("origin"));

	/* Health pages are not for browsers; a preflight has its headers already. */
	if (!c->method && c->reply.status != 404)
		return;
	buf_z(out, c->code == CODE_OK && !c->plain_answer ? "Vary: Origin, Accept-Encoding\r\n"
							  : "Vary: Origin\r\n");
	if (!cors_origin_ok(c->w->opt->cors_origins, is_sdk(c, c->method), origin))
		return;
	allow_origin(out, origin);
	buf_z(out, expose_line);
}
