/* The first step: which method, and what is no call at all. */
#include <criterion/criterion.h>
#include "shm/base/clock.h"
#include "shm/options.h"
#include "worker/call/route.h"
#include "worker/worker.h"

static const struct pb_method methods[] = {
	{.service = "a.v1.A", .name = "Get", .path = "/a.v1.A/Get", .no_side_effects = true},
	{.service = "a.v1.A", .name = "Set", .path = "/a.v1.A/Set"},
	{.service = "a.v1.A", .name = "ListAll", .path = "/a.v1.A/ListAll", .server_stream = true},
};
static const struct pb_path paths[] = {
	{"/a.v1.A/Get", 0},
	{"/a.v1.A/ListAll", 2},
	{"/a.v1.A/Set", 1},
	{"/old.a.v1.A/Put", 1},
};
static const struct pb_methods table = {methods, 3, paths, 4};
static struct options opt;
static struct worker worker = {.opt = &opt, .methods = &table};
static struct http_request rq;
static struct arena arena;

static void setup(void)
{
	memset(&rq, 0, sizeof(rq));
	rq.method = STR("POST");
	rq.start_ns = clock_mono_ns();
	arena_init(&arena, 1 << 16);
}

static void teardown(void)
{
	arena_free(&arena);
}

TestSuite(route, .init = setup, .fini = teardown, .timeout = 20);

static void add(const char *name, const char *value)
{
	rq.headers[rq.n_headers++] = (struct http_header){str_of(name), str_of(value)};
}

static int run(struct call *c, const char *path)
{
	memset(c, 0, sizeof(*c));
	rq.path = str_of(path);
	c->w = &worker;
	c->rq = &rq;
	c->arena = &arena;
	c->timeout_ms = -1;
	c->deadline_ms = rq.start_ns / 1000000 + 60000;
	c->details_tail = &c->details;
	buf_init(&c->reply.headers, &arena);
	return call_route(c);
}

static bool has(struct call *c, const char *line)
{
	buf_c(&c->reply.headers, '\0');
	return strstr(c->reply.headers.p, line) != NULL;
}

Test(route, canonical_and_alias)
{
	cr_assert_eq(route_find(&table, STR("/a.v1.A/Set")), &methods[1]);
	cr_assert_eq(route_find(&table, STR("/old.a.v1.A/Put")), &methods[1]);
	cr_assert_null(route_find(&table, STR("/a.v1.A/Se")));
	cr_assert_null(route_find(&table, STR("/a.v1.A/Set/")));
	cr_assert_null(route_find(&table, STR("")));
}

Test(route, a_call)
{
	struct call c;

	add("content-type", "Application/JSON; charset=utf-8");
	cr_assert_eq(run(&c, "/a.v1.A/Set"), 0);
	cr_assert_eq(c.codec, CODEC_JSON);
	cr_assert_not(c.get);
	cr_assert_eq(c.timeout_ms, -1);
}

Test(route, unknown_path)
{
	struct call c;

	cr_assert_eq(run(&c, "/nope"), -1);
	cr_assert(c.plain_answer);
	cr_assert_eq(c.reply.status, 404);
	cr_assert(has(&c, "Content-Type: text/plain"));
}

Test(route, verbs)
{
	struct call c;

	add("content-type", "application/json");
	rq.method = STR("GET");
	cr_assert_eq(run(&c, "/a.v1.A/Get"), 0);
	cr_assert(c.get);
	cr_assert_eq(run(&c, "/a.v1.A/Set"), -1);
	cr_assert_eq(c.reply.status, 405);
	cr_assert(has(&c, "Allow: POST\r\n"));
	rq.method = STR("DELETE");
	cr_assert_eq(run(&c, "/a.v1.A/Get"), -1);
	cr_assert_eq(c.reply.status, 405);
	rq.method = STR("OPTIONS");
	cr_assert_eq(run(&c, "/a.v1.A/Get"), -1);
	cr_assert_eq(c.reply.status, 405, "no preflight without its header");
}

Test(route, content_types)
{
	static const struct {
		const char *path, *type;
		int status;
	} rows[] = {
		{"/a.v1.A/Set", "application/proto", 0},
		{"/a.v1.A/Set", "application/connect+json", 415},
		{"/a.v1.A/Set", "application/grpc", 415},
		{"/a.v1.A/Set", "text/plain", 415},
		{"/a.v1.A/Set", "application/json; charset=latin1", 415},
		{"/a.v1.A/ListAll", "application/json", 415},
		{"/a.v1.A/ListAll", "application/connect+json", 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct call c;

		rq.n_headers = 0;
		add("Content-Type", rows[i].type);
		cr_assert_eq(run(&c, rows[i].path), rows[i].status ? -1 : 0, "row %zu", i);
		cr_assert_eq(c.reply.status, rows[i].status, "row %zu", i);
		if (rows[i].status)
			cr_assert(has(&c, "Accept-Post: "));
	}
}

Test(route, timeouts)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {
		{"1", 1},
		{"9999999999", 9999999999},
		{"12345678901", -1},
		{"", -1},
		{"-1", -1},
		{"1s", -1},
		{" ", -1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct call c;

		rq.n_headers = 0;
		add("content-type", "application/json");
		add("connect-timeout-ms", rows[i].text);
		cr_assert_eq(run(&c, "/a.v1.A/Set"), rows[i].ms < 0 ? -1 : 0, "row %zu", i);
		cr_assert_eq(c.timeout_ms, rows[i].ms);
		cr_assert_eq(c.code, rows[i].ms < 0 ? CODE_INVALID_ARGUMENT : CODE_OK);
		cr_assert_leq(c.deadline_ms, rq.start_ns / 1000000 + 60000, "ours is the bound");
	}
}

Test(route, protocol_version)
{
	struct call c;

	add("content-type", "application/json");
	add("connect-protocol-version", "1");
	cr_assert_eq(run(&c, "/a.v1.A/Set"), 0);
	rq.headers[1].value = STR("2");
	cr_assert_eq(run(&c, "/a.v1.A/Set"), -1);
	cr_assert_eq(c.code, CODE_INVALID_ARGUMENT);
}

Test(route, health_needs_nothing)
{
	struct call c;

	rq.method = STR("HEAD");
	cr_assert_eq(run(&c, "/healthz"), -1);
	cr_assert_eq(c.reply.status, 200);
	cr_assert(str_eq(c.reply.body, STR("ok")));
	cr_assert_eq(run(&c, "/readyz"), -1);
	cr_assert_eq(c.reply.status, 503);
	cr_assert(str_eq(c.reply.body,
		STR("{\"ready\":false,\"dependencies\":{"
		    "\"postgres_writer\":\"unavailable\",\"postgres_reader\":\"unavailable\"}}\n")));
}
