/*
 * The head of an HTTP/1.x request, twice: a scanner that sees every byte as it
 * comes and knows lines and characters, then, once the head is whole, the
 * parse by llhttp with our own framing rules. Pure functions, no sockets.
 */
#ifndef NET_HTTP1_H
#define NET_HTTP1_H

#include "worker/net/http.h"

enum http1_progress { HTTP1_MORE, HTTP1_DONE, HTTP1_BAD, HTTP1_MANY /* too many headers */ };

/* Zeroed at the start of each request. */
struct http1_scan {
	uint32_t at;       /* bytes seen */
	uint32_t line_end; /* offset after the request line, 0 before */
	uint32_t headers;  /* header lines seen */
	uint8_t state;
};

/* Continues over in[scan->at..n); `in` always begins with the request's first
 * byte. After HTTP1_DONE scan->at is the length of the head. Any split of the
 * same bytes gives the same result. */
enum http1_progress http1_scan(struct http1_scan *scan, const char *in, size_t n);

/* What net/ needs besides the request. */
struct http1_framing {
	bool chunked;
	bool expect; /* the client waits for 100 Continue */
	bool http10;
	const char *why; /* text of a refusal */
};

/* Parses a whole, scanned head (it must outlive rq) and fills method, target,
 * headers, framing. 0, or the status to refuse with (then fr->why is set). */
int http1_parse(const char *head, size_t n, struct http_request *rq, struct http1_framing *fr);

#endif
