/*
 * The life of a connection: bytes in, heads out, calls started, the next
 * request, the end. A request is served only when the one before it has been
 * answered; until then the socket is not read, so the read-ahead is at most
 * one buffer. A connection is freed only by its own chore at the end of a
 * turn, so no callback ever holds a dangling one.
 */
#include "worker/net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/coro.h"

static const char *const state_names[] = {
	[CONN_IDLE] = "idle",
	[CONN_HEAD] = "head",
	[CONN_CALL] = "call",
	[CONN_STREAM] = "stream",
	[CONN_FLUSH] = "flush",
	[CONN_SKIP] = "skip",
	[CONN_LINGER] = "linger",
	[CONN_DEAD] = "dead",
};

/* Answered even when the worker has all the calls that it may have, so that
 * overload does not look like death. */
static const char *const always_served[] = {"/healthz", "/readyz"};

/* ---- states ---- */

/* RDHUP is level-triggered, too: once seen it is not asked for again, or the loop would spin. */
static uint32_t conn_interest(const struct conn *c)
{
	uint32_t rdhup = c->rdhup ? 0 : EPOLLRDHUP;
	uint32_t in = c->eof || c->paused ? 0 : EPOLLIN;

	switch (c->state) {
	case CONN_IDLE:
	case CONN_HEAD:
	case CONN_SKIP:
	case CONN_LINGER:
		return in;
	case CONN_CALL:
		return (c->x->wanted && !c->x->body_over ? in : 0) | rdhup;
	case CONN_STREAM:
	case CONN_FLUSH:
		return c->x && reply_unsent(c->x) ? EPOLLOUT : rdhup;
	case CONN_DEAD:
		break;
	}
	return 0;
}

/* Input that nobody waits for is left registered until some comes: most clients send
 * nothing while they wait for the answer, and so two system calls a request are saved. */
enum { CONN_LAZY = EPOLLIN | EPOLLRDHUP };

void conn_watch(struct conn *c)
{
	/* EPOLLHUP and EPOLLERR come unasked; this bit only marks "registered". */
	uint32_t want = conn_interest(c) | EPOLLHUP;
	uint32_t spare = c->watched & ~want;

	if (c->state == CONN_DEAD || c->gone)
		return;
	if (c->watched && !(want & ~c->watched) && !(spare & ~(uint32_t)CONN_LAZY) &&
		!(spare & c->unwanted))
		return;
	if (want & EPOLLIN && !c->rdhup && !(c->unwanted & EPOLLRDHUP))
		want |= EPOLLRDHUP; /* the call to come will want it */
	c->unwanted = 0;
	if (c->watched ? loop_mod(c->net->s.loop, &c->io, want)
		       : loop_add(c->net->s.loop, &c->io, want)) {
		conn_vanished(c, "epoll failed");
		return;
	}
	c->watched = want;
}

void conn_set(struct conn *c, enum conn_state state, uint64_t timeout_ms)
{
	if (c->state != state)
		log_debug("connection fd=%d from=%s to=%s", c->io.fd, state_names[c->state],
			state_names[state]);
	c->state = state;
	if (timeout_ms)
		loop_timer_set(c->net->s.loop, &c->timer, timeout_ms);
	else
		loop_timer_stop(c->net->s.loop, &c->timer);
}

static void conn_unwatch(struct conn *c)
{
	if (c->watched)
		loop_del(c->net->s.loop, &c->io);
	c->watched = 0;
}

/* The descriptor goes at once, the struct with its chore, after the call: nobody up the stack
 * holds a freed one. */
void conn_end(struct conn *c, const char *reason)
{
	struct net *n = c->net;

	if (c->state == CONN_DEAD)
		return;
	log_debug("connection ends fd=%d reason=%s", c->io.fd, reason);
	conn_unwatch(c);
	conn_set(c, CONN_DEAD, 0);
	c->gone = true;
	close(c->io.fd);
	c->io.fd = -1;
	if (c->prev)
		c->prev->next = c->next;
	else
		n->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	n->conns_n--;
	accept_counted(n);
	accept_review(n);
	conn_poke(c);
}

void conn_vanished(struct conn *c, const char *reason)
{
	if (!c->x || c->x->call_done) {
		conn_end(c, reason);
		return;
	}
	/* The call may have begun to change things: it finishes, its reply is dropped. */
	c->gone = true;
	conn_unwatch(c);
	loop_timer_stop(c->net->s.loop, &c->timer);
	if (c->state == CONN_STREAM)
		stream_wake(c);
	else if (c->x->reserving)
		reserve_leave(c->x);
	else
		exchange_settle(c, HTTP_BODY_BROKEN);
}

