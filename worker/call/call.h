/*
 * One call: from a parsed request head to one reply, in nine steps that run in
 * this order (call.c): route authn limit decode validate authz handle encode
 * reply. A step is a file, its function is call_<step>(); it returns 0 to go
 * on, or -1 after call_fail().
 */
#ifndef CALL_CALL_H
#define CALL_CALL_H

#include "proto/pb.h"
#include "shm/base/arena.h"
#include "shm/ratelimit.h"
#include "worker/db/db.h"
#include "worker/net/http.h"

/* Connect's codes; the value is the wire number of google.rpc.Code. */
enum code {
	CODE_OK = 0,
	CODE_CANCELED,
	CODE_UNKNOWN,
	CODE_INVALID_ARGUMENT,
	CODE_DEADLINE_EXCEEDED,
	CODE_NOT_FOUND,
	CODE_ALREADY_EXISTS,
	CODE_PERMISSION_DENIED,
	CODE_RESOURCE_EXHAUSTED,
	CODE_FAILED_PRECONDITION,
	CODE_ABORTED,
	CODE_OUT_OF_RANGE,
	CODE_UNIMPLEMENTED,
	CODE_INTERNAL,
	CODE_UNAVAILABLE,
	CODE_DATA_LOSS,
	CODE_UNAUTHENTICATED
};

enum step {
	STEP_NONE,
	STEP_ROUTE,
	STEP_AUTHN,
	STEP_LIMIT,
	STEP_DECODE,
	STEP_VALIDATE,
	STEP_AUTHZ,
	STEP_HANDLE,
	STEP_ENCODE,
	STEP_REPLY
};

enum principal_kind { WHO_NOBODY, WHO_CUSTOMER /* JWT */, WHO_PUBLIC_KEY, WHO_PRIVATE_KEY };

struct principal {
	enum principal_kind kind;
	char customer_id[21]; /* xid, NUL-terminated; JWT only */
	char session_id[21];  /* that the JWT was made for; "" in an old one */
	char email[256];      /* of the customer; JWT only */
	bool demo;            /* the visitor of the demo, who may change nothing (D12) */
	char key_id[21];      /* API keys only */
	char project_id[21];  /* xid; "" when the call is not project-scoped */
	int32_t project;      /* internal number of the project, 0 = none */
	char org_id[21];      /* of the project, or of the request's org_id after authz */
	enum pb_role role;    /* in org_id; PB_ROLE_NONE for keys */
	uint64_t hash;        /* for limits and quarantine; never 0 once authenticated */
};

/* An error detail already encoded as protobuf. */
struct detail {
	const char *type; /* "google.rpc.ErrorInfo" */
	struct str value;
	struct detail *next;
};

/* How the request is encoded (proto/connect.h has the parsing). */
enum codec { CODEC_NONE, CODEC_PROTO, CODEC_JSON };

enum { CALL_LIMITS = 3 };

struct call {
	struct worker *w;
	struct http_request *rq;
	struct arena *arena; /* = rq->arena */
	enum step step;
	char id[65]; /* request id (D10, D51) */
	const struct pb_method *method;
	bool get; /* Connect GET */
	bool gzip_out;
	enum codec codec;
	uint64_t deadline_ms; /* CLOCK_MONOTONIC; 0 = none asked for */
	struct principal who;
	struct str client; /* client address after trusted proxies, text */
	uint8_t client_addr[16];
	struct db db;       /* fast lane; see db.h for tx and slow */
	struct str message; /* undecoded request message, inflated */
	ProtobufCMessage *in, *out;
	/* the one failure */
	enum code code;
	const char *reason;
	struct str error_text;
	struct detail *details, **details_tail;
	struct buf headers; /* extra reply headers, "Name: value\r\n" */
	struct http_reply reply;
	uint64_t body_hash;    /* of the body as sent, for the breadcrumb; 0 before decode */
	uint64_t head_hash;    /* of the head, in its place before decode */
	uint64_t address_hash; /* of the client's /32 or /64 */
	uint64_t network_hash; /* of its /24 or /64 */
	int64_t timeout_ms;    /* Connect-Timeout-Ms, -1 when the client sent none */
	bool streaming;        /* a streaming content type: errors go into an envelope */
	bool gzip_stream;      /* messages of the stream may be compressed */
	bool stream_begun;     /* its head is on the way: what is left to say is the end */
	size_t streamed;       /* bytes of its messages */
	bool plain_answer;     /* c->reply is complete already and no Connect answer */
	size_t bytes_in;       /* of the body */
	struct limit_note {
		const char *name; /* "key" */
		struct limit limit;
		struct limit_state state;
	} limits[CALL_LIMITS]; /* what the call was charged to, for the headers */
	unsigned n_limits;
	uint64_t retry_ms; /* for Retry-After; 0: the code's own default */
	size_t reserve;    /* of the arena, withheld until the reply: error.c */
};

/* Records the failure of the call; the first one wins. Always returns -1, so
 * that a step or handler ends with `return call_fail(c, ...)`. reason is one of
 * the tokens of auth.md 2.7 and is not copied; NULL means the code's own. */
int call_fail(struct call *c, enum code code, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
struct pb_check;
/* Reports what a check of the request has found; also for rules that need the database.
 * Returns -1. */
int call_violations(struct call *c, const struct pb_check *check);
/* Fails the call as not_found with a google.rpc.ResourceInfo, whose name is cut to 512 bytes;
 * returns -1. */
int call_fail_resource(
	struct call *c, const char *reason, const char *type, const char *name, const char *text);
/* Maps what a query left in c->db.err to the failure; returns -1. */
int call_fail_db(struct call *c, const struct db *db);
/* Adds an error detail; `value` is copied into the arena. */
void call_detail(struct call *c, const char *type, struct str value);
/* Milliseconds left before the deadline; UINT64_MAX without one, 0 when over. */
uint64_t call_time_left(const struct call *c);
/* Parks the call's coroutine; the breadcrumb is cleared meanwhile. Everything
 * in the product that parks on behalf of a call goes through this. */
void call_park(struct call *c);
/* Parks for ms, but not beyond the deadline: then it fails the call with
 * deadline_exceeded and returns -1. */
int call_sleep(struct call *c, uint64_t ms);
/* The call that runs on the current coroutine, or NULL. */
struct call *call_self(void);
/* Arena shorthands that fail the call with resource_exhausted at the cap. */
void *call_alloc(struct call *c, size_t size);
char *call_str(struct call *c, struct str s); /* a NUL-terminated copy */
/* For handlers of streams: one message. Its memory stays in the arena until the handler goes back
 * to a mark. Parks while the
 * client is slower. 0, or -1 after call_fail(): the client is gone or out of time. */
int call_send(struct call *c, const ProtobufCMessage *message);

int call_route(struct call *c);
int call_authn(struct call *c);
int call_limit(struct call *c);
int call_decode(struct call *c);
/* The last part of decoding: c->message into c->in, by method and codec. */
int call_unpack(struct call *c);
int call_validate(struct call *c);
int call_authz(struct call *c);
int call_handle(struct call *c);
int call_encode(struct call *c);
void call_reply(struct call *c);

#endif
