/*
 * A server made of net/, the loop and coroutines only, for the wire fixtures:
 * its call_serve() says what arrived. Prints its port, serves until its
 * standard input ends. Limits are small, so that fixtures are fast.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/coro.h"
#include "worker/loop.h"
#include "worker/net/http.h"
#include "worker/net/net.h"

static struct loop *loop;
static struct net *net;

static int64_t send_buffer; /* of each connection in the kernel; 0: its own choice */

static struct options opt = {
	.max_connections = 1000,
	.max_calls = 200,
	.max_head = 8192,
	.max_declared = 1000000,
	.call_memory = 8 << 20,
	.worker_memory = 64 << 20,
	.head_timeout = 1500,
	.body_timeout = 1500,
	.idle_timeout = 3000,
	.drain_timeout = 8000,
	.log_level = 6,
};

struct nap {
	struct loop_timer t;
	struct coro *co;
};

static void nap_over(struct loop_timer *t)
{
	coro_resume(((struct nap *)t)->co);
}

static void nap(unsigned ms)
{
	struct nap n = {.t = {.fire = nap_over}, .co = coro_self()};

	loop_timer_set(loop, &n.t, ms);
	coro_park();
}

static const char *const verdicts[] = {
	[HTTP_BODY_OK] = "ok",
	[HTTP_BODY_TOO_LARGE] = "large",
	[HTTP_BODY_TIMEOUT] = "timeout",
	[HTTP_BODY_MALFORMED] = "malformed",
	[HTTP_BODY_BROKEN] = "broken",
	[HTTP_BODY_MEMORY] = "memory",
};

static const int verdict_status[] = {
	[HTTP_BODY_OK] = 200,
	[HTTP_BODY_TOO_LARGE] = 429,
	[HTTP_BODY_TIMEOUT] = 408,
	[HTTP_BODY_MALFORMED] = 400,
	[HTTP_BODY_BROKEN] = 500,
	[HTTP_BODY_MEMORY] = 503,
};

static void say(struct http_request *rq, struct http_reply *rp, enum http_body v, struct str body)
{
	struct buf b;
	unsigned i;

	buf_init(&b, rq->arena);
	buf_printf(&b, "method=%.*s path=%.*s query=%.*s body=%s:%zu:%08x peer=%.*s\n",
		STR_ARG(rq->method), STR_ARG(rq->path), STR_ARG(rq->query), verdicts[v], body.n,
		hash_crc32c(0, body.p, body.n), STR_ARG(rq->peer));
	for (i = 0; i < rq->n_headers; i++)
		buf_printf(&b, "[%.*s]=[%.*s]\n", STR_ARG(rq->headers[i].name),
			STR_ARG(rq->headers[i].value));
	rp->status = verdict_status[v];
	rp->body = (struct str){b.p, b.n};
}

/* /hold?BYTES: as a call that takes so much memory. Nothing is decoded, so a small one has
 * nothing to do and a large one naps. */
static void hold(struct http_request *rq, struct http_reply *rp)
{
	int64_t bytes = 0;

	must(str_i64(rq->query, &bytes) && bytes > 0);
	if (!http_reserve(rq, (size_t)bytes, 10000))
		rp->status = 503;
	else if (bytes >= 100000)
		nap(2500);
}

void call_serve(struct http_request *rq)
{
	struct http_reply rp = {.status = 200};
	struct str body = STR("");
	enum http_body v = HTTP_BODY_OK;

	buf_init(&rp.headers, rq->arena);
	buf_z(&rp.headers, "Content-Type: text/plain\r\n");
	if (str_starts(rq->path, STR("/slow")))
		nap(300);
	if (!str_starts(rq->path, STR("/early")))
		v = http_read_body(rq, 100000, &body);
	say(rq, &rp, v, body);
	if (str_starts(rq->path, STR("/hold")))
		hold(rq, &rp);
	rp.close = str_starts(rq->path, STR("/close"));
	if (str_starts(rq->path, STR("/big"))) {
		rp.body = (struct str){arena_zalloc(rq->arena, 4 << 20), 4 << 20};
		must(rp.body.p != NULL);
	}
	if (str_starts(rq->path, STR("/page"))) {
		rp.body = (struct str){arena_zalloc(rq->arena, 64 << 10), 64 << 10};
		must(rp.body.p != NULL);
	}
	if (str_starts(rq->path, STR("/empty")))
		rp.status = 204;
	http_send(rq, &rp);
}

static void input_ready(struct loop_io *io, uint32_t events)
{
	char c;

	(void)events;
	/* "d": drain; the end: stop. */
	if (read(io->fd, &c, 1) == 1 && c == 'd') {
		net_drain(net);
		return;
	}
	loop_del(loop, io);
	loop_stop(loop);
}

static void tick(void *arg)
{
	net_tick(arg);
}

static int listen_somewhere(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int bytes = (int)send_buffer;

	if (bytes)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	must(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 1024) == 0);
	must(getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
	printf("%d\n", ntohs(sa.sin_port));
	fflush(stdout);
	return fd;
}

static const struct {
	const char *name;
	int64_t *value;
} settings[] = {
	{"max_connections", &opt.max_connections},
	{"max_calls", &opt.max_calls},
	{"worker_memory", &opt.worker_memory},
	{"head_timeout", &opt.head_timeout},
	{"body_timeout", &opt.body_timeout},
	{"idle_timeout", &opt.idle_timeout},
	{"send_buffer", &send_buffer},
};

/* name=value, any number of them. */
static void read_settings(int argc, char **argv)
{
	size_t k;
	int i;

	for (i = 1; i < argc; i++)
		for (k = 0; k < sizeof(settings) / sizeof(*settings); k++) {
			size_t n = strlen(settings[k].name);

			if (strncmp(argv[i], settings[k].name, n) == 0 && argv[i][n] == '=')
				must(str_i64(str_of(argv[i] + n + 1), settings[k].value));
		}
}

int main(int argc, char **argv)
{
	struct net_setup setup = {.opt = &opt};
	struct loop_io input = {0, input_ready};
	int fd;

	read_settings(argc, argv);
	fd = listen_somewhere();
	signal(SIGPIPE, SIG_IGN);
	log_setup("echo", getenv("ECHO_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	setup.loop = loop = loop_new();
	net = net_new(&setup);
	must(loop && net);
	coro_setup(256);
	must(net_listen(net, fd) == 0);
	loop_add(loop, &input, EPOLLIN);
	loop_run(loop, tick, net);
	net_abort(net);
	net_tick(net);
	while (net_calls(net) > 0)
		loop_once(loop, 100);
	loop_once(loop, 0);
	net_free(net);
	loop_free(loop);
	coro_teardown();
	close(fd);
	return 0;
}
