/*
 * The nine steps from head to reply, for every method of the product. Handlers
 * answer nothing, but for those whose work starts with what the client sent:
 * BatchCreate, Query and List are the product's own, down to the functions below
 * that stand in for the database: events are encoded and read back, questions run
 * over a few events that are always the same. net/ is replaced, too: its framing
 * has a target of its own. Input:
 *   byte 0  method      byte 1  flags (see below)
 *   with HEADER: byte 2 chooses a header, its value ends at the next line feed
 *   the rest is the body, or the query string of a GET
 */
#include <string.h>
#include "rpc.h"
#include "proto/connect.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/keycache.h"
#include "shm/options.h"
#include "shm/segment.h"
#include "worker/call/call.h"
#include "worker/coro.h"
#include "worker/ingest/catalog.h"
#include "worker/ingest/enrich.h"
#include "worker/ingest/ingest.h"
#include "worker/insights/scan.h"
#include "worker/store/encode.h"
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
static struct arena stored_memory;
static struct str stored; /* a segment */
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

/* There is nobody to wait for. */
bool http_reserve(struct http_request *rq, size_t bytes, uint64_t wait_ms)
{
	(void)rq;
	(void)wait_ms;
	must(bytes > 0);
	return true;
}

void http_reserved(struct http_request *rq)
{
	(void)rq;
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

/* ---- in place of the database ---- */

static bool encode(struct arena *a, const struct event *events, uint32_t n, struct str *blob)
{
	struct encoder *e = encoder_new(a);

	for (uint32_t i = 0; e && i < n; i++)
		if (!encoder_add(e, &events[i]))
			return false;
	*blob = e ? encoder_finish(e) : (struct str){NULL, 0};
	return blob->p != NULL;
}

struct ingest *ingest_new(struct worker *w)
{
	(void)w;
	return NULL;
}

void ingest_free(struct ingest *in)
{
	(void)in;
}

/* What is acknowledged can be read. */
int ingest_submit(struct call *c, struct ingest_batch *b)
{
	struct arena a;
	struct evseg seg;
	struct str blob;

	arena_init(&a, 64 << 20);
	must(encode(&a, b->events, b->n, &blob));
	must(evseg_open(&seg, blob, &a) && seg.n == b->n);
	arena_free(&a);
	b->created = b->n;
	return c->who.project == b->project ? 0 : -1;
}

/* Every name is known. */
int catalog_admit(struct call *c, const Events__V1__BatchCreateRequest *in, struct event *events,
	uint32_t n, struct catalog_new *new)
{
	(void)c;
	(void)in;
	(void)events;
	(void)n;
	*new = (struct catalog_new){.n = 0};
	return 0;
}

void catalog_settle(
	struct call *c, const struct catalog_new *new, bool failed, uint32_t created, uint32_t n)
{
	(void)c;
	(void)failed;
	must(new->n == 0 && created <= n);
}

void scan_init(struct scan *s, struct call *c)
{
	*s = (struct scan){.project = c->who.project};
	arena_init(&s->a, 64 << 20);
}

void scan_free(struct scan *s)
{
	arena_free(&s->a);
}

void scan_release(struct scan *s, struct arena *a)
{
	(void)s;
	arena_free(a);
}

bool scan_join(struct scan *s, uint64_t deadline_ms)
{
	(void)s;
	(void)deadline_ms;
	return false;
}

void scan_share(struct scan *s, _Atomic uint64_t *until)
{
	(void)s;
	(void)until;
}

void scan_stop(struct scan *s)
{
	(void)s;
}

void scan_again(struct scan *s)
{
	arena_reset(&s->a);
}

int scan_no_memory(struct call *c)
{
	return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "no memory");
}

int scan_run(struct scan *s, struct call *c)
{
	struct evseg seg;
	struct batch batch;
	struct frame frame;

	if (!people_init(&s->people, &s->a, s->plan->n_paths) || !evseg_open(&seg, stored, &s->a) ||
		!batch_load(&batch, &seg, &s->plan->need, &s->a) ||
		!frame_make(&frame, s->plan, &batch, &s->people, &s->a) ||
		!s->fold(s, &frame, &seg) || (s->finish && !s->finish(s))) {
		must(s->a.over);
		return scan_no_memory(c);
	}
	return 0;
}

static void store_events(void)
{
	static const char *const kinds[] = {"order", "page_view", "$identify"};
	struct prop props[3][3];
	struct event events[9];

	memset(events, 0, sizeof(events));
	for (uint32_t i = 0; i < 3; i++) {
		props[i][0] =
			(struct prop){STR("amount"), SCOPE_CUSTOM, {VALUE_DOUBLE, .d = i / 2.0}};
		props[i][1] = (struct prop){
			STR("plan"), SCOPE_CUSTOM, {VALUE_STR, .s = str_of(kinds[i])}};
		props[i][2] = (struct prop){STR("$os"), SCOPE_AUTO, {VALUE_INT, .i = i}};
	}
	for (uint32_t i = 0; i < 9; i++) {
		events[i].id[0] = (uint8_t)i;
		events[i].has_session = events[i].cookieless = i % 4 == 1;
		events[i].time_ms =
			1711836000000 + i * 3600000; /* a night without its second hour */
		events[i].kind = str_of(kinds[i % 3]);
		events[i].distinct_id = str_of(kinds[i / 3]);
		events[i].props = props[i / 3];
		events[i].n_props = i % 4;
	}
	arena_init(&stored_memory, 1 << 20);
	must(encode(&stored_memory, events, 9, &stored));
}

/* A project's zone, and the ids of a person: one of those that events have. */
static int exec(
	struct db *db, const struct query *q, const struct db_param *params, PGresult **result)
{
	PGresAttDesc columns[] = {{.name = (char[]){"a"}, .format = 1, .typid = 25},
		{.name = (char[]){"b"}, .format = 1, .typid = 114}};
	char zone[] = "Europe/Berlin";
	char ids[] = "\0\0\0\1\0\0\0\0\0\0\0\031\0\0\0\1\0\0\0\1\0\0\0\5order"; /* text[] */
	bool person = strcmp(q->label, "activity_person") == 0;

	(void)db;
	(void)params;
	must(person || strcmp(q->label, "project_zone") == 0);
	columns[0].typid = person ? 1009 : 25;
	*result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	must(*result && PQsetResultAttrs(*result, person ? 2 : 1, columns));
	must(PQsetvalue(*result, 0, 0, person ? ids : zone,
		(int)(person ? sizeof(ids) : sizeof(zone)) - 1));
	must(!person || PQsetvalue(*result, 0, 1, NULL, -1));
	return 0;
}

/* ---- handlers ---- */

static const struct db_ops ops = {exec, NULL};

static int query(struct call *c, const void *in, void *out)
{
	c->db = (struct db){.ops = &ops, .arena = c->arena};
	return rpc_insights_query(c, in, out);
}

static int list(struct call *c, const void *in, void *out)
{
	c->db = (struct db){.ops = &ops, .arena = c->arena};
	return rpc_activity_list(c, in, out);
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
	for (unsigned i = 0; i < table.n; i++) {
		const char *path = methods[i].path;

		if (strcmp(path, "/insights.v1.InsightsService/Query") == 0)
			methods[i].handler = query;
		else if (strcmp(path, "/activity.v1.ActivityService/List") == 0)
			methods[i].handler = list;
		else if (strcmp(path, "/events.v1.EventsService/BatchCreate") != 0)
			methods[i].handler = answer_nothing;
	}
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
	store_events();
	worker.methods = &table;
	must(enricher_start(&worker) == 0);
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
