/*
 * Load generator of tests/bench/run.py: so many clients send one template again
 * and again for a while, each waiting for its answer, over HTTP keep-alive or as
 * COPY into PostgreSQL. Both get the same events, with fresh ids of the same kind,
 * so that their rates may be divided.
 *
 *   bench_main http HOST:PORT CLIENTS MILLISECONDS TEMPLATE [REQUESTS-PER-SECOND]
 *   bench_main copy CONNINFO  CLIENTS MILLISECONDS TEMPLATE STATEMENT
 *   bench_main insert CONNINFO CLIENTS MILLISECONDS TEMPLATE STATEMENT
 *
 * At a rate, a request's time counts from the moment when it was due, so that a
 * client that was held up does not hide what its next requests would have seen.
 *
 * BENCH_IDS=4 makes UUIDv4s; BENCH_RESEND=PERCENT keeps so many of a request's ids,
 * so that they were sent by the request before.
 *
 * A template is a line "EVENTS OFFSET..." and then the bytes to send; at each offset
 * the 36 characters of a UUID are replaced; for `insert` a NUL ends each parameter of
 * the statement. The answer is one line of JSON.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/base/str.h"

enum { ANSWER_MAX = 65536, SAMPLES_MAX = 1 << 20, CLIENTS_MAX = 1024, UUID_TEXT = 36 };

struct bench {
	const char *target, *statement;
	char *data;
	size_t n;
	size_t *offsets;
	unsigned events;
	uint64_t end_ns;
	bool copy, insert, v4;
	unsigned resend; /* events of a request, from its first on, that keep their ids */
	pthread_barrier_t start;
	uint64_t duration_ms, gap_ns; /* between two requests of one client; 0: none */
};

struct client {
	struct bench *b;
	pthread_t thread;
	char *data; /* its own copy of the template, ids change in place */
	uint64_t rng;
	int fd;
	PGconn *db;
	uint32_t *micros;
	size_t n;
};

static void die(const char *what, const char *detail)
{
	fprintf(stderr, "bench: %s: %s\n", what, detail);
	exit(1);
}

static void *need(void *p)
{
	if (!p)
		die("memory", "exhausted");
	return p;
}

/* ---- template ---- */

static void read_template(struct bench *b, const char *path)
{
	FILE *f = fopen(path, "re");
	long at = -1, size = -1;

	if (!f || fscanf(f, "%u", &b->events) != 1 || b->events > 100000)
		die(path, "not a template");
	b->offsets = need(calloc(b->events + 1, sizeof(*b->offsets)));
	for (unsigned i = 0; i < b->events; i++)
		if (fscanf(f, "%zu", &b->offsets[i]) != 1)
			die(path, "offsets are missing");
	if (fgetc(f) != '\n' || (at = ftell(f)) < 0 || fseek(f, 0, SEEK_END) ||
		(size = ftell(f)) <= at || fseek(f, at, SEEK_SET))
		die(path, "no bytes");
	b->n = (size_t)(size - at);
	b->data = need(malloc(b->n));
	if (fread(b->data, 1, b->n, f) != b->n)
		die(path, "cannot be read");
	fclose(f);
	for (unsigned i = 0; i < b->events; i++)
		if (b->offsets[i] + UUID_TEXT > b->n)
			die(path, "offset beyond the end");
}

/* A UUIDv7 without a system call each, which would cost more than the sending. */
static void next_id(struct client *c, int64_t ms, uint8_t id[16])
{
	for (int i = 0; i < 16; i += 8) {
		uint64_t z = (c->rng += 0x9e3779b97f4a7c15u); /* splitmix64 */

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		z ^= z >> 31;
		memcpy(id + i, &z, 8);
	}
	for (int i = 0; i < 6 && !c->b->v4; i++)
		id[i] = (uint8_t)(ms >> (40 - 8 * i));
	id[6] = (uint8_t)((c->b->v4 ? 0x40 : 0x70) | (id[6] & 0x0f));
	id[8] = (uint8_t)(0x80 | (id[8] & 0x3f));
}

