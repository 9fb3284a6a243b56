/*
 * Replies: the framing headers, and the writing. Nothing here waits: what the
 * socket does not take stays in the exchange until it does, and a client that
 * takes nothing, or too little, for too long is dropped.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/net/conn.h"

enum {
	/* Up to here a body is copied behind its head: one piece, one segment. */
	REPLY_COPY = 16 * 1024,
	/* A reply holds worker_memory until it is written, so no client may take it in
	 * drops for ever. Slower than this is no link in use, but somebody who means it. */
	REPLY_BYTES_PER_S = 16 * 1024
};

static const struct {
	int status;
	const char *text;
} statuses[] = {
	{200, "OK"},
	{204, "No Content"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{303, "See Other"},
	{304, "Not Modified"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{412, "Precondition Failed"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{417, "Expectation Failed"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{499, "Client Closed Request"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
};

static const char *status_text(int status)
{
	size_t i;

	for (i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
		if (statuses[i].status == status)
			return statuses[i].text;
	return "Unknown";
}

static const char *net_date(struct net *n)
{
	time_t now = (time_t)(clock_real_ms() / 1000);
	struct tm tm;

	if (now != n->date_at) {
		n->date_at = now;
		gmtime_r(&now, &tm);
		strftime(n->date, sizeof(n->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	}
	return n->date;
}

/* Whether the next request on this connection could be found and may come. */
static bool reply_closes(const struct conn *c, const struct http_reply *rp)
{
	const struct exchange *x = c->x;

	if (rp->close || c->close || !x->rq.keep_alive || c->net->draining)
		return true;
	if (x->body_read)
		return false;
	/* Without our 100 nobody knows whether the body will come at all. */
	return x->fr.expect || (x->rq.has_length && x->left > NET_SKIP_BYTES);
}

void reply_head(struct conn *c, const struct http_reply *rp, struct str framing)
{
	struct buf *b = &c->x->out;

	c->close = reply_closes(c, rp);
	/* A call that settled nothing about its body no longer may. */
	c->x->body_over = true;
	buf_z(b, "HTTP/1.1 ");
	buf_u64(b, (uint64_t)rp->status);
	buf_c(b, ' ');
	buf_z(b, status_text(rp->status));
	buf_z(b, "\r\nDate: ");
	buf_z(b, net_date(c->net));
	buf_z(b, "\r\n");
	buf_add(b, rp->headers.p, rp->headers.n);
	buf_str(b, framing);
	if (c->close)
		buf_z(b, "Connection: close\r\n");
	else if (c->x->fr.http10)
		buf_z(b, "Connection: keep-alive\r\n");
	buf_z(b, "\r\n");
}

/* Two limits: on standing still, set anew by every byte that the client takes, and on
 * the whole. */
static void reply_timer(struct conn *c)
{
	uint64_t still = (uint64_t)c->net->s.opt->body_timeout;
	uint64_t now = loop_now_ms(c->net->s.loop), end = c->x->end_ms;
	uint64_t left = end > now ? end - now : 0;

	loop_timer_set(c->net->s.loop, &c->timer, left < still ? left : still);
}

/* 204 must not have a Content-Length (RFC 9110, 8.6); HEAD has that of the body which it does
 * not get (9.3.2). */
void reply_start(struct conn *c, const struct http_reply *rp)
{
	struct exchange *x = c->x;
	bool has_body = rp->status != 204 && rp->status != 304;
	char length[48];
	int n = snprintf(length, sizeof(length), "Content-Length: %zu\r\n", rp->body.n);

	conn_set(c, CONN_FLUSH, 0);
	reply_head(c, rp, (struct str){length, has_body ? (size_t)n : 0});
	if (c->gone)
		return;
	if (has_body && !str_eq(x->rq.method, STR("HEAD"))) {
		if (rp->body.n <= REPLY_COPY)
			buf_str(&x->out, rp->body);
		else
			x->tail = rp->body;
	}
	if (rp->headers.over || x->out.over) {
		conn_vanished(c, "no memory for the reply");
		return;
	}
	reply_go(c);
}

void reply_go(struct conn *c)
{
	struct exchange *x = c->x;

	x->end_ms = loop_now_ms(c->net->s.loop) + (uint64_t)c->net->s.opt->body_timeout +
		    reply_unsent(x) * UINT64_C(1000) / REPLY_BYTES_PER_S;
	reply_timer(c);
	reply_flush(c);
}

size_t reply_unsent(const struct exchange *x)
{
	return x->out.n + x->tail.n - x->sent;
}

bool reply_flushed(const struct exchange *x)
{
	return x->replied && reply_unsent(x) == 0;
}

static ssize_t reply_write(const struct conn *c)
{
	const struct exchange *x = c->x;
	size_t in_out = x->sent < x->out.n ? x->sent : x->out.n, in_tail = x->sent - in_out;
	struct iovec iov[2] = {
		{x->out.p + in_out, x->out.n - in_out},
		{NULL, x->tail.n - in_tail},
	};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = x->tail.n ? 2 : 1};

	/* iovec has no const; sendmsg only reads. */
	if (x->tail.n)
		memcpy(&iov[1].iov_base, &(const char *){x->tail.p + in_tail}, sizeof(char *));
	return sendmsg(c->io.fd, &m, MSG_NOSIGNAL);
}

void reply_flush(struct conn *c)
{
	struct exchange *x = c->x;
	ssize_t n;

	if ((c->state != CONN_FLUSH && c->state != CONN_STREAM) || c->gone)
		return;
	while (reply_unsent(x)) {
		n = reply_write(c);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			conn_vanished(c, "write failed");
			return;
		}
		if (n < 0) {
			conn_watch(c);
			stream_wake(c);
			return;
		}
		x->sent += (size_t)n;
		net_count(c->net, CTR_bytes_out, (uint64_t)n);
		reply_timer(c);
	}
	loop_timer_stop(c->net->s.loop, &c->timer);
	conn_watch(c);
	conn_poke(c);
	stream_wake(c);
}

void reply_continue(struct conn *c)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	ssize_t n = send(c->io.fd, text, sizeof(text) - 1, MSG_NOSIGNAL);

	/* Everything before was flushed, so a socket without room for 25 bytes is dead. */
	if (n != (ssize_t)sizeof(text) - 1)
		conn_vanished(c, "write failed");
}

void http_send(struct http_request *rq, const struct http_reply *rp)
{
	struct conn *c = rq->conn;

	must(!c->x->replied);
	c->x->replied = true;
	reply_start(c, rp);
}

/* TCP tells in the same words that the peer has sent everything (shutdown) and that it
 * left (close). Only bytes sent to it make the difference: who left answers them with a
 * reset, which ends the connection a moment later. An interim reply is harmless to who
 * is there: clients of HTTP/1.1 skip it (RFC 9110, 15.2). */
static void reply_probe(struct conn *c)
{
	struct exchange *x = c->x;

	if (x->probed || x->replied || c->state == CONN_STREAM || x->fr.http10)
		return;
	x->probed = true;
	reply_continue(c);
}

bool http_gone(const struct http_request *rq)
{
	if (rq->conn->rdhup && !rq->conn->gone)
		reply_probe(rq->conn);
	return rq->conn->gone;
}
