/*
 * One connection's life: down -> connecting -> up -> down. It never blocks: names
 * are resolved elsewhere (hosts.c), PQconnectPoll is driven by the loop, and the
 * socket is registered anew after each step because libpq may have made another.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "worker/coro.h"
#include "worker/db/internal.h"
#include "worker/offload.h"
#include "worker/worker.h"

static void dbconn_unwatch(struct dbconn *conn)
{
	if (conn->watched)
		loop_del(conn->lane->pool->loop, &conn->io);
	conn->watched = false;
}

void dbconn_watch(struct dbconn *conn, uint32_t events)
{
	struct loop *loop = conn->lane->pool->loop;
	int fd = PQsocket(conn->pg);
	int failed = 0;

	/* while it connects, the same number may be another socket, which epoll does not know */
	if (conn->watched && conn->io.fd == fd && conn->state == CONN_UP) {
		if (conn->events != events)
			failed = loop_mod(loop, &conn->io, events);
	} else {
		dbconn_unwatch(conn);
		conn->io.fd = fd;
		failed = loop_add(loop, &conn->io, events);
		conn->watched = failed == 0;
	}
	conn->events = events;
	if (failed)
		log_err("cannot watch a database connection errno=%d", -failed);
}

/* ---- coming up ---- */

/* The server is back: whoever waits out a backoff for it need not wait longer. */
static void wake_others(struct lane *lane)
{
	struct db_pool *pool = lane->pool;

	for (int i = 0; i < LANES; i++) {
		struct lane *other = &pool->lanes[i];

		if (strcmp(other->url, lane->url) != 0)
			continue;
		/* its callers may wait again (lane_hopeless()) */
		if (other->down_ms)
			other->down_ms = loop_now_ms(pool->loop);
		for (int j = 0; j < other->n; j++)
			if (other->conns[j].timer.index && other->conns[j].state == CONN_DOWN)
				loop_timer_set(pool->loop, &other->conns[j].timer, 0);
	}
}

static void dbconn_is_up(struct dbconn *conn)
{
	struct lane *lane = conn->lane;
	struct db_pool *pool = lane->pool;

	loop_timer_stop(pool->loop, &conn->timer);
	if (PQsetnonblocking(conn->pg, 1) != 0 || !PQenterPipelineMode(conn->pg)) {
		dbconn_lost(conn, PQerrorMessage(conn->pg));
		return;
	}
	conn->state = CONN_UP;
	conn->up_ms = conn->heard_ms = loop_now_ms(pool->loop);
	lane->up++;
	if (lane->failed)
		log_info("database is back lane=%s", lane->label);
	lane->failed = false;
	if (lane->down_ms)
		wake_others(lane);
	lane->down_ms = 0;
	pool_count(pool, CTR_db_connects);
	dbconn_watch(conn, EPOLLIN);
	lane_dispatch(lane);
}

static void dbconn_poll(struct dbconn *conn)
{
	PostgresPollingStatusType next = PQconnectPoll(conn->pg);

	switch (next) {
	case PGRES_POLLING_READING:
		dbconn_watch(conn, EPOLLIN);
		break;
	case PGRES_POLLING_WRITING:
		dbconn_watch(conn, EPOLLOUT);
		break;
	case PGRES_POLLING_OK:
		dbconn_is_up(conn);
		break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
		dbconn_lost(conn, PQerrorMessage(conn->pg));
		break;
	}
}

static void dbconn_ready(struct loop_io *io, uint32_t events)
{
	struct dbconn *conn = list_item(io, struct dbconn, io);
	struct db_pool *pool = conn->lane->pool;

	if (conn->state == CONN_CONNECTING)
		dbconn_poll(conn);
	else if (conn->state == CONN_UP)
		pipe_ready(conn, events);
	pool_wake(pool);
}

static void quiet(void *arg, const char *text)
{
	(void)arg;
	log_debug("database notice text=\"%.*s\"", (int)strcspn(text, "\n"), text);
}

