/*
 * The server that the public conformance suite tests: the product's net/ and
 * call/ with the suite's service, without master, database and credentials. The
 * runner sends one ServerCompatRequest on standard input and wants the port
 * back on standard output; SIGTERM ends us.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "build/conformance/gen/rpc.h"
#include "proto/pb.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "shm/segment.h"
#include "worker/coro.h"
#include "worker/loop.h"
#include "worker/net/net.h"
#include "worker/worker.h"

extern const struct pb_methods pb_conformance_methods;

static struct options options;
static struct worker worker;

/* In the product this is worker/main.c's. */
struct worker *worker_self(void)
{
	return &worker;
}

static void set_defaults(void)
{
#define OPT_GROUP(title)
#define OPT_TEXT(member, key, bytes, def, reloadable, help)
#define OPT_INT(member, key, min, max, def, reloadable, help)  options.member = atoll(def);
#define OPT_BOOL(member, key, def, reloadable, help)           options.member = strcmp(def, "yes") == 0;
#define OPT_MS(member, key, min, max, def, reloadable, help)   options.member = 60000;
#define OPT_SIZE(member, key, min, max, def, reloadable, help) options.member = 64 << 20;
#include "shm/options.def"
	options.max_head = 32 << 10;
	options.access_log = getenv("CONFORMANCE_LOG") != NULL;
	options.limit_address_rate = 0; /* the suite is one busy client */
	options.max_calls = 256;
}

static void read_all(void *to, size_t n)
{
	if (fread(to, 1, n, stdin) != n)
		panic(__FILE__, __LINE__, "standard input ended early");
}

/* The one thing of the request that a unary, plain-text server must obey. */
static uint32_t read_limit(void)
{
	Connectrpc__Conformance__V1__ServerCompatRequest *rq;
	uint8_t head[4], body[65536];
	uint32_t n, limit;

	read_all(head, sizeof(head));
	n = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
	must(n <= sizeof(body));
	read_all(body, n);
	rq = connectrpc__conformance__v1__server_compat_request__unpack(NULL, n, body);
	must(rq != NULL);
	limit = rq->message_receive_limit;
	connectrpc__conformance__v1__server_compat_request__free_unpacked(rq, NULL);
	return limit;
}

static void write_answer(uint16_t port)
{
	Connectrpc__Conformance__V1__ServerCompatResponse rp =
		CONNECTRPC__CONFORMANCE__V1__SERVER_COMPAT_RESPONSE__INIT;
	char host[] = "127.0.0.1";
	uint8_t out[64] = {0};
	size_t n;

	rp.host = host;
	rp.has_port = 1;
	rp.port = port;
	n = connectrpc__conformance__v1__server_compat_response__pack(&rp, out + 4);
	out[3] = (uint8_t)n;
	must(fwrite(out, 1, n + 4, stdout) == n + 4 && fflush(stdout) == 0);
}

static int listen_any(uint16_t *port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&sin, n) == 0 && listen(fd, 1024) == 0);
	must(getsockname(fd, (struct sockaddr *)&sin, &n) == 0);
	*port = ntohs(sin.sin_port);
	return fd;
}

static void start_worker(void)
{
	int fd = segment_create();

	must(fd >= 0);
	worker.seg = segment_map(fd);
	must(worker.seg != NULL);
	worker.slot = segment_slot(worker.seg, 0);
	worker.opt = &options;
	worker.loop = loop_new();
	worker.methods = &pb_conformance_methods;
	worker.bare_errors = true;
	worker.ctl_fd = -1;
	coro_setup((unsigned)options.max_calls + 16);
}

static void tick(void *arg)
{
	net_tick(arg);
}

int main(void)
{
	uint16_t port;
	uint32_t limit = read_limit();
	struct net_setup setup = {.opt = &options};

	log_setup("conformance", LOG_LEVEL_INFO);
	set_defaults();
	if (limit)
		options.max_body = limit;
	start_worker();
	setup.loop = worker.loop;
	setup.seg = worker.seg;
	setup.slot = worker.slot;
	worker.net = net_new(&setup);
	must(worker.net != NULL && net_listen(worker.net, listen_any(&port)) == 0);
	write_answer(port);
	loop_run(worker.loop, tick, worker.net);
	return 0;
}
