/*
 * Accepting. All workers share the listening sockets, which never close, so no
 * connection is lost in a reload. EPOLLEXCLUSIVE wakes mostly whoever waits
 * longest in the kernel's list; going to its end after every 16 connections
 * spreads them evenly (models.md 10.4: max/mean load 1.06 instead of 6.3). A worker
 * with few takes one at a time, and when it is ahead of another, lets that one go first for
 * two milliseconds: four clients with a connection each, which is what a server of events has,
 * would else share one worker and one core.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/log.h"
#include "worker/net/conn.h"

enum {
	ACCEPT_PER_TURN = 16, /* bounded, so that calls in progress get their turn */
	ACCEPT_READD = 16,
	ACCEPT_FEW = 64, /* connections below which it takes them one by one */
	ACCEPT_RETRY_MS = 100,
	ACCEPT_WAY_MS = 2
};

/* True when this worker has few connections, and another one clearly fewer. */
static bool ahead(const struct net *n)
{
	uint32_t generation, mine = n->conns_n;

	if (mine == 0 || mine >= ACCEPT_FEW || !n->s.seg || !n->s.slot)
		return false;
	generation = atomic_load_explicit(&n->s.slot->generation, memory_order_relaxed);
	for (int i = 0; i < SLOTS_MAX; i++) {
		const struct slot *s = segment_slot(n->s.seg, i);
		uint32_t theirs = atomic_load_explicit(&s->connections, memory_order_relaxed);

		if (atomic_load_explicit(&s->state, memory_order_relaxed) == SLOT_READY &&
			atomic_load_explicit(&s->generation, memory_order_relaxed) == generation &&
			!atomic_load_explicit(&s->keeper, memory_order_relaxed) &&
			theirs + mine / 4 < mine)
			return true;
	}
	return false;
}

static void listener_watch(struct listener *li, bool on)
{
	int rc;

	if (on == li->watched)
		return;
	if (!on) {
		loop_del(li->net->s.loop, &li->io);
		li->watched = false;
		return;
	}
	rc = loop_add(li->net->s.loop, &li->io, EPOLLIN | EPOLLEXCLUSIVE);
	li->watched = rc == 0;
	if (rc < 0)
		log_err("watching a listening socket failed error=%d", -rc);
}

static bool accept_wanted(struct net *n)
{
	unsigned low = n->conns_max - n->conns_max / 16;

	if (n->draining || n->short_of_fds || net_over_budget(n))
		return false;
	/* Hysteresis, or every connection that ends would start and stop all. */
	return n->accept_paused ? n->conns_n < low : n->conns_n < n->conns_max;
}

void accept_review(struct net *n)
{
	bool want = accept_wanted(n);
	int i;

	if (want == n->accept_paused)
		log_debug("accepting %s connections=%u", want ? "goes on" : "pauses", n->conns_n);
	n->accept_paused = !want;
	for (i = 0; i < n->listeners_n; i++)
		listener_watch(&n->listeners[i], want && !n->gives_way);
}

void accept_counted(struct net *n)
{
	if (n->s.slot)
		atomic_store_explicit(&n->s.slot->connections, n->conns_n, memory_order_relaxed);
	if (n->gives_way && !ahead(n)) {
		loop_timer_stop(n->s.loop, &n->way_timer);
		n->gives_way = false;
	}
}

/* Whoever waits as well takes what comes; what came before is still there afterwards. */
static void give_way(struct net *n)
{
	if (n->gives_way || !ahead(n))
		return;
	n->gives_way = true;
	loop_timer_set(n->s.loop, &n->way_timer, ACCEPT_WAY_MS);
}

static void way_over(struct loop_timer *t)
{
	struct net *n = (struct net *)((char *)t - offsetof(struct net, way_timer));

	n->gives_way = false;
	accept_review(n);
}

void accept_stop(struct net *n)
{
	n->draining = true;
	loop_timer_stop(n->s.loop, &n->accept_timer);
	loop_timer_stop(n->s.loop, &n->way_timer);
	accept_review(n);
}

/* Out of descriptors: the client gets a clean end rather than
 * silence. The reserved descriptor makes room for this one accept. */
static void accept_shed(struct net *n, int listen_fd)
{
	int fd;

	if (n->reserve_fd < 0)
		return;
	close(n->reserve_fd);
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	n->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void accept_failed(struct net *n, int listen_fd, int error)
{
	static const int shortages[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
	size_t i;

	for (i = 0; i < sizeof(shortages) / sizeof(*shortages); i++) {
		if (error != shortages[i])
			continue;
		log_warn("accepting failed error=%d connections=%u", error, n->conns_n);
		if (error == EMFILE)
			accept_shed(n, listen_fd);
		/* Level-triggered: without a pause this would spin. */
		n->short_of_fds = true;
		loop_timer_set(n->s.loop, &n->accept_timer, ACCEPT_RETRY_MS);
		accept_review(n);
		return;
	}
	/* Anything else (ECONNABORTED, EPERM of a firewall) is about that client. */
}

static void accept_again(struct loop_timer *t)
{
	struct net *n = (struct net *)((char *)t - offsetof(struct net, accept_timer));

	n->short_of_fds = false;
	accept_review(n);
}

static bool accept_one(struct listener *li)
{
	struct net *n = li->net;
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);
	int fd = accept4(li->io.fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR)
			accept_failed(n, li->io.fd, errno);
		return false;
	}
	if (!conn_new(n, fd, &peer)) {
		close(fd);
		return false;
	}
	net_count(n, CTR_accepts, 1);
	accept_counted(n);
	li->accepted++;
	return true;
}

static void accept_ready(struct loop_io *io, uint32_t events)
{
	struct listener *li = (struct listener *)io;
	bool few = li->net->conns_n < ACCEPT_FEW;
	int i;

	(void)events;
	for (i = 0; i < (few ? 1 : ACCEPT_PER_TURN) && accept_wanted(li->net); i++)
		if (!accept_one(li))
			break;
	give_way(li->net);
	if (li->accepted >= (few ? 1 : ACCEPT_READD) && li->watched) {
		li->accepted = 0;
		listener_watch(li, false);
	}
	accept_review(li->net); /* watches it again, behind the others */
}

int net_listen(struct net *n, int fd)
{
	struct listener *li = &n->listeners[n->listeners_n];
	int one = 1;

	if (n->listeners_n == NET_LISTENERS)
		return -ENOSPC;
	/* Accepted sockets inherit these, which saves two calls for each. They
	 * fail on Unix sockets, where they mean nothing. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	*li = (struct listener){.io = {fd, accept_ready}, .net = n};
	n->listeners_n++;
	n->accept_timer.fire = accept_again;
	n->way_timer.fire = way_over;
	if (n->reserve_fd < 0)
		n->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	accept_review(n);
	return 0;
}

int net_serve(struct net *n, int fd)
{
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);

	getpeername(fd, (struct sockaddr *)&peer, &len);
	return conn_new(n, fd, &peer) ? 0 : -ENOMEM;
}
