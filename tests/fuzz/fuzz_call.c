/*
 * The nine steps from head to reply, for every method of the product, with
 * handlers that answer nothing. net/ is replaced by the functions below: its
 * own framing has a target of its own. Input:
 *   byte 0  method      byte 1  flags (see below)
 *   with HEADER: byte 2 chooses a header, its value ends at the next line feed
 *   the rest is the body, or the query string of a GET
 */
#include <string.h>
#include "proto/connect.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/keycache.h"
#include "shm/options.h"
#include "shm/segment.h"
#include "worker/call/call.h"
#include "worker/coro.h"
#include "worker/worker.h"

enum {
	JSON = 1,
	GET = 2,
	GZIP_IN = 4,
	GZIP_OUT = 8,
	PRIVATE = 16,
	BEARER = 32,
	HEADER = 64,
	ORIGIN = 128
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct options options;
static struct worker worker;
static struct pb_method methods[METHODS_MAX];
static struct pb_methods table;
static struct str body_left;
static int replies;
static bool stream_open_now;

static const char keys[2][45] = {"pub_0123456789abcdef0123456789abcdef01234567",
	"prv_0123456789abcdef0123456789abcdef01234567"};
static const char *const names[] = {"content-type", "authorization", "x-forwarded-for",
	"connect-timeout-ms", "x-request-id", "origin", "content-encoding", "accept-encoding",
	"x-project-id", "connect-protocol-version", "access-control-request-headers"};

struct worker *worker_self(void)
{
	return &worker;
}

struct str http_header_get(const struct http_request *rq, struct str name)
{
	for (unsigned i = 0; i < rq->n_headers; i++)
		if (str_case_eq(rq->headers[i].name, name))
			return rq->headers[i].value;
	return (struct str){NULL, 0};
}

enum http_body http_read_body(struct http_request *rq, size_t max, struct str *body)
{
	struct buf b;

	if (body_left.n > max)
		return HTTP_BODY_TOO_LARGE;
	buf_init(&b, rq->arena); /* a copy of its own, as net/ makes one */
	buf_str(&b, body_left);
	*body = (struct str){b.p, b.n};
	return b.over ? HTTP_BODY_MEMORY : HTTP_BODY_OK;
}

/* A head has a status, and headers that end lines only where a line ends. */
static void check_head(const struct http_reply *rp)
{
	must(rp->status >= 200 && rp->status < 600);
	for (size_t i = 0; i < rp->headers.n; i++)
		must(rp->headers.p[i] != '\0');
	must(rp->headers.n == 0 || rp->headers.p[rp->headers.n - 1] == '\n');
}

/* Whatever came in: one reply. */
void http_send(struct http_request *rq, const struct http_reply *rp)
{
	(void)rq;
	must(!stream_open_now);
	replies++;
	check_head(rp);
}

/* A stream is a head, whole envelopes, and the one that says it is the last. */
void http_stream_begin(struct http_request *rq, const struct http_reply *rp)
{
	(void)rq;
	must(!stream_open_now && rp->status == 200);
	stream_open_now = true;
	check_head(rp);
}

enum http_stream http_stream_write(struct http_request *rq, struct str piece, uint64_t deadline_ms)
{
	struct str message;
	uint8_t flags;

