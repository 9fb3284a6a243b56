/*
 * Private to net/: one client connection, the exchange (a request and its
 * reply) that it is busy with, and what all connections of a worker share.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <stddef.h>
#include <sys/socket.h>
#include <time.h>

#include "shm/base/list.h"
#include "shm/segment.h"
#include "worker/loop.h"
#include "worker/net/chunked.h"
#include "worker/net/http.h"
#include "worker/net/http1.h"
#include "worker/net/net.h"

enum {
	NET_LISTENERS = 16,
	NET_SCRATCH = 64 * 1024,
	/* What an early reply leaves unread is skipped up to here, else the
	 * connection closes: reading on costs less than a new connection. */
	NET_SKIP_BYTES = 256 * 1024,
	NET_SKIP_MS = 1000,
	/* After the last reply: reading on keeps the kernel from answering late
	 * bytes with a reset, which would take the reply away from the client. */
	NET_LINGER_MS = 2000,
	NET_MEMORY_WAIT_MS = 1000,
	/* Longer than the 5 s of idle time for which a reload promises that no
	 * request is lost. */
	NET_DRAIN_IDLE_MS = 5600
};

enum conn_state {
	CONN_IDLE,   /* between requests, not a byte of the next one */
	CONN_HEAD,   /* a head has begun */
	CONN_CALL,   /* the call runs; it may be reading its body */
	CONN_STREAM, /* the call runs and has begun to reply in pieces */
	CONN_FLUSH,  /* the reply is written as the socket takes it */
	CONN_SKIP,   /* replied; the rest of the body is being thrown away */
	CONN_LINGER, /* our side is shut; waiting for the peer's end */
	CONN_DEAD    /* closed; freed by the chore, after the call */
};

/* One request and its reply. */
struct exchange {
	struct exchange *next; /* in the pool of spare ones */
	struct arena arena;
	size_t reserved;                  /* of net->reserved */
	struct reserve_waiter *reserving; /* while its call waits in http_reserve() */
	struct http_request rq;
	struct http1_framing fr;
	/* request body */
	uint64_t left; /* of a Content-Length, still to come */
	struct chunked chunked;
	struct buf body;
	size_t body_max;
	bool wanted;    /* http_read_body() is collecting it */
	bool body_read; /* complete on the wire */
	bool body_over; /* `verdict` holds */
	enum http_body verdict;
	struct coro *waiter; /* parked in http_read_body() or http_stream_write() */
	uint64_t skipped;
	/* reply */
	bool probed;     /* whether a half-closed client is still there, by http_gone() */
	bool replied;    /* http_send() was called */
	bool call_done;  /* call_serve() returned, or there was none */
	struct buf out;  /* head, and a small body */
	struct str tail; /* a large body, in the arena */
	size_t sent;     /* of both */
	uint64_t end_ms; /* when the client must have taken all of it */
};

struct conn {
	struct loop_io io;
	struct loop_timer timer;
	struct loop_chore chore;
	struct net *net;
	struct conn *prev, *next;
	enum conn_state state;
	uint32_t watched;      /* epoll bits asked for; 0 = not in the epoll */
	uint32_t unwanted;     /* of those: came although nobody waited for them */
	bool paused;           /* not read for want of memory */
	bool eof, rdhup, gone; /* peer: nothing more to read; half closed; vanished */
	bool close;            /* after this reply */
	uint64_t paused_ms;    /* since when */
	uint64_t heard_ms;     /* when bytes came; while paused nobody listens */
	struct buf in;         /* read ahead; freed when empty */
	size_t in_counted;     /* of in.cap, in net->buffered */
	size_t body_counted;
	struct http1_scan scan;
	struct exchange *x;
	char peer[48];
	uint8_t peer_addr[16];
};

struct listener {
	struct loop_io io;
	struct net *net;
	unsigned accepted; /* since it was last added to the epoll */
	bool watched;
};

