/*
 * A tiny HTTP server inside the master's loop: one request per connection, a
 * fixed number of connections, fixed sizes, a deadline. It trusts whoever can
 * reach the socket with reading; because a browser on this machine can reach a
 * loopback port too, a request that carries Origin is refused, changing anything
 * takes a header that a web page cannot send unasked, and on TCP the Host must be
 * this machine: a page whose own name was made to resolve to 127.0.0.1 sends no
 * Origin, but it cannot help sending its name.
 */
#include "master/admin.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/segment.h"

/* CLIENT_MS counts from the accept on, whatever comes: a trickle of bytes holds a place no
 * longer than silence does. */
enum { CLIENT_MS = 5000, ADMIN_BACKLOG = 16, FINISH_MS = 100 };

struct page {
	const char *request; /* method and path */
	const char *type;
	bool changes;
	void (*write)(const struct master *m, struct buf *b);
};

static void clear_quarantine(const struct master *m, struct buf *b)
{
	for (int g = 0; g < GENERATIONS; g++)
		if (m->gens[g].state != GEN_NONE && m->gens[g].seg)
			quarantine_clear(m->gens[g].seg);
	log_info("quarantine cleared");
	buf_z(b, "cleared\n");
}

static const struct page pages[] = {
	{"GET /metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8", false,
		metrics_write},
	{"GET /status.json", "application/json", false, status_write},
	{"POST /quarantine/clear", "text/plain", true, clear_quarantine},
};

static void client_end(struct master *m, struct admin_client *c)
{
	watch_drop(m, &c->watch);
	free(c->answer);
	c->answer = NULL;
}

static struct admin_client *client_of(struct watch *w)
{
	return (struct admin_client *)(void *)((char *)w - offsetof(struct admin_client, watch));
}

static void client_await(struct master *m, struct admin_client *c, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = &c->watch};

	epoll_ctl(m->epoll_fd, EPOLL_CTL_MOD, c->watch.fd, &ev);
}

/* Sends what fits. When all is sent the client closes: closing first, with bytes of a too
 * long request unread, would be a reset that eats the answer. */
static void client_send(struct master *m, struct admin_client *c)
{
	ssize_t n;

	while (c->sent < c->answer_n) {
		n = send(c->watch.fd, c->answer + c->sent, c->answer_n - c->sent,
			MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			client_await(m, c, EPOLLOUT);
			return;
		}
		if (n <= 0) {
			client_end(m, c);
			return;
		}
		c->sent += (size_t)n;
	}
	shutdown(c->watch.fd, SHUT_WR);
	client_await(m, c, EPOLLIN);
}

static void client_discard(struct master *m, struct admin_client *c)
{
	char rest[4096];
	ssize_t n = recv(c->watch.fd, rest, sizeof(rest), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		client_end(m, c);
}

/* A copy of this moment, which the client owns: what it tells of may change while a slow one
 * reads. */
static void answer(struct master *m, struct admin_client *c, const char *status, const char *type,
	const struct buf *body)
{
	struct buf b;

	buf_init(&b, NULL);
	buf_printf(&b,
		"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		"Cache-Control: no-store\r\nConnection: close\r\n\r\n",
		status, type, body->n);
	buf_add(&b, body->p, body->n);
	c->answer = b.p;
	c->answer_n = b.n;
	c->sent = 0;
	client_send(m, c);
}

static void answer_text(struct master *m, struct admin_client *c, const char *status)
{
	struct buf body;

	buf_init(&body, NULL);
	buf_printf(&body, "%s\n", status);
	answer(m, c, status, "text/plain", &body);
	buf_free(&body);
}

/* Does a line of the head begin with this (which ends in a colon)? The request line is passed
 * over. */
static bool has_header(const char *head, const char *name)
{
	for (const char *l = strstr(head, "\r\n"); l; l = strstr(l + 2, "\r\n"))
		if (strncasecmp(l + 2, name, strlen(name)) == 0)
			return true;
	return false;
}

/* "localhost", 127/8 or ::1, with or without a port. */
static bool is_loopback(struct str host)
{
	size_t n = host.n;
	struct address a;
	char text[80];

	while (n > 0 && host.p[n - 1] >= '0' && host.p[n - 1] <= '9')
		n--;
	n = n > 0 && host.p[n - 1] == ':' ? n - 1 : host.n;
	if (str_case_eq((struct str){host.p, n}, STR("localhost")))
		return true;
	/* The parser takes Unix sockets and needs a port. */
	if (host.n == 0 || host.n > 64 || (host.p[0] != '[' && !str_starts(host, STR("127."))))
		return false;
	if (address_parse(host, &a))
		return address_is_local(&a);
	snprintf(text, sizeof(text), "%.*s:1", STR_ARG(host));
	return address_parse(str_of(text), &a) && address_is_local(&a);
}

/* At least one Host, and all of them loopback. */
static bool asks_loopback(const char *head)
{
	bool any = false;

	for (const char *l = strstr(head, "\r\n"); l; l = strstr(l + 2, "\r\n")) {
		const char *value = l + 2 + strlen("Host:");

		if (strncasecmp(l + 2, "Host:", strlen("Host:")) != 0)
			continue;
		if (!is_loopback(str_trim((struct str){value, strcspn(value, "\r\n")})))
			return false;
		any = true;
	}
	return any;
}

static const struct page *find_page(const char *head)
{
	size_t n;

	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		n = strlen(pages[i].request);
		if (strncmp(head, pages[i].request, n) == 0 && (head[n] == ' ' || head[n] == '?'))
			return &pages[i];
	}
	return NULL;
}

