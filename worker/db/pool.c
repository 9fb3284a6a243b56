/*
 * Lanes and the calls that wait for them. A lane is a set of connections for one
 * kind of work, so that one kind never waits behind another:
 *
 *   fast    short reads, pipelined          slow    long reads, pipelined
 *   tx      whatever may wait for a row     ingest  event writes, pipelined
 *           lock; one job per connection
 *
 * Jobs leave their lane's queue in order. What is finished goes to pool->ready and
 * is resumed by pool_wake() from the loop's stack, never from inside libpq's
 * results: a resumed coroutine may send on, or lose, any connection.
 */
#include "worker/db/pool.h"

#include <stdlib.h>
#include <string.h>

#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/coro.h"
#include "worker/db/internal.h"
#include "worker/db/sqlstate.h"
#include "worker/worker.h"

void pool_count(struct db_pool *pool, enum counter c)
{
	if (pool->w->seg)
		counter_add(pool->w->seg, pool->w->slot_no, c, 1);
}

/* ---- jobs ---- */

void job_finish(struct job *job, enum db_kind kind)
{
	struct db_pool *pool = job->pool;

	if (job->done)
		return;
	job->done = true;
	if (job->err.kind != kind)
		job->err = (struct db_error){.kind = kind};
	loop_timer_stop(pool->loop, &job->timer);
	list_add(&pool->ready, &job->node);
	loop_chore(pool->loop, &pool->wake);
}

void pool_wake(struct db_pool *pool)
{
	struct list *node;

	while ((node = list_pop(&pool->ready)))
		coro_resume(list_item(node, struct job, node)->co);
}

static void pool_chore(struct loop_chore *ch)
{
	pool_wake(list_item(ch, struct db_pool, wake));
}

/* Given up: what was sent stays under way, and its answer will be dropped. */
static void job_timeout(struct loop_timer *t)
{
	struct job *job = list_item(t, struct job, timer);
	struct db_pool *pool = job->pool;

	if (job->flight) {
		job->flight->job = NULL;
		job->flight = NULL;
		if (job->conn->owned)
			job->conn->spoiled = true;
	} else {
		list_del(&job->node);
		pool->pending--;
	}
	job_finish(job, DB_TIMEOUT);
	pool_wake(pool);
}

/* ---- lanes ---- */

/* The connection for the next job; NULL when all are busy or down. */
static struct dbconn *lane_pick(struct lane *lane)
{
	int limit = lane->exclusive ? 1 : DB_PIPELINE_MAX;
	struct dbconn *best = NULL;

	for (int i = 0; i < lane->n; i++) {
		struct dbconn *conn = &lane->conns[i];

		if (conn->state != CONN_UP || conn->owned || conn->recycle ||
			conn->n_flights >= limit)
			continue;
		if (!best || conn->n_flights < best->n_flights)
			best = conn;
	}
	return best;
}

/* Connections beyond those at start are made when somebody has to wait for one. */
static void lane_grow(struct lane *lane)
{
	for (int i = 0; i < lane->n; i++) {
		if (lane->conns[i].started && lane->conns[i].state != CONN_UP)
			return; /* one is on its way, or the server is away */
		if (!lane->conns[i].started) {
			dbconn_start(&lane->conns[i]);
			return;
		}
	}
}

void lane_dispatch(struct lane *lane)
{
	struct dbconn *conn;

	while (!list_empty(&lane->waiting) && (conn = lane_pick(lane))) {
		struct job *job = list_item(list_pop(&lane->waiting), struct job, node);

		lane->pool->pending--;
		if (job->kind == JOB_BEGIN)
			conn->owned = true;
		pipe_send(conn, job);
	}
	if (!list_empty(&lane->waiting) && !lane->pool->closing)
		lane_grow(lane);
}

static void lane_later(struct loop_chore *ch)
{
	struct lane *lane = list_item(ch, struct lane, later);
	struct db_pool *pool = lane->pool;

	lane_dispatch(lane);
	pool_wake(pool);
}

void lane_fail(struct lane *lane, enum db_kind kind)
{
	struct list *node;

	while ((node = list_pop(&lane->waiting))) {
		lane->pool->pending--;
		job_finish(list_item(node, struct job, node), kind);
	}
}

/* Down for so long that waiting would only pile calls up. */
static bool lane_hopeless(const struct lane *lane)
{
	return lane->up == 0 && lane->down_ms &&
	       loop_now_ms(lane->pool->loop) - lane->down_ms > DB_PATIENCE_MS;
}

static int job_refused(struct job *job, enum db_kind kind)
{
	pool_count(job->pool, CTR_db_refused);
	return db_fail(&job->err, kind);
}

int job_run(struct job *job, struct db_pool *pool, enum db_lane lane, uint64_t deadline_ms)
{
	uint64_t now = loop_now_ms(pool->loop);

	must(coro_self());
	job->pool = pool;
	job->lane = &pool->lanes[lane];
	job->co = coro_self();
	job->timer.fire = job_timeout;
	job->end_ms = now + pool->timeout_ms;
	list_init(&job->node);
	/* A long read has its own deadline; all else is bounded by db_timeout too. */
	if (deadline_ms && (deadline_ms < job->end_ms || lane == LANE_SLOW))
		job->end_ms = deadline_ms;
	if (job->end_ms <= now)
		return job_refused(job, DB_TIMEOUT);
	if (pool->closing || (!job->conn && lane_hopeless(job->lane)))
		return job_refused(job, DB_DOWN);
	if (pool->pending >= pool->queue_max)
		return job_refused(job, DB_BUSY);
	loop_timer_set(pool->loop, &job->timer, job->end_ms - now);
	if (job->conn) {
		pipe_send(job->conn, job);
	} else {
		list_add(&job->lane->waiting, &job->node);
		pool->pending++;
		lane_dispatch(job->lane);
	}
	do
		pool->park();
	while (!job->done);
	return job->err.kind == DB_OK ? 0 : -1;
}

