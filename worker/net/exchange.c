/*
 * One request and its reply: where they live, and the body. Body bytes are
 * collected only while a call waits for them; what no call wants is skipped or
 * left in the kernel, where TCP slows the sender down.
 */
#include <stdlib.h>

#include "shm/base/log.h"
#include "shm/options.h"
#include "shm/slots.h"
#include "worker/coro.h"
#include "worker/crumb.h"
#include "worker/net/conn.h"

enum {
	EXCHANGE_SPARE = 64, /* each keeps 4 KB */
	/* A Content-Length up to here is believed; beyond it memory grows with
	 * what has really come. */
	BODY_FIRST = 64 * 1024
};

/* The arena outlives the wiping: it keeps a chunk of the exchange before. */
struct exchange *exchange_new(struct net *n)
{
	struct exchange *x = n->spare;
	struct arena arena;

	if (x) {
		n->spare = x->next;
		n->spare_n--;
	} else {
		x = calloc(1, sizeof(*x));
		if (!x)
			return NULL;
		arena_init(&x->arena, (size_t)n->s.opt->call_memory);
	}
	arena = x->arena;
	memset(x, 0, sizeof(*x));
	x->arena = arena;
	x->call_done = x->body_read = true;
	buf_init(&x->body, NULL);
	buf_init(&x->out, NULL);
	return x;
}

void exchange_free(struct net *n, struct exchange *x)
{
	if (!x)
		return;
	reserve_set(n, x, 0);
	buf_free(&x->body);
	buf_init(&x->body, NULL);
	buf_free(&x->out);
	if (n->spare_n >= EXCHANGE_SPARE) {
		arena_free(&x->arena);
		free(x);
		return;
	}
	arena_reset(&x->arena);
	x->next = n->spare;
	n->spare = x;
	n->spare_n++;
}

/* ---- the body as it comes ---- */

/* A piece of the body; false when it settles the matter. */
static bool body_piece(struct conn *c, struct str piece)
{
	struct exchange *x = c->x;

	if (c->state == CONN_SKIP) {
		x->skipped += piece.n;
		c->close = c->close || x->skipped > NET_SKIP_BYTES;
		return !c->close;
	}
	if (piece.n > x->body_max - x->body.n) {
		x->verdict = HTTP_BODY_TOO_LARGE;
		return false;
	}
	buf_add(&x->body, piece.p, piece.n);
	/* in advance: it counts only with body_over, or body.over, which exchange_feed() asks
	 * for */
	x->verdict = HTTP_BODY_MEMORY;
	return !x->body.over;
}

static bool body_length(struct conn *c, struct str *in)
{
	struct exchange *x = c->x;
	size_t n = in->n < x->left ? in->n : (size_t)x->left;
	struct str piece = {in->p, n};

	in->p += n;
	in->n -= n;
	x->left -= n;
	x->body_read = x->left == 0;
	return body_piece(c, piece) && !x->body_read;
}

static bool body_chunked(struct conn *c, struct str *in)
{
	struct exchange *x = c->x;
	struct str piece;

	switch (chunked_next(&x->chunked, in, &piece)) {
	case CHUNKED_DATA:
		return body_piece(c, piece);
	case CHUNKED_DONE:
		x->body_read = true;
		return false;
	case CHUNKED_BAD:
		/* Where the next request begins is unknown from here on. */
		c->close = true;
		x->verdict = HTTP_BODY_MALFORMED;
		return false;
	case CHUNKED_MORE:
		break;
	}
	return false;
}

size_t exchange_feed(struct conn *c, struct str in)
{
	struct exchange *x = c->x;
	size_t before = in.n;
	bool more = true;

	if (x->body_read ||
		(c->state == CONN_CALL ? !x->wanted || x->body_over : c->state != CONN_SKIP))
		return 0;
	x->verdict = HTTP_BODY_OK;
	while (in.n > 0 && more)
		more = x->fr.chunked ? body_chunked(c, &in) : body_length(c, &in);
	if (c->state == CONN_SKIP) {
		if (x->body_read || c->close)
			conn_poke(c);
	} else if (x->verdict == HTTP_BODY_TOO_LARGE || x->verdict == HTTP_BODY_MALFORMED ||
		   x->body.over) {
		exchange_settle(c, x->body.over ? HTTP_BODY_MEMORY : x->verdict);
	} else if (x->body_read) {
		exchange_settle(c, HTTP_BODY_OK);
	}
	return before - in.n;
}

/* Resumes the call right here: to the caller any state may be another when this returns. */
void exchange_settle(struct conn *c, enum http_body verdict)
{
	struct exchange *x = c->x;
	struct coro *waiter;

	if (!x || !x->wanted || x->body_over)
		return;
	x->body_over = true;
	x->verdict = verdict;
	waiter = x->waiter;
	x->waiter = NULL;
	if (waiter)
		coro_resume(waiter);
}

/* ---- what a call sees ---- */

/* 100 Continue is left out where some of the body has come without it (RFC 9110, 10.1.1). What
 * was read ahead may settle the body before there is a waiter; then nothing parks. */
static void body_await(struct conn *c)
{
	struct exchange *x = c->x;
	struct slot *slot = c->net->s.slot;

	if (x->fr.expect && c->in.n == 0)
		reply_continue(c);
	x->fr.expect = false;
	if (x->rq.has_length)
		buf_room(&x->body, x->left < BODY_FIRST ? (size_t)x->left : BODY_FIRST);
	conn_set(c, CONN_CALL, (uint64_t)c->net->s.opt->body_timeout);
	conn_advance(c);
	conn_watch(c);
	while (!x->body_over) {
		x->waiter = coro_self();
		crumb_park(slot ? &slot->crumbs[0] : NULL);
	}
	if (!c->gone) {
		conn_set(c, CONN_CALL, 0);
		conn_watch(c);
	}
}

/* Only now is the body read at all: until here its sender fills nothing but the kernel's buffers
 * and one of ours, so a refusal costs no more. */
enum http_body http_read_body(struct http_request *rq, size_t max, struct str *body)
{
	struct conn *c = rq->conn;
	struct exchange *x = c->x;

	must(!x->wanted && !x->replied);
	*body = (struct str){"", 0};
	if (x->body_read)
		return HTTP_BODY_OK;
	x->wanted = true;
	x->body_max = max;
	if (rq->has_length && rq->length > max) {
		x->body_over = true;
		return x->verdict = HTTP_BODY_TOO_LARGE;
	}
	if (c->gone)
		return HTTP_BODY_BROKEN;
	body_await(c);
	if (x->verdict == HTTP_BODY_OK) {
		*body = (struct str){x->body.p, x->body.n};
		return HTTP_BODY_OK;
	}
	/* A refused body must not hold memory until its reply is written. */
	buf_free(&x->body);
	buf_init(&x->body, NULL);
	conn_account(c);
	return x->verdict;
}
