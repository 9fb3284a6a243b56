/*
 * ConformanceService: answers what each request asks for, and reports back what
 * the server saw. Uses nothing but what handlers of the product use.
 */
#include "proto/google/protobuf/any.pb-c.h"
#include "build/conformance/gen/rpc.h"
#include "proto/wire_read.h"
#include "worker/call/call.h"

#define CONF(name) Connectrpc__Conformance__V1__##name

typedef CONF(UnaryResponseDefinition) definition;
typedef CONF(Header) header;
typedef CONF(ConformancePayload__RequestInfo) request_info;

static const char any_prefix[] = "type.googleapis.com/";

/* Headers that the handler asked for, one line a value; trailers of a unary
 * answer are headers with a prefix. */
static void add_headers(struct call *c, header *const *v, size_t n, const char *prefix)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < v[i]->n_value; k++)
			buf_printf(&c->headers, "%s%s: %s\r\n", prefix, v[i]->name, v[i]->value[k]);
}

/* The entry of that name (header names in any case), made when missing. */
static header *entry(struct call *c, header **v, size_t *n, struct str name)
{
	for (size_t i = 0; i < *n; i++)
		if (str_case_eq(str_of(v[i]->name), name))
			return v[i];
	v[*n] = call_alloc(c, sizeof(header));
	connectrpc__conformance__v1__header__init(v[*n]);
	v[*n]->name = arena_str(c->arena, name);
	v[*n]->value = arena_array(c->arena, HTTP_MAX_HEADERS, sizeof(char *));
	return v[(*n)++];
}

static void add_value(struct call *c, header *h, struct str value)
{
	if (h->n_value < HTTP_MAX_HEADERS)
		h->value[h->n_value++] = arena_str(c->arena, value);
}

/* Percent-decoding of a query parameter. */
static struct str unescape(struct call *c, struct str s)
{
	char *out = call_alloc(c, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '%' && i + 2 < s.n &&
			str_unhex((struct str){s.p + i + 1, 2}, out + n, 1))
			i += 2;
		else
			out[n] = s.p[i] == '+' ? ' ' : s.p[i];
		n++;
	}
	return (struct str){out, n};
}

static void add_query(struct call *c, request_info *info)
{
	CONF(ConformancePayload__ConnectGetInfo) *get = call_alloc(c, sizeof(*get));
	struct str q = c->rq->query;

	connectrpc__conformance__v1__conformance_payload__connect_get_info__init(get);
	get->query_params = arena_array(c->arena, HTTP_MAX_HEADERS, sizeof(header *));
	while (q.n > 0 && get->n_query_params < HTTP_MAX_HEADERS) {
		long amp = str_find(q, '&');
		struct str pair = {q.p, amp < 0 ? q.n : (size_t)amp};
		long eq = str_find(pair, '=');
		struct str name = {pair.p, eq < 0 ? pair.n : (size_t)eq};
		struct str value = {pair.p + (eq < 0 ? pair.n : (size_t)eq + 1),
			eq < 0 ? 0 : pair.n - (size_t)eq - 1};

		add_value(c, entry(c, get->query_params, &get->n_query_params, unescape(c, name)),
			unescape(c, value));
		q.n -= pair.n + (amp < 0 ? 0 : 1);
		q.p += pair.n + (amp < 0 ? 0 : 1);
	}
	info->connect_get_info = get;
}

static Google__Protobuf__Any *pack_any(struct call *c, const char *name, const ProtobufCMessage *m)
{
	Google__Protobuf__Any *any = call_alloc(c, sizeof(*any));
	struct str url = arena_printf(c->arena, "%s%s", any_prefix, name);
	struct buf b;

	buf_init(&b, c->arena);
	pb_pack(m, &b);
	google__protobuf__any__init(any);
	any->type_url = arena_str(c->arena, url);
	any->value.data = (uint8_t *)b.p;
	any->value.len = b.n;
	return any;
}

/* What the server saw of the request. */
static request_info *observe(struct call *c)
{
	request_info *info = call_alloc(c, sizeof(*info));

	connectrpc__conformance__v1__conformance_payload__request_info__init(info);
	info->request_headers = arena_array(c->arena, HTTP_MAX_HEADERS, sizeof(header *));
	for (unsigned i = 0; i < c->rq->n_headers; i++)
		add_value(c,
			entry(c, info->request_headers, &info->n_request_headers,
				c->rq->headers[i].name),
			c->rq->headers[i].value);
	info->has_timeout_ms = c->timeout_ms >= 0;
	info->timeout_ms = c->timeout_ms;
	info->requests = arena_array(c->arena, 1, sizeof(*info->requests));
	info->requests[0] = pack_any(c, c->method->in->name, c->in);
	info->n_requests = 1;
	if (c->get)
		add_query(c, info);
	return info;
}

static void add_detail(struct call *c, const Google__Protobuf__Any *any)
{
	const char *type = any->type_url;

	if (strncmp(type, any_prefix, sizeof(any_prefix) - 1) == 0)
		type += sizeof(any_prefix) - 1;
	call_detail(c, type, (struct str){(const char *)any->value.data, any->value.len});
}

static int fail(struct call *c, const CONF(Error) * e, const request_info *info)
{
	call_fail(c, (enum code)e->code, NULL, "%s", e->message ? e->message : "");
	for (size_t i = 0; i < e->n_details; i++)
		add_detail(c, e->details[i]);
	add_detail(c, pack_any(c, "connectrpc.conformance.v1.ConformancePayload.RequestInfo",
			      &info->base));
	return -1;
}

static int answer(struct call *c, const definition *def, CONF(ConformancePayload) * *out)
{
	CONF(ConformancePayload) *payload = call_alloc(c, sizeof(*payload));

	connectrpc__conformance__v1__conformance_payload__init(payload);
	payload->request_info = observe(c);
	*out = payload;
	if (!def)
		return 0;
	add_headers(c, def->response_headers, def->n_response_headers, "");
	add_headers(c, def->response_trailers, def->n_response_trailers, "trailer-");
	if (def->has_response_delay_ms && call_sleep(c, def->response_delay_ms) < 0)
		return -1;
	if (def->response_case ==
		CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE_DEFINITION__RESPONSE_ERROR)
		return fail(c, def->error, payload->request_info);
	if (def->response_case ==
		CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE_DEFINITION__RESPONSE_RESPONSE_DATA) {
		payload->has_data = true;
		payload->data = def->response_data;
	}
	return 0;
}

int rpc_connectrpc_conformance_unary(
	struct call *c, const CONF(UnaryRequest) * in, CONF(UnaryResponse) * out)
{
	return answer(c, in->response_definition, &out->payload);
}

int rpc_connectrpc_conformance_idempotent_unary(struct call *c,
	const CONF(IdempotentUnaryRequest) * in, CONF(IdempotentUnaryResponse) * out)
{
	return answer(c, in->response_definition, &out->payload);
}