	(void)rq;
	(void)deadline_ms;
	must(stream_open_now && connect_envelope_take(&piece, &flags, &message) && piece.n == 0);
	must(!(flags & CONNECT_FLAG_END));
	return HTTP_STREAM_OK;
}

void http_stream_end(struct http_request *rq, struct str piece)
{
	struct str message;
	uint8_t flags;

	(void)rq;
	must(stream_open_now && connect_envelope_take(&piece, &flags, &message) && piece.n == 0);
	must(flags == CONNECT_FLAG_END);
	stream_open_now = false;
	replies++;
}

bool http_gone(const struct http_request *rq)
{
	(void)rq;
	return false;
}

static int answer_nothing(struct call *c, const void *in, void *out)
{
	(void)in;
	return c->method->server_stream ? call_send(c, out) : 0;
}

static void setup_table(void)
{
	table = pb_product_methods;
	must(table.n <= METHODS_MAX);
	memcpy(methods, table.v, table.n * sizeof(methods[0]));
	for (unsigned i = 0; i < table.n; i++)
		methods[i].handler = answer_nothing;
	table.v = methods;
}

static void setup(void)
{
	int fd = segment_create();

	must(fd >= 0);
	worker.seg = segment_map(fd);
	must(worker.seg != NULL);
	worker.slot = segment_slot(worker.seg, 0);
	worker.opt = &options;
	options.call_timeout = 60000;
	options.max_body = 1 << 20;
	options.limit_scale = 1;
	options.secret_len = 32;
	strcpy(options.cors_origins, "https://*.example");
	strcpy(options.trusted_proxies, "127.0.0.0/8");
	setup_table();
	worker.methods = &table;
	coro_setup(4);
}

/* Both keys are known and fresh. */
static void store_keys(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct key_entry e = {.project = 7, .kind = i + 1};
		uint8_t digest[32];

		strcpy(e.key_id, "0123456789abcdefghij");
		strcpy(e.project_id, "0123456789abcdefghij");
		hash_sha256(keys[i], 44, digest);
		keycache_feed(worker.seg, 1);
		keycache_put(worker.seg, 0, digest, keycache_epoch(worker.seg), &e);
	}
}

static void add(struct http_request *rq, const char *name, struct str value)
{
	rq->headers[rq->n_headers++] = (struct http_header){str_of(name), value};
}

static void serve(void *arg)
{
	call_serve(arg);
}

static struct str take_header(struct http_request *rq, struct str in)
{
	long end = str_find(in, '\n');
	size_t n = end < 0 ? in.n : (size_t)end;

	if (in.n < 2)
		return in;
	if (n < 1)
		n = 1;
	add(rq, names[(uint8_t)in.p[0] % (sizeof(names) / sizeof(names[0]))],
		str_trim((struct str){in.p + 1, n - 1}));
	n += end < 0 ? 0 : 1;
	return n > in.n ? (struct str){in.p, 0} : (struct str){in.p + n, in.n - n};
}

static void fill(struct http_request *rq, const struct pb_method *m, uint8_t flags)
{
	bool get = flags & GET;

	rq->method = get ? STR("GET") : STR("POST");
	rq->path = str_of(m->path);
	rq->target = rq->path;
	rq->peer = STR("127.0.0.1");
	rq->peer_addr[10] = rq->peer_addr[11] = 0xff;
	rq->peer_addr[12] = 127;
	rq->start_ns = clock_mono_ns();
	if (!get)
		add(rq, "Content-Type",
			flags & JSON ? STR("application/json") : STR("application/proto"));
	if (flags & GZIP_IN)
		add(rq, "Content-Encoding", STR("gzip"));
	if (flags & GZIP_OUT)
		add(rq, "Accept-Encoding", STR("gzip"));
	if (!(flags & BEARER))
		add(rq, "X-Api-Key", (struct str){keys[flags & PRIVATE ? 1 : 0], 44});
	if (flags & ORIGIN)
		add(rq, "Origin", STR("https://a.example"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_request rq;
	struct arena arena;
	struct str rest;

	if (size < 2)
		return 0;
	if (!worker.opt)
		setup();
	store_keys();
	arena_init(&arena, 8 << 20);
	memset(&rq, 0, sizeof(rq));
	rq.arena = &arena;
	rest = (struct str){(const char *)data + 2, size - 2};
	if (data[1] & HEADER)
		rest = take_header(&rq, rest);
	fill(&rq, &methods[data[0] % table.n], data[1]);
	if (data[1] & GET)
		rq.query = rest;
	body_left = rest;
	replies = 0;
	must(coro_start(serve, &rq));
	must(replies == 1);
	arena_free(&arena);
	return 0;
}