void conn_poke(struct conn *c)
{
	loop_chore(c->net->s.loop, &c->chore);
}

/* ---- memory ---- */

void conn_account(struct conn *c)
{
	size_t body = c->x ? c->x->body.cap : 0, before = c->net->buffered;

	if (c->in.n == 0 && c->in.p) {
		buf_free(&c->in);
		buf_init(&c->in, NULL);
	}
	c->net->buffered += c->in.cap - c->in_counted;
	c->in_counted = c->in.cap;
	c->net->buffered += body - c->body_counted;
	c->body_counted = body;
	if (c->net->buffered < before)
		reserve_wake(c->net);
}

/* States that throw away what they read (SKIP, LINGER) need no memory for it. */
static bool conn_pause(struct conn *c)
{
	if (c->state != CONN_HEAD && c->state != CONN_CALL)
		return false;
	if (!net_over_budget(c->net))
		return false;
	c->paused = true;
	c->paused_ms = loop_now_ms(c->net->s.loop);
	net_wait_memory(c->net);
	return true;
}

void conn_unpause(struct conn *c)
{
	if (!c->paused)
		return;
	c->paused = false;
	c->heard_ms = loop_now_ms(c->net->s.loop);
	conn_watch(c);
}

/* ---- requests ---- */

static void conn_call(void *arg)
{
	struct conn *c = arg;
	struct exchange *x = c->x;

	call_serve(&x->rq);
	must(x->replied);
	x->call_done = true;
	c->net->calls_n--;
	conn_poke(c);
}

static bool conn_may_call(const struct conn *c)
{
	size_t i;

	if (c->net->calls_n < (uint64_t)c->net->s.opt->max_calls)
		return true;
	for (i = 0; i < sizeof(always_served) / sizeof(*always_served); i++)
		if (str_eq(c->x->rq.path, str_of(always_served[i])))
			return true;
	return false;
}

static void conn_start(struct conn *c)
{
	struct exchange *x = c->x;

	net_count(c->net, CTR_requests, 1);
	x->rq.conn = c;
	x->rq.arena = &x->arena;
	x->rq.peer = str_of(c->peer);
	memcpy(x->rq.peer_addr, c->peer_addr, sizeof(c->peer_addr));
	x->rq.start_ns = clock_mono_ns();
	x->left = x->rq.length;
	x->body_read = !x->rq.has_body;
	conn_set(c, CONN_CALL, 0);
	if (!conn_may_call(c)) {
		conn_refuse(c, 503, "Too many calls are running.");
		return;
	}
	x->call_done = false;
	c->net->calls_n++;
	/* The call runs in there until it first parks: when this returns it may have been
	 * answered, or its client be gone. */
	if (coro_start(conn_call, c))
		return;
	c->net->calls_n--;
	x->call_done = true;
	conn_refuse(c, 503, "Too many calls are running.");
}

/* There is no call behind such a reply: no request id, no line in the access log, only the
 * counter. */
void conn_refuse(struct conn *c, int status, const char *why)
{
	struct http_reply rp = {.status = status, .close = true};

	net_count(c->net, CTR_bad_requests, 1);
	if (!c->x)
		c->x = exchange_new(c->net);
	if (!c->x) {
		conn_end(c, "no memory");
		return;
	}
	log_debug("request refused fd=%d status=%d why=%s", c->io.fd, status, why);
	buf_init(&rp.headers, &c->x->arena);
	buf_z(&rp.headers, "Content-Type: text/plain; charset=utf-8\r\n");
	if (status == 503)
		buf_z(&rp.headers, "Retry-After: 1\r\n");
	rp.body = arena_printf(&c->x->arena, "%s\n", why);
	c->x->rq.conn = c;
	c->x->rq.keep_alive = false;
	c->x->replied = true;
	reply_start(c, &rp);
	conn_poke(c);
}

/* The head is whole and its bytes begin c->in. They are copied: the request points into them
 * until its reply is written, and c->in moves on. */
static void conn_head_done(struct conn *c)
{
	size_t n = c->scan.at;
	struct exchange *x = c->x = exchange_new(c->net);
	char *head = x ? arena_alloc(&x->arena, n) : NULL;
	int status;

	if (!head) {
		conn_end(c, "no memory");
		return;
	}
	memcpy(head, c->in.p, n);
	c->in.n -= n;
	memmove(c->in.p, c->in.p + n, c->in.n);
	c->scan = (struct http1_scan){0};
	status = http1_parse(head, n, &x->rq, &x->fr);
	if (!status && x->rq.length > (uint64_t)c->net->s.opt->max_declared) {
		status = 413;
		x->fr.why = "The body is too large.";
	}
	if (status)
		conn_refuse(c, status, x->fr.why);
	else
		conn_start(c);
}