static void fresh_ids(struct client *c)
{
	int64_t ms = clock_real_ms();
	uint8_t id[16];
	char text[UUID_TEXT + 1];

	for (unsigned i = c->n ? c->b->resend : 0; i < c->b->events; i++) {
		next_id(c, ms, id);
		str_uuid_text(id, text);
		memcpy(c->data + c->b->offsets[i], text, UUID_TEXT);
	}
}

/* ---- HTTP ---- */

static void http_open(struct client *c)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	const char *colon = strrchr(c->b->target, ':');
	char host[64] = "";
	int one = 1;

	if (!colon || (size_t)(colon - c->b->target) >= sizeof(host))
		die(c->b->target, "not HOST:PORT");
	memcpy(host, c->b->target, (size_t)(colon - c->b->target));
	a.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (inet_pton(AF_INET, host, &a.sin_addr) != 1 || c->fd < 0 ||
		connect(c->fd, (struct sockaddr *)&a, sizeof(a)))
		die(c->b->target, strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void http_send(struct client *c)
{
	for (size_t sent = 0; sent < c->b->n;) {
		ssize_t n = send(c->fd, c->data + sent, c->b->n - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			die("send", strerror(errno));
		sent += n > 0 ? (size_t)n : 0;
	}
}

/* Length of the whole answer once its head is there, else 0. */
static size_t answer_length(const char *z)
{
	const char *body = strstr(z, "\r\n\r\n"), *field = strcasestr(z, "\r\ncontent-length:");

	if (!body)
		return 0;
	if (!field || field > body)
		die("answer without a length", z);
	return (size_t)(body + 4 - z) + strtoul(field + 17, NULL, 10);
}

static void http_answer(struct client *c)
{
	char z[ANSWER_MAX + 1];
	size_t n = 0, want = 0;

	while (!want || n < want) {
		ssize_t got = recv(c->fd, z + n, ANSWER_MAX - n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			die("recv", got ? strerror(errno) : "closed");
		n += (size_t)got;
		z[n] = '\0';
		if (!want)
			want = answer_length(z);
	}
	if (strncmp(z, "HTTP/1.1 200 ", 13) != 0)
		die("answer", z);
}

/* ---- COPY ---- */

static void copy_once(struct client *c)
{
	PGresult *r = PQexec(c->db, c->b->statement);

	if (PQresultStatus(r) != PGRES_COPY_IN)
		die("COPY", PQerrorMessage(c->db));
	PQclear(r);
	if (PQputCopyData(c->db, c->data, (int)c->b->n) != 1 || PQputCopyEnd(c->db, NULL) != 1)
		die("COPY", PQerrorMessage(c->db));
	while ((r = PQgetResult(c->db))) {
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			die("COPY", PQerrorMessage(c->db));
		PQclear(r);
	}
}

/* ---- INSERT ---- */

enum { PARAMS_MAX = 64 };

static void insert_prepare(struct client *c)
{
	PGresult *r = PQprepare(c->db, "s", c->b->statement, 0, NULL);

	if (PQresultStatus(r) != PGRES_COMMAND_OK)
		die("PREPARE", PQerrorMessage(c->db));
	PQclear(r);
}

static void insert_once(struct client *c)
{
	const char *params[PARAMS_MAX];
	int n = 0;
	PGresult *r;

	for (size_t at = 0; at < c->b->n && n < PARAMS_MAX; at += strlen(c->data + at) + 1)
		params[n++] = c->data + at;
	r = PQexecPrepared(c->db, "s", n, params, NULL, NULL, 0);
	if (PQresultStatus(r) != PGRES_COMMAND_OK)
		die("INSERT", PQerrorMessage(c->db));
	PQclear(r);
}

/* ---- clients ---- */

static void client_open(struct client *c)
{
	c->data = need(malloc(c->b->n));
	memcpy(c->data, c->b->data, c->b->n);
	hash_random(&c->rng, sizeof(c->rng));
	c->micros = need(calloc(SAMPLES_MAX, sizeof(*c->micros)));
	if (!c->b->copy && !c->b->insert) {
		http_open(c);
		return;
	}
	c->db = PQconnectdb(c->b->target);
	if (PQstatus(c->db) != CONNECTION_OK)
		die("connect", PQerrorMessage(c->db));
	if (c->b->insert)
		insert_prepare(c);
}

/* When the next request is due: at once, or a gap after the last one was. */
static uint64_t wait_turn(const struct client *c, uint64_t due)
{
	uint64_t now = clock_mono_ns();

	if (!c->b->gap_ns)
		return now;
	if (due > now) {
		struct timespec t = {
			(time_t)((due - now) / 1000000000), (long)((due - now) % 1000000000)};
		nanosleep(&t, NULL);
	}
	return due;
}

static void *client_run(void *arg)
{
	struct client *c = arg;
	uint64_t end, due, now, next;

	client_open(c);
	pthread_barrier_wait(&c->b->start);
	next = clock_mono_ns();
	end = next + c->b->duration_ms * 1000000;
	/* Clients start at different moments of the first gap. */
	due = next + (c->b->gap_ns ? c->rng % c->b->gap_ns : 0);
	for (; next < end && c->n < SAMPLES_MAX; due += c->b->gap_ns) {
		fresh_ids(c);
		now = wait_turn(c, due);
		if (c->b->copy) {
			copy_once(c);
		} else if (c->b->insert) {
			insert_once(c);
		} else {
			http_send(c);
			http_answer(c);
		}
		next = clock_mono_ns();
		c->micros[c->n++] = (uint32_t)((next - now) / 1000);
	}
	return NULL;
}

static int by_value(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

	return a < b ? -1 : a > b;
}

static void report(struct bench *b, struct client *clients, size_t n, double seconds)
{
	size_t total = 0, at = 0;
	uint32_t *all;

	for (size_t i = 0; i < n; i++)
		total += clients[i].n;
	all = need(calloc(total + 1, sizeof(*all)));
	for (size_t i = 0; i < n; at += clients[i].n, i++)
		memcpy(all + at, clients[i].micros, clients[i].n * sizeof(*all));
	qsort(all, total, sizeof(*all), by_value);
	printf("{\"requests\": %zu, \"events\": %zu, \"seconds\": %.6f, \"p50_us\": %u, "
	       "\"p99_us\": %u}\n",
		total, total * b->events, seconds, total ? all[total / 2] : 0,
		total ? all[total - 1 - total / 100] : 0);
	free(all);
}

int main(int argc, char **argv)
{
	static struct client clients[CLIENTS_MAX];
	struct bench b = {0};
	unsigned long n;
	uint64_t begin;

	b.copy = argc > 1 && strcmp(argv[1], "copy") == 0;
	b.insert = argc > 1 && strcmp(argv[1], "insert") == 0;
	b.v4 = getenv("BENCH_IDS") != NULL;
	if (argc < 6 || argc > 7 || ((b.copy || b.insert) && argc != 7))
		die("usage", "see bench_main.c");
	b.target = argv[2];
	b.statement = argv[6];
	n = strtoul(argv[3], NULL, 10);
	b.duration_ms = strtoul(argv[4], NULL, 10);
	if (n < 1 || n > CLIENTS_MAX)
		die("clients", argv[3]);
	if (!b.copy && !b.insert && argc == 7 && strtod(argv[6], NULL) > 0)
		b.gap_ns = (uint64_t)(1e9 * (double)n / strtod(argv[6], NULL));
	read_template(&b, argv[5]);
	if (getenv("BENCH_RESEND"))
		b.resend = b.events * (unsigned)strtoul(getenv("BENCH_RESEND"), NULL, 10) / 100;
	pthread_barrier_init(&b.start, NULL, (unsigned)n + 1);
	for (size_t i = 0; i < n; i++) {
		clients[i].b = &b;
		if (pthread_create(&clients[i].thread, NULL, client_run, &clients[i]))
			die("thread", "cannot be made");
	}
	pthread_barrier_wait(&b.start);
	begin = clock_mono_ns();
	for (size_t i = 0; i < n; i++)
		pthread_join(clients[i].thread, NULL);
	report(&b, clients, n, (double)(clock_mono_ns() - begin) / 1e9);
	return 0;
}
