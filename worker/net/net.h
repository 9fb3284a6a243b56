/*
 * The client side of one worker: listening sockets, connections, HTTP/1.1
 * framing, limits and timeouts. Calls call_serve() (http.h) on a coroutine for
 * each request. Knows nothing of the rest of the worker but what it is given.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct net;
struct options;
struct segment;
struct slot;

struct net_setup {
	struct loop *loop;
	const struct options *opt; /* must outlive the net */
	struct segment *seg;       /* counters; may be NULL */
	int slot_no;
	struct slot *slot; /* gauges and breadcrumb; may be NULL */
};

/* NULL without memory. */
struct net *net_new(const struct net_setup *setup);
/* A listening, non-blocking socket (at most 16); accepting starts at once. 0 or -errno. */
int net_listen(struct net *n, int fd);
/* Serves a connected, non-blocking socket; owns fd from now on. 0 or -errno. */
int net_serve(struct net *n, int fd);
/* Stops accepting; every reply from now on says `Connection: close`. Idle
 * connections may still send one last request for a few seconds (D87). */
void net_drain(struct net *n);
/* Ends every connection at once; calls in flight lose their peer. */
void net_abort(struct net *n);
/* Connections and running calls that are left. */
unsigned net_connections(const struct net *n);
unsigned net_calls(const struct net *n);
/* Once a turn, for example from the loop's tick: gauges and memory budget. */
void net_tick(struct net *n);
/* Only when no connection is left. */
void net_free(struct net *n);

#endif