/* ---- handle ---- */

static int pooled_exec(
	struct db *db, const struct query *q, const struct db_param *params, PGresult **result)
{
	struct job job = {.kind = JOB_QUERY, .q = q, .params = params};

	if (job_run(&job, db->impl, q->lane, db->deadline_ms) < 0) {
		db->err = job.err;
		return -1;
	}
	*result = job.result;
	return 0;
}

static const struct db_ops pooled_ops = {pooled_exec, NULL};

void db_pooled(struct db *db, struct db_pool *pool, struct arena *arena, uint64_t deadline_ms)
{
	*db = (struct db){
		.ops = &pooled_ops, .arena = arena, .impl = pool, .deadline_ms = deadline_ms};
}

/* ---- the pool ---- */

/* A server that is there but says nothing for twice the time that any statement may
 * take is gone for us (network partition, stopped process). */
static void lane_tick(struct lane *lane, uint64_t now)
{
	struct db_pool *pool = lane->pool;
	uint64_t silence = 2 * pool->timeout_ms;

	/* a long read ends by its own deadline (job_run()), which may be as far as an insight's */
	if (lane == &pool->lanes[LANE_SLOW] &&
		silence < 2 * (uint64_t)pool->w->opt->insight_timeout)
		silence = 2 * (uint64_t)pool->w->opt->insight_timeout;
	for (int i = 0; i < lane->n; i++) {
		struct dbconn *conn = &lane->conns[i];

		if (conn->state == CONN_UP && conn->n_flights > 0 && now - conn->heard_ms > silence)
			dbconn_lost(conn, "silent for too long");
	}
	if (lane_hopeless(lane))
		lane_fail(lane, DB_DOWN);
}

static void pool_tick(struct loop_timer *t)
{
	struct db_pool *pool = list_item(t, struct db_pool, tick);

	for (int i = 0; i < LANES; i++)
		lane_tick(&pool->lanes[i], loop_now_ms(pool->loop));
	loop_timer_set(pool->loop, &pool->tick, DB_TICK_MS);
	pool_wake(pool);
}

static void lane_init(
	struct db_pool *pool, enum db_lane id, const char *label, int64_t n, int64_t at_start)
{
	const struct options *opt = pool->w->opt;
	struct lane *lane = &pool->lanes[id];
	const char *urls[LANES] = {
		[LANE_SLOW] = opt->analytics_url, [LANE_INGEST] = opt->ingest_url};

	lane->pool = pool;
	lane->label = label;
	lane->url = urls[id] && *urls[id] ? urls[id] : opt->database_url;
	lane->exclusive = id == LANE_TX;
	lane->guarded = id == LANE_TX || id == LANE_INGEST;
	lane->n = (int)(n < DB_CONNS_MAX ? n : DB_CONNS_MAX);
	lane->hosts = hosts_new(lane->url);
	lane->later.run = lane_later;
	list_init(&lane->waiting);
	for (int i = 0; i < lane->n; i++) {
		dbconn_init(&lane->conns[i], lane);
		if (i < at_start)
			dbconn_start(&lane->conns[i]);
	}
}

struct db_pool *db_pool_new(struct worker *w)
{
	const struct options *opt = w->opt;
	struct db_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->w = w;
	pool->loop = w->loop;
	pool->park = coro_park;
	pool->prepare = opt->db_prepare;
	pool->timeout_ms = (uint64_t)opt->db_timeout;
	pool->queue_max = opt->db_queue;
	pool->wake.run = pool_chore;
	pool->tick.fire = pool_tick;
	list_init(&pool->ready);
	/* The keeper runs a job at a time; the slow lane is for who asks for it. */
	lane_init(pool, LANE_FAST, "fast", w->keeper ? 1 : opt->db_fast,
		w->keeper ? 1 : opt->db_fast);
	lane_init(pool, LANE_SLOW, "slow", 1, 0);
	lane_init(pool, LANE_TX, "tx", opt->db_tx, w->keeper ? 0 : 1);
	lane_init(pool, LANE_INGEST, "ingest", opt->db_ingest, w->keeper ? 0 : opt->db_ingest);
	loop_timer_set(pool->loop, &pool->tick, DB_TICK_MS);
	return pool;
}

bool db_pool_up(const struct db_pool *pool)
{
	return pool->lanes[LANE_FAST].up > 0;
}

void db_pool_park(struct db_pool *pool, void (*park)(void))
{
	pool->park = park;
}

void db_pool_free(struct db_pool *pool)
{
	if (!pool)
		return;
	pool->closing = true;
	for (int i = 0; i < LANES; i++) {
		struct lane *lane = &pool->lanes[i];

		for (int j = 0; j < lane->n; j++)
			if (lane->conns[j].state != CONN_DOWN)
				dbconn_lost(&lane->conns[j], NULL);
			else
				loop_timer_stop(pool->loop, &lane->conns[j].timer);
		lane_fail(lane, DB_DOWN);
	}
	pool_wake(pool);
	loop_timer_stop(pool->loop, &pool->tick);
	for (int i = 0; i < LANES; i++)
		hosts_free(pool->lanes[i].hosts);
	free(pool);
}
