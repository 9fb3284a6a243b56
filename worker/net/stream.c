/*
 * Replies in pieces: chunks of HTTP/1.1, or to HTTP/1.0 everything until the end of the
 * connection. A call that produces faster than its client reads is parked; whoever reads
 * nothing for as long as a body may stand still is dropped, as for any reply.
 */
#include <stdio.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/slots.h"
#include "worker/coro.h"
#include "worker/crumb.h"
#include "worker/net/conn.h"

/* With more than this unsent the call waits: enough to keep a link busy meanwhile. */
enum { STREAM_AHEAD = 64 * 1024 };

void stream_wake(struct conn *c)
{
	struct exchange *x = c->x;
	struct coro *waiter = x ? x->waiter : NULL;

	if (c->state != CONN_STREAM || !waiter)
		return;
	if (!c->gone && reply_unsent(x) > STREAM_AHEAD)
		return;
	x->waiter = NULL;
	coro_resume(waiter);
}

void http_stream_begin(struct http_request *rq, const struct http_reply *rp)
{
	struct conn *c = rq->conn;
	struct exchange *x = c->x;

	must(!x->replied && c->state == CONN_CALL);
	if (x->fr.http10)
		c->close = true;
	conn_set(c, CONN_STREAM, 0);
	reply_head(c, rp, x->fr.http10 ? STR("") : STR("Transfer-Encoding: chunked\r\n"));
	if (rp->headers.over || x->out.over)
		conn_vanished(c, "no memory for the reply");
	else if (!c->gone)
		reply_go(c);
}

struct patience {
	struct loop_timer timer; /* first: out_of_patience() gets a pointer to it */
	struct exchange *x;
	bool over;
};

static void out_of_patience(struct loop_timer *t)
{
	struct patience *p = (struct patience *)t;
	struct coro *waiter = p->x->waiter;

	p->over = true;
	p->x->waiter = NULL;
	if (waiter)
		coro_resume(waiter);
}

/* Until most of what was sent is taken. */
static enum http_stream wait_for_client(struct conn *c, uint64_t deadline_ms)
{
	struct exchange *x = c->x;
	struct patience p = {.timer = {.fire = out_of_patience}, .x = x};
	struct slot *slot = c->net->s.slot;
	uint64_t now = clock_mono_ms();

	if (c->gone || reply_unsent(x) <= STREAM_AHEAD)
		return c->gone ? HTTP_STREAM_GONE : HTTP_STREAM_OK;
	loop_timer_set(c->net->s.loop, &p.timer, deadline_ms > now ? deadline_ms - now : 0);
	while (!c->gone && !p.over && reply_unsent(x) > STREAM_AHEAD) {
		x->waiter = coro_self();
		crumb_park(slot ? &slot->crumbs[0] : NULL);
	}
	loop_timer_stop(c->net->s.loop, &p.timer);
	return c->gone ? HTTP_STREAM_GONE : p.over ? HTTP_STREAM_LATE : HTTP_STREAM_OK;
}

/* Drops what was written, so that the buffer does not grow with the stream. */
static void forget_sent(struct exchange *x)
{
	size_t left = reply_unsent(x);

	if (left == 0 && x->out.cap > STREAM_AHEAD) {
		buf_free(&x->out);
		buf_init(&x->out, NULL);
	} else if (x->sent > 0 && left > 0) {
		memmove(x->out.p, x->out.p + x->sent, left);
	}
	x->out.n = left;
	x->sent = 0;
}

static void put_chunk(struct conn *c, struct str piece)
{
	struct buf *b = &c->x->out;

	forget_sent(c->x);
	/* an empty chunk would end the body */
	if (piece.n == 0)
		return;
	if (!c->x->fr.http10)
		buf_printf(b, "%zx\r\n", piece.n);
	buf_str(b, piece);
	if (!c->x->fr.http10)
		buf_z(b, "\r\n");
}

enum http_stream http_stream_write(struct http_request *rq, struct str piece, uint64_t deadline_ms)
{
	struct conn *c = rq->conn;
	enum http_stream s;

	must(!c->x->replied && (c->state == CONN_STREAM || c->gone));
	s = wait_for_client(c, deadline_ms);
	if (s != HTTP_STREAM_OK)
		return s;
	put_chunk(c, piece);
	if (c->x->out.over)
		conn_vanished(c, "no memory for the reply");
	else
		reply_go(c);
	return c->gone ? HTTP_STREAM_GONE : HTTP_STREAM_OK;
}

/* Whoever had the answer so far is not waited for: the last piece is added to what is unsent,
 * and the connection's own timer sees to the rest. */
void http_stream_end(struct http_request *rq, struct str piece)
{
	struct conn *c = rq->conn;
	struct exchange *x = c->x;

	must(!x->replied && (c->state == CONN_STREAM || c->gone));
	x->replied = true;
	if (c->gone)
		return;
	put_chunk(c, piece);
	if (!x->fr.http10)
		buf_z(&x->out, "0\r\n\r\n");
	conn_set(c, CONN_FLUSH, 0);
	if (x->out.over)
		conn_vanished(c, "no memory for the reply");
	else
		reply_go(c);
}
