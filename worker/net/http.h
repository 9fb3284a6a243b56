/*
 * What passes between a connection (worker/net) and a call (worker/call): one
 * parsed request head, its body on demand, one reply. net/ knows HTTP framing
 * and limits, nothing of Connect; call/ knows Connect, nothing of sockets.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "shm/base/arena.h"
#include "shm/base/str.h"

enum { HTTP_MAX_HEADERS = 100 };

struct conn;

struct http_header {
	struct str name;  /* as sent; compare with str_case_eq */
	struct str value; /* trimmed */
};

/* Valid until the reply is written; the strings live in `arena`. */
struct http_request {
	struct conn *conn;
	struct arena *arena; /* the call's; reset after the reply was sent */
	struct str method;   /* "POST" */
	struct str target;   /* as sent, absolute-form already reduced to origin-form */
	struct str path;     /* before '?', not percent-decoded */
	struct str query;    /* after '?', raw; empty if none */
	struct http_header headers[HTTP_MAX_HEADERS];
	unsigned n_headers;
	struct str peer;       /* text of the client's address ("unix" for a Unix socket) */
	uint8_t peer_addr[16]; /* IPv6 or v4-mapped; zero for a Unix socket */
	bool has_length;       /* Content-Length present */
	uint64_t length;       /* its value */
	bool has_body;         /* Content-Length > 0 or chunked */
	bool keep_alive;       /* what the client asked for */
	uint64_t start_ns;     /* CLOCK_MONOTONIC when the head was complete */
};

/* First header of that name (case-insensitive); {NULL, 0} if absent. */
struct str http_header_get(const struct http_request *rq, struct str name);
/* Number of headers of that name. */
unsigned http_header_count(const struct http_request *rq, struct str name);

enum http_body {
	HTTP_BODY_OK,
	HTTP_BODY_TOO_LARGE, /* more than max bytes; the rest is drained or the connection closes */
	HTTP_BODY_TIMEOUT,   /* not complete within the body timeout */
	HTTP_BODY_MALFORMED, /* bad chunking: a reply is possible, then the connection closes */
	HTTP_BODY_BROKEN,    /* the peer went away: no reply is possible */
	HTTP_BODY_MEMORY     /* the worker's budget is spent */
};

/* Parks the coroutine until the whole body is in rq->arena (sends 100 Continue
 * first when the client waits for it). */
enum http_body http_read_body(struct http_request *rq, size_t max, struct str *body);

/* Says that the call is about to need so much memory, and parks until the worker has it
 * (D81). False: it has not for wait_ms, or the client left meanwhile. Once per request, after its
 * body was read. */
bool http_reserve(struct http_request *rq, size_t bytes, uint64_t wait_ms);
/* The call's arena holds about what it will until the reply: the rest may be others'. */
void http_reserved(struct http_request *rq);

struct http_reply {
	int status;
	struct buf headers; /* complete lines "Name: value\r\n" without framing headers */
	struct str body;    /* in rq->arena; Content-Length is added by net */
	bool close;         /* end the connection after this reply */
};

/* Sends the reply: framing headers, Date, Connection. Exactly once per request.
 * Does not park: what the socket does not take is buffered. */
void http_send(struct http_request *rq, const struct http_reply *rp);

/* A reply in pieces, instead of http_send(): the head, the pieces, the end. */
enum http_stream {
	HTTP_STREAM_OK,
	HTTP_STREAM_GONE, /* the peer went away */
	HTTP_STREAM_LATE  /* it did not take what was sent before the deadline */
};

/* rp->body is not looked at. */
void http_stream_begin(struct http_request *rq, const struct http_reply *rp);
/* Queues a piece, a copy. Parks before that until the client has taken most of what was
 * sent so far, so that memory is about one piece, however slow the client is.
 * deadline_ms: CLOCK_MONOTONIC. */
enum http_stream http_stream_write(struct http_request *rq, struct str piece, uint64_t deadline_ms);
/* The last piece; does not park. Exactly once after http_stream_begin(). */
void http_stream_end(struct http_request *rq, struct str piece);
/* True once the peer went away (a long call may stop early; ask now and then). One that
 * only shut its sending side down is still there: it is sent an interim reply to find out. */
bool http_gone(const struct http_request *rq);

/* Implemented by call/call.c (and by tests): runs on a coroutine of its own as
 * soon as a head is complete, must end with http_send(), and may then return. */
void call_serve(struct http_request *rq);

#endif