static void conn_head(struct conn *c)
{
	size_t max = (size_t)c->net->s.opt->max_head;
	enum http1_progress p;

	if (c->state == CONN_IDLE)
		conn_set(c, CONN_HEAD, (uint64_t)c->net->s.opt->head_timeout);
	/* The scanner is shown max_head bytes at most; what lies behind may be body. */
	p = http1_scan(&c->scan, c->in.p, c->in.n < max ? c->in.n : max);
	if (p == HTTP1_BAD)
		conn_refuse(c, 400, "Malformed request head.");
	else if (p == HTTP1_DONE)
		conn_head_done(c);
	else if (c->scan.at >= max && !c->scan.line_end)
		conn_refuse(c, 414, "The request target is too long.");
	else if (c->scan.at >= max || p == HTTP1_MANY)
		conn_refuse(c, 431, "The request head is too large.");
}

void conn_advance(struct conn *c)
{
	size_t used;

	if ((c->state == CONN_IDLE || c->state == CONN_HEAD) && c->in.n > 0) {
		conn_head(c);
	} else if (c->x && (c->state == CONN_CALL || c->state == CONN_SKIP)) {
		used = exchange_feed(c, (struct str){c->in.p, c->in.n});
		/* The call may have run on in there, but it reads no further. */
		c->in.n -= used;
		if (c->in.n > 0 && used > 0)
			memmove(c->in.p, c->in.p + used, c->in.n);
	}
	if (c->state != CONN_DEAD)
		conn_account(c);
}

/* ---- the end of an exchange ---- */

/* What was pipelined behind is dropped: its sender reads `Connection: close`. */
static void conn_linger(struct conn *c)
{
	exchange_free(c->net, c->x);
	c->x = NULL;
	c->in.n = 0;
	conn_account(c);
	if (c->eof || shutdown(c->io.fd, SHUT_WR) < 0) {
		conn_end(c, "closed after the reply");
		return;
	}
	conn_set(c, CONN_LINGER, NET_LINGER_MS);
	conn_watch(c);
}

static void conn_next(struct conn *c)
{
	exchange_free(c->net, c->x);
	c->x = NULL;
	conn_account(c);
	/* A request that has begun to come is still served, and its reply closes. */
	if (c->in.n == 0 && c->net->closing) {
		conn_linger(c);
		return;
	}
	conn_set(c, CONN_IDLE, (uint64_t)c->net->s.opt->idle_timeout);
	conn_advance(c);
	conn_watch(c);
}

static void conn_finish(struct conn *c)
{
	struct exchange *x = c->x;

	if (c->gone) {
		conn_end(c, "client gone");
	} else if (c->close) {
		conn_linger(c);
	} else if (x->body_read) {
		conn_next(c);
	} else if (c->state != CONN_SKIP) {
		conn_set(c, CONN_SKIP, NET_SKIP_MS);
		conn_advance(c);
		conn_watch(c);
	}
}

/* The chore: whatever is due once nothing of this turn refers to us. While the call runs there
 * is nothing to do: its end pokes again. */
static void conn_settle(struct loop_chore *ch)
{
	struct conn *c = (struct conn *)((char *)ch - offsetof(struct conn, chore));
	struct exchange *x = c->x;

	if (x && !x->call_done)
		return;
	if (c->state == CONN_DEAD) {
		exchange_free(c->net, x);
		c->x = NULL;
		c->in.n = 0;
		conn_account(c);
		free(c);
		return;
	}
	if (x && (c->gone || reply_flushed(x)))
		conn_finish(c);
}

/* ---- events ---- */

/* Nothing more will come. Who is being answered may still be reading; all others wait for bytes,
 * and a call is only read for while it wants its body. */
static void conn_eof(struct conn *c)
{
	c->eof = true;
	switch (c->state) {
	case CONN_CALL:
		conn_vanished(c, "client closed within the body");
		break;
	case CONN_IDLE:
	case CONN_HEAD:
	case CONN_SKIP:
	case CONN_LINGER:
		conn_end(c, "closed by the client");
		break;
	case CONN_STREAM:
	case CONN_FLUSH:
	case CONN_DEAD:
		break;
	}
}

/* `data` lies in the scratch buffer of all connections. It holds although a call may be resumed
 * in between: nothing but conn_readable() reads from sockets. */