struct net {
	struct net_setup s;
	struct conn *conns;
	unsigned conns_n, calls_n, conns_max;
	bool draining, closing; /* closing: idle connections had their time */
	struct listener listeners[NET_LISTENERS];
	int listeners_n;
	bool accept_paused;
	bool short_of_fds;
	bool gives_way; /* to workers with fewer connections */
	int reserve_fd;
	struct loop_timer accept_timer, way_timer, memory_timer, drain_timer;
	size_t buffered; /* bytes in read-ahead and body buffers */
	size_t arenas;   /* bytes held by arenas of calls, as of the last tick */
	uint64_t arenas_ms;
	size_t reserved;       /* bytes that calls may take for what they make of their bodies */
	size_t reserved_small; /* of these, by small calls */
	struct list reserve_waiting;
	struct loop_chore reserve_chore;
	struct exchange *spare;
	unsigned spare_n;
	char *scratch;
	time_t date_at;
	char date[32];
};

/* conn.c */
struct conn *conn_new(struct net *n, int fd, const struct sockaddr_storage *peer);
void conn_watch(struct conn *c);
/* The one place that changes a state. */
void conn_set(struct conn *c, enum conn_state state, uint64_t timeout_ms);
/* The one place that ends a connection. */
void conn_end(struct conn *c, const char *reason);
/* The peer is gone: ends the connection, but lets a running call finish. */
void conn_vanished(struct conn *c, const char *reason);
/* Something of the exchange is finished; looks what is next at the end of the turn. */
void conn_poke(struct conn *c);
/* Refuses the request being read and closes. */
void conn_refuse(struct conn *c, int status, const char *why);
/* Works on what was read ahead. */
void conn_advance(struct conn *c);
/* Buffers changed: keeps net->buffered true and gives empty ones back. */
void conn_account(struct conn *c);
void conn_unpause(struct conn *c);

/* exchange.c */
struct exchange *exchange_new(struct net *n);
void exchange_free(struct net *n, struct exchange *x);
/* Feeds body bytes; returns how many were taken. */
size_t exchange_feed(struct conn *c, struct str in);
/* The body is settled: wakes whoever waits. */
void exchange_settle(struct conn *c, enum http_body verdict);

/* reserve.c */
/* Memory was given back: whoever waits for it goes on, at the end of the turn. */
void reserve_wake(struct net *n);
/* What an exchange has reserved from now on. */
void reserve_set(struct net *n, struct exchange *x, size_t bytes);
void reserve_grant(struct loop_chore *ch);
/* The client of a call that waits is gone. Runs the call right here. */
void reserve_leave(struct exchange *x);
/* Whether the first in the queue would go if no bodies were in memory. */
bool reserve_wants_bodies(const struct net *n);

/* reply.c */
/* Queues the reply's bytes and writes what the socket takes. */
void reply_start(struct conn *c, const struct http_reply *rp);
void reply_flush(struct conn *c);
bool reply_flushed(const struct exchange *x);
/* Bytes queued and not yet written. */
size_t reply_unsent(const struct exchange *x);
/* Queues a head; `framing` is the line that says where the body ends. */
void reply_head(struct conn *c, const struct http_reply *rp, struct str framing);
/* Sets the time by which all that is queued must be taken, and writes. */
void reply_go(struct conn *c);
/* 100 Continue. */
void reply_continue(struct conn *c);

/* stream.c */
/* The client took something or went away: wakes a parked writer. Must be the last thing
 * that the caller does. */
void stream_wake(struct conn *c);

/* accept.c */
/* Looks whether accepting must pause or may go on. */
void accept_review(struct net *n);
/* Connections became more or fewer. */
void accept_counted(struct net *n);
void accept_stop(struct net *n);

/* net.c */
bool net_over_budget(const struct net *n);
void net_count(struct net *n, enum counter c, uint64_t k);
/* A connection was just paused for want of memory. */
void net_wait_memory(struct net *n);

#endif