static void dbconn_connect(struct dbconn *conn)
{
	struct lane *lane = conn->lane;
	const char *keys[8] = {"dbname", "application_name", "client_encoding"};
	const char *values[8] = {lane->url, "pugd", "UTF8"};
	int n = 3;

	if (hosts_addresses(lane->hosts)) {
		keys[n] = "host", values[n++] = hosts_names(lane->hosts);
		keys[n] = "hostaddr", values[n++] = hosts_addresses(lane->hosts);
		keys[n] = "port", values[n++] = hosts_ports(lane->hosts);
	}
	conn->state = CONN_CONNECTING;
	/* libpq would look the name up itself, here on the loop, for as long as a
	 * dead name server takes: longer than a heartbeat may be late. */
	if (lane->hosts && !hosts_addresses(lane->hosts)) {
		dbconn_lost(conn, "its host name was not found");
		return;
	}
	conn->pg = PQconnectStartParams(keys, values, 1);
	if (!conn->pg || PQstatus(conn->pg) == CONNECTION_BAD) {
		dbconn_lost(conn, conn->pg ? PQerrorMessage(conn->pg) : "out of memory");
		return;
	}
	PQsetNoticeProcessor(conn->pg, quiet, NULL);
	loop_timer_set(lane->pool->loop, &conn->timer, DB_CONNECT_MS);
	dbconn_watch(conn, EPOLLOUT);
}

/* ---- names ---- */

static void dbconn_retry(struct dbconn *conn);

static void resolve_thread(void *arg)
{
	hosts_resolve(arg);
}

static bool nameless(const struct lane *lane)
{
	return lane->hosts && !hosts_addresses(lane->hosts);
}

static void wake_nameless(struct lane *lane)
{
	for (int i = 1; i < lane->n; i++)
		if (lane->conns[i].state == CONN_DOWN && !lane->conns[i].timer.index)
			dbconn_retry(&lane->conns[i]);
}

/* Coroutine: looks the lane's hosts up on a thread, then connects. A name server that is silent
 * holds the thread for long, so it is none of those that hash passwords; and callers must not
 * wait for it as if nothing was wrong (lane_hopeless()). */
static void resolve_then_connect(void *arg)
{
	struct dbconn *conn = arg;
	struct lane *lane = conn->lane;
	struct db_pool *pool = lane->pool;

	if (!lane->down_ms)
		lane->down_ms = loop_now_ms(pool->loop);
	if (offload_run(pool->w->offload, OFFLOAD_OUT, 0, resolve_thread, lane->hosts) < 0)
		log_warn("no thread free to resolve database hosts lane=%s", lane->label);
	else
		hosts_adopt(lane->hosts);
	if (!nameless(lane))
		wake_nameless(lane);
	if (conn->state == CONN_DOWN && !pool->closing)
		dbconn_connect(conn);
}

static void dbconn_try(struct dbconn *conn)
{
	struct lane *lane = conn->lane;
	bool first = conn == &lane->conns[0];
	/* Addresses change on failover; ask again now and then. A lane's first
	 * connection does it for all: threads must not race over lane->hosts. */
	bool stale =
		lane->hosts && first && lane->up == 0 && (nameless(lane) || conn->fails % 8 == 7);

	if (stale && coro_start(resolve_then_connect, conn))
		return;
	/* the first one, which starts before all others, wakes them when it has an address */
	if (nameless(lane) && !first)
		return;
	dbconn_connect(conn);
}

/* ---- going down ---- */

static uint64_t backoff(int fails)
{
	uint64_t most = DB_BACKOFF_MIN_MS;
	uint32_t noise;

	/* At once after a loss, so that a failover is noticed first by us. */
	if (fails == 0)
		return 0;
	for (int i = 1; i < fails && most < DB_BACKOFF_MAX_MS; i++)
		most *= 2;
	if (most > DB_BACKOFF_MAX_MS)
		most = DB_BACKOFF_MAX_MS;
	hash_random(&noise, sizeof(noise));
	return most / 2 + noise % (most / 2 + 1);
}

