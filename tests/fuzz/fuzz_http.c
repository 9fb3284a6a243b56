/*
 * Fuzzes a whole connection: scanner, llhttp, framing rules, bodies, replies.
 * The first byte seeds the way the rest is split. Beyond not crashing it must
 * hold that the replies do not depend on the splits: whatever depends on them
 * is a way to smuggle a request.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/coro.h"
#include "worker/loop.h"
#include "worker/net/http.h"
#include "worker/net/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 1 << 20, IN_MAX = 60000 };

static struct options opt = {
	.max_connections = 100,
	.max_calls = 20,
	.max_head = 2048,
	.max_declared = 20000,
	.call_memory = 4 << 20,
	.worker_memory = 64 << 20,
	.head_timeout = 60000,
	.body_timeout = 60000,
	.idle_timeout = 60000,
	.drain_timeout = 60000,
};
static struct loop *loop;
static struct net *net;

void call_serve(struct http_request *rq)
{
	struct http_reply rp = {.status = 200};
	struct str body = STR("");
	enum http_body v = HTTP_BODY_OK;
	char peek = rq->path.n > 1 ? rq->path.p[1] : 'x';

	buf_init(&rp.headers, rq->arena);
	if (peek != 'e')
		v = http_read_body(rq, 10000, &body);
	rp.close = peek == 'c';
	rp.body = arena_printf(rq->arena, "%d %.*s %.*s %u %zu %08x", (int)v, STR_ARG(rq->method),
		STR_ARG(rq->target), rq->n_headers, body.n, hash_crc32c(0, body.p, body.n));
	http_send(rq, &rp);
}

struct output {
	size_t n;
	char p[OUT_MAX];
};

static void collect(int fd, struct output *out)
{
	ssize_t n;

	while (out->n < OUT_MAX && (n = recv(fd, out->p + out->n, OUT_MAX - out->n, 0)) > 0)
		out->n += (size_t)n;
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 16;
}

/* Several turns, because a pipelined request starts in a chore of its own. */
static void turns(int n)
{
	while (n-- > 0)
		loop_once(loop, 0);
}

static void run(const uint8_t *p, size_t n, uint32_t seed, struct output *out)
{
	int fd[2], i;
	size_t piece;

	out->n = 0;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
	must(net_serve(net, fd[1]) == 0);
	while (n > 0) {
		piece = seed ? 1 + next_random(&seed) % (next_random(&seed) % 4 ? 5 : 600) : n;
		if (piece > n)
			piece = n;
		if (send(fd[0], p, piece, MSG_NOSIGNAL) != (ssize_t)piece)
			break;
		p += piece;
		n -= piece;
		turns(2);
		collect(fd[0], out);
	}
	for (i = 0; i < 200; i++) {
		size_t before = out->n;

		turns(3);
		collect(fd[0], out);
		if (i > 5 && before == out->n)
			break;
	}
	close(fd[0]);
	/* libFuzzer's alarm interrupts a wait now and then, hence not a fixed number. */
	for (i = 0; i < 100 && net_connections(net) > 0; i++)
		loop_once(loop, 5);
	turns(2);
	must(net_connections(net) == 0 && net_calls(net) == 0);
}

/* Drops what may differ between two runs: the date, and 100 Continue, which is
 * sent only when no byte of the body has come yet. */
static size_t canonical(struct output *out)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n", date[] = "Date: ";
	size_t from = 0, to = 0;

	while (from < out->n) {
		if (out->n - from >= sizeof(interim) - 1 &&
			memcmp(out->p + from, interim, sizeof(interim) - 1) == 0) {
			from += sizeof(interim) - 1;
			continue;
		}
		if (out->n - from >= 37 && memcmp(out->p + from, date, 6) == 0)
			from += 37;
		out->p[to++] = out->p[from++];
	}
	return out->n = to;
}

static void start(void)
{
	struct net_setup setup = {.opt = &opt};

	log_setup("fuzz", LOG_LEVEL_ERR);
	setup.loop = loop = loop_new();
	net = net_new(&setup);
	must(loop && net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct output whole, split;

	if (size < 1 || size > IN_MAX)
		return 0;
	if (!net)
		start();
	run(data + 1, size - 1, 0, &whole);
	run(data + 1, size - 1, data[0] + 1u, &split);
	canonical(&whole);
	canonical(&split);
	if (whole.n != split.n || memcmp(whole.p, split.p, whole.n) != 0) {
		fprintf(stderr, "whole: %.*s\nsplit: %.*s\n", (int)whole.n, whole.p, (int)split.n,
			split.p);
		abort();
	}
	return 0;
}