static void serve(struct master *m, struct admin_client *c)
{
	const struct page *p = find_page(c->request);
	bool tcp = strncmp(m->admin.address, "unix:", 5) != 0;
	struct buf body;

	if (tcp && !asks_loopback(c->request)) {
		answer_text(m, c, "403 Forbidden");
	} else if (!p) {
		answer_text(m, c, "404 Not Found");
	} else if (has_header(c->request, "Origin:") ||
		   (p->changes && !has_header(c->request, "Pugd-Admin:"))) {
		answer_text(m, c, "403 Forbidden");
	} else {
		buf_init(&body, NULL);
		p->write(m, &body);
		answer(m, c, "200 OK", p->type, &body);
		buf_free(&body);
	}
}

/* A head is all that is read; a body, which no page wants, is discarded after the answer. */
static void on_client(struct master *m, struct watch *w, uint32_t events)
{
	struct admin_client *c = client_of(w);
	ssize_t n;

	(void)events;
	if (c->answer) {
		if (c->sent < c->answer_n)
			client_send(m, c);
		else
			client_discard(m, c);
		return;
	}
	n = recv(w->fd, c->request + c->request_n, ADMIN_REQUEST - 1 - c->request_n, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		client_end(m, c);
		return;
	}
	c->request_n += (size_t)n;
	c->request[c->request_n] = '\0';
	if (strstr(c->request, "\r\n\r\n"))
		serve(m, c);
	else if (c->request_n == ADMIN_REQUEST - 1)
		answer_text(m, c, "431 Request Header Fields Too Large");
}

static struct admin_client *free_client(struct master *m)
{
	for (int i = 0; i < ADMIN_CLIENTS; i++)
		if (m->admin.client[i].watch.fd < 0)
			return &m->admin.client[i];
	return NULL;
}

/* Accepts even when full, or the listener would wake the loop again at once. */
static void on_accept(struct master *m, struct watch *w, uint32_t events)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct admin_client *c = free_client(m);

	(void)events;
	if (fd < 0)
		return;
	/* Full: whoever is too slow has seconds left, the newcomer may try again. */
	if (!c) {
		close(fd);
		return;
	}
	c->request_n = 0;
	c->answer = NULL;
	c->deadline_ms = clock_mono_ms() + CLIENT_MS;
	if (!watch_add(m, &c->watch, fd, EPOLLIN, on_client))
		close(fd);
}

void admin_open(struct master *m)
{
	struct address a, bound = {.len = sizeof(bound.sa)};
	mode_t mask;
	int fd;

	if (m->opt.admin_listen[0] == '\0' || !address_parse(str_of(m->opt.admin_listen), &a))
		return;
	/* Never open to more for a moment, whatever the umask that we inherited. */
	mask = umask(0117);
	fd = listen_bind(&a, ADMIN_BACKLOG);
	umask(mask);
	if (fd < 0) {
		log_warn("no admin socket addr=%s error=%s", m->opt.admin_listen, strerror(-fd));
		return;
	}
	/* The group may look, too. */
	if (address_path(&a))
		chmod(address_path(&a), 0660);
	if (getsockname(fd, (struct sockaddr *)&bound.sa, &bound.len) == 0)
		address_text(&bound, m->admin.address);
	m->admin.listener.fd = fd;
	admin_resume(m);
	log_info("admin addr=%s", m->admin.address);
}

void admin_resume(struct master *m)
{
	int fd = m->admin.listener.fd;

	if (fd >= 0 && !watch_add(m, &m->admin.listener, fd, EPOLLIN, on_accept))
		log_warn("admin socket is deaf error=%s", strerror(errno));
}

/* At the very end only: listener and file are the next image's after an exec. */
void admin_close(struct master *m)
{
	for (int i = 0; i < ADMIN_CLIENTS; i++)
		client_end(m, &m->admin.client[i]);
	if (m->admin.listener.fd >= 0 && strncmp(m->admin.address, "unix:/", 6) == 0)
		unlink(m->admin.address + strlen("unix:"));
	watch_drop(m, &m->admin.listener);
}

/* Those that have not been told everything; how many. The others merely have not closed yet. */
static nfds_t unanswered(struct master *m, struct pollfd *fds, struct admin_client **who)
{
	nfds_t n = 0;

	for (int i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *c = &m->admin.client[i];

		if (c->watch.fd < 0 || (c->answer && c->sent == c->answer_n))
			continue;
		fds[n] = (struct pollfd){c->watch.fd, c->answer ? POLLOUT : POLLIN, 0};
		who[n++] = c;
	}
	return n;
}

void admin_finish(struct master *m)
{
	uint64_t now = clock_mono_ms(), end = now + FINISH_MS;
	struct admin_client *who[ADMIN_CLIENTS];
	struct pollfd fds[ADMIN_CLIENTS];
	nfds_t n;

	while (now < end && (n = unanswered(m, fds, who)) > 0 &&
		poll(fds, n, (int)(end - now)) > 0) {
		for (nfds_t i = 0; i < n; i++)
			if (fds[i].revents)
				on_client(m, &who[i]->watch, EPOLLIN);
		now = clock_mono_ms();
	}
}

uint64_t admin_tick(struct master *m, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;

	for (int i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *c = &m->admin.client[i];

		if (c->watch.fd >= 0 && now_ms >= c->deadline_ms)
			client_end(m, c);
		else if (c->watch.fd >= 0 && c->deadline_ms < next)
			next = c->deadline_ms;
	}
	return next;
}