static void dbconn_timer(struct loop_timer *t)
{
	struct dbconn *conn = list_item(t, struct dbconn, timer);
	struct db_pool *pool = conn->lane->pool;

	if (conn->state == CONN_CONNECTING)
		dbconn_lost(conn, "connecting took too long");
	else if (conn->state == CONN_DOWN)
		dbconn_try(conn);
	pool_wake(pool);
}

void dbconn_close(struct dbconn *conn)
{
	dbconn_unwatch(conn);
	PQfinish(conn->pg);
	conn->pg = NULL;
	if (conn->state == CONN_UP)
		conn->lane->up--;
	conn->state = CONN_DOWN;
	conn->spoiled = conn->recycle = false;
	loop_timer_stop(conn->lane->pool->loop, &conn->timer);
	free(conn->prepared);
	conn->prepared = NULL;
	conn->prepared_n = 0;
}

/* Newest first, so that what is sent again keeps its order at the lane's front. What belongs to
 * a transaction is lost with it. */
static void flights_lost(struct dbconn *conn)
{
	struct db_pool *pool = conn->lane->pool;

	while (!list_empty(&conn->flights)) {
		struct flight *f = list_item(conn->flights.prev, struct flight, node);
		struct job *job = f->job;

		flight_free(conn, f);
		if (!job)
			continue;
		if (job->kind == JOB_QUERY && job->q->reads && !conn->owned && !pool->closing &&
			job->losses++ < DB_LOSSES_MAX) {
			job->conn = NULL;
			list_push(&conn->lane->waiting, &job->node);
			pool->pending++;
		} else {
			job_finish(job, DB_DOWN);
		}
	}
}

static void dbconn_retry(struct dbconn *conn)
{
	struct db_pool *pool = conn->lane->pool;

	/* One that a transaction still holds is made anew when it lets go. */
	if (conn->started && !conn->owned && !pool->closing)
		loop_timer_set(pool->loop, &conn->timer, backoff(conn->fails));
}

void dbconn_lost(struct dbconn *conn, const char *why)
{
	struct lane *lane = conn->lane;
	uint64_t now = loop_now_ms(lane->pool->loop);
	bool was_up = conn->state == CONN_UP;

	/* A server that takes connections only to drop them is no reason to spin. */
	if (was_up && now - conn->up_ms >= DB_PATIENCE_MS)
		conn->fails = 0;
	else if (why)
		conn->fails++;
	if (why && (was_up || !lane->failed))
		log_warn("database connection lost lane=%s reason=\"%.*s\"", lane->label,
			(int)strcspn(why, "\n"), why);
	dbconn_close(conn);
	if (why && lane->up == 0) {
		lane->failed = true;
		if (!lane->down_ms)
			lane->down_ms = now;
	}
	flights_lost(conn);
	dbconn_retry(conn);
	/* At the end of the turn: by then the other connections that died with this one
	 * are known, and nothing is sent again into a dead one. */
	if (!lane->pool->closing)
		loop_chore(lane->pool->loop, &lane->later);
}

void dbconn_release(struct dbconn *conn)
{
	conn->owned = false;
	if (conn->state == CONN_DOWN)
		dbconn_retry(conn);
	else if (conn->recycle && conn->n_flights == 0)
		dbconn_lost(conn, NULL);
	lane_dispatch(conn->lane);
}

void dbconn_start(struct dbconn *conn)
{
	if (conn->started)
		return;
	conn->started = true;
	/* By timer: the caller may be a coroutine that must not see its own failure yet. */
	loop_timer_set(conn->lane->pool->loop, &conn->timer, 0);
}

static void dbconn_flush(struct loop_chore *ch)
{
	struct dbconn *conn = list_item(ch, struct dbconn, flush);
	struct db_pool *pool = conn->lane->pool;

	pipe_flush(conn);
	pool_wake(pool);
}

void dbconn_init(struct dbconn *conn, struct lane *lane)
{
	*conn = (struct dbconn){.lane = lane,
		.io.ready = dbconn_ready,
		.timer.fire = dbconn_timer,
		.flush.run = dbconn_flush,
		.io.fd = -1};
	list_init(&conn->flights);
}
