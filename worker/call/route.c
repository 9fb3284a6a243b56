/*
 * Step 1: which method, in which of Connect's two HTTP forms, until when. What
 * is no Connect call at all (health pages, preflights, unknown paths, wrong
 * verbs and types) is answered here with plain HTTP.
 */
#include <stdlib.h>
#include "worker/call/cors.h"
#include "worker/call/crumb.h"
#include "worker/call/health.h"
#include "worker/call/route.h"
#include "worker/worker.h"

/* Names and aliases in one table, which proto/gen/methods.py sorts by bytes. */
static int compare_path(const void *key, const void *entry)
{
	return str_cmp(*(const struct str *)key, str_of(((const struct pb_path *)entry)->path));
}

const struct pb_method *route_find(const struct pb_methods *methods, struct str path)
{
	const struct pb_path *p = bsearch(
		&path, methods->paths, methods->n_paths, sizeof(*methods->paths), compare_path);

	return p ? &methods->v[p->method] : NULL;
}

enum codec call_codec(enum connect_codec codec)
{
	return codec == CONNECT_JSON    ? CODEC_JSON
	       : codec == CONNECT_PROTO ? CODEC_PROTO
					: CODEC_NONE;
}

static int plain(struct call *c, int status, const char *headers, struct str body)
{
	c->plain_answer = true;
	c->reply.status = status;
	buf_z(&c->reply.headers, headers);
	c->reply.body = body;
	return -1;
}

static bool is_preflight(const struct call *c)
{
	return str_eq(c->rq->method, STR("OPTIONS")) &&
	       http_header_get(c->rq, STR("access-control-request-method")).n > 0;
}

static int pick_verb(struct call *c)
{
	if (str_eq(c->rq->method, STR("POST")))
		return 0;
	c->get = c->method->no_side_effects && str_eq(c->rq->method, STR("GET"));
	if (c->get)
		return 0;
	return plain(c, 405,
		c->method->no_side_effects ? "Allow: GET, POST\r\n" : "Allow: POST\r\n",
		(struct str){NULL, 0});
}

/* With GET the codec is a query parameter, which decode reads. The unary type on a streaming path,
 * and the other way round, is a wrong type (D50). */
static int pick_codec(struct call *c)
{
	bool streaming = c->method->server_stream;
	struct connect_media media;

	if (c->get)
		return 0;
	if (connect_media_parse(http_header_get(c->rq, STR("content-type")), &media) &&
		media.stream == streaming) {
		c->streaming = streaming;
		c->codec = call_codec(media.codec);
		return 0;
	}
	return plain(c, 415,
		streaming ? "Accept-Post: application/connect+json, application/connect+proto\r\n"
			  : "Accept-Post: application/json, application/proto\r\n",
		(struct str){NULL, 0});
}

/* Only ever earlier: the deadline that call.c has set is call_timeout's. */
static int pick_deadline(struct call *c)
{
	struct str text = http_header_get(c->rq, STR("connect-timeout-ms"));
	uint64_t ms, asked;

	if (text.p == NULL)
		return 0;
	if (!connect_timeout_parse(text, &ms))
		return call_fail(c, CODE_INVALID_ARGUMENT, NULL,
			"Connect-Timeout-Ms must be a number of at most 10 digits");
	c->timeout_ms = (int64_t)ms;
	asked = c->rq->start_ns / 1000000 + ms;
	if (asked < c->deadline_ms)
		c->deadline_ms = asked;
	return 0;
}

static int check_version(struct call *c)
{
	struct str v = http_header_get(c->rq, STR("connect-protocol-version"));

	if (v.p == NULL || str_eq(v, STR("1")))
		return 0;
	return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "Connect-Protocol-Version must be 1");
}

/* Health pages come first, for they answer any verb; preflights before the 404, which no page
 * could read otherwise (cors.c). */
int call_route(struct call *c)
{
	const struct pb_method *m;

	if (health_answer(c))
		return -1;
	m = route_find(c->w->methods, c->rq->path);
	if (is_preflight(c)) {
		cors_preflight(c, m);
		return -1;
	}
	if (!m)
		return plain(c, 404, "Content-Type: text/plain; charset=utf-8\r\n",
			STR("404 page not found\n"));
	c->method = m;
	crumb_fill(c);
	if (pick_verb(c) < 0 || pick_codec(c) < 0 || check_version(c) < 0 || pick_deadline(c) < 0)
		return -1;
	return crumb_quarantine(c);
}