static void conn_input(struct conn *c, struct str data)
{
	/* Large bodies go straight from the scratch buffer to their place. */
	if (c->in.n == 0 && c->x && (c->state == CONN_CALL || c->state == CONN_SKIP)) {
		size_t used = exchange_feed(c, data);

		data = (struct str){data.p + used, data.n - used};
	}
	if (c->state == CONN_LINGER || c->state == CONN_DEAD)
		return;
	if (data.n > 0)
		buf_add(&c->in, data.p, data.n);
	if (c->in.over) {
		conn_vanished(c, "no memory");
		return;
	}
	conn_advance(c);
}

static void conn_readable(struct conn *c)
{
	ssize_t got;

	if (conn_pause(c))
		return;
	/* Once per event: what is left is reported again, after the others had their turn. */
	got = recv(c->io.fd, c->net->scratch, NET_SCRATCH, 0);
	if (got > 0) {
		c->heard_ms = loop_now_ms(c->net->s.loop);
		net_count(c->net, CTR_bytes_in, (uint64_t)got);
		conn_input(c, (struct str){c->net->scratch, (size_t)got});
	} else if (got == 0) {
		conn_eof(c);
	} else if (errno != EAGAIN && errno != EINTR) {
		conn_vanished(c, "read failed");
	}
}

static void conn_ready(struct loop_io *io, uint32_t events)
{
	struct conn *c = (struct conn *)((char *)io - offsetof(struct conn, io));

	c->unwanted = events & ~conn_interest(c) & CONN_LAZY;
	events &= ~c->unwanted;
	/* With both sides shut (linger) HUP is the orderly end. */
	if (events & EPOLLERR || (events & EPOLLHUP && !(events & EPOLLIN))) {
		conn_vanished(c, "connection lost");
		return;
	}
	if (events & EPOLLRDHUP) {
		c->rdhup = true;
		if (c->x && c->x->reserving)
			(void)http_gone(&c->x->rq); /* who has left says so by a reset */
	}
	if (events & EPOLLOUT)
		reply_flush(c);
	if (events & EPOLLIN && conn_interest(c) & EPOLLIN)
		conn_readable(c);
	conn_watch(c);
}

static void conn_timeout(struct loop_timer *t)
{
	struct conn *c = (struct conn *)((char *)t - offsetof(struct conn, timer));

	switch (c->state) {
	case CONN_IDLE:
		conn_end(c, "idle");
		break;
	case CONN_HEAD:
		net_count(c->net, CTR_timeouts_head, 1);
		conn_refuse(c, 408, "The request head did not come in time.");
		break;
	case CONN_CALL:
		net_count(c->net, CTR_timeouts_body, 1);
		exchange_settle(c, HTTP_BODY_TIMEOUT);
		break;
	case CONN_STREAM:
	case CONN_FLUSH:
		conn_vanished(c, "slow reader");
		conn_poke(c);
		break;
	case CONN_SKIP:
		conn_linger(c);
		break;
	case CONN_LINGER:
		conn_end(c, "closed after lingering");
		break;
	case CONN_DEAD:
		break;
	}
	if (c->state != CONN_DEAD)
		conn_watch(c);
}

/* ---- birth ---- */

static void conn_name_peer(struct conn *c, const struct sockaddr_storage *peer)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)peer;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)peer;

	if (peer->ss_family == AF_INET) {
		memset(c->peer_addr + 10, 0xff, 2);
		memcpy(c->peer_addr + 12, &v4->sin_addr, 4);
	} else if (peer->ss_family == AF_INET6) {
		memcpy(c->peer_addr, &v6->sin6_addr, 16);
	} else {
		memcpy(c->peer, "unix", 5);
		return;
	}
	if (IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)c->peer_addr))
		inet_ntop(AF_INET, c->peer_addr + 12, c->peer, sizeof(c->peer));
	else
		inet_ntop(AF_INET6, c->peer_addr, c->peer, sizeof(c->peer));
}

struct conn *conn_new(struct net *n, int fd, const struct sockaddr_storage *peer)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->net = n;
	c->io = (struct loop_io){fd, conn_ready};
	c->timer.fire = conn_timeout;
	c->chore.run = conn_settle;
	buf_init(&c->in, NULL);
	conn_name_peer(c, peer);
	c->next = n->conns;
	if (c->next)
		c->next->prev = c;
	n->conns = c;
	n->conns_n++;
	conn_set(c, CONN_IDLE, (uint64_t)n->s.opt->idle_timeout);
	conn_watch(c);
	return c;
}
