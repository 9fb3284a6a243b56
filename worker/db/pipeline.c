/*
 * Pipeline mode: many calls under way on one connection, answered in order. Each
 * call is one flight that ends with its own Sync, so an error skips the rest of
 * that flight only, and each flight outside BEGIN is its own transaction.
 *
 * Statements are prepared when a connection first meets them. What the server holds
 * can change behind our back (a pooler, DISCARD ALL, a migration), so its three
 * complaints about that send the flight once more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "shm/base/log.h"
#include "worker/db/internal.h"
#include "worker/db/sqlstate.h"

/* Settings that end with the flight or the transaction: nothing may stay on a
 * connection that a pooler gives to somebody else. A statement, not SET LOCAL,
 * because that needs a BEGIN, and a single statement needs none. */
static const unsigned settings_types[] = {25, 25};
static const struct query settings = {
	.label = "settings",
	.name = "pugd_settings_1",
	.sql = "SELECT pg_catalog.set_config('lock_timeout', $1, true), "
	       "pg_catalog.set_config('statement_timeout', $2, true)",
	.param_types = settings_types,
	.n_params = 2,
};
static const struct query begin = {.label = "begin", .sql = "BEGIN"};
static const struct query commit = {.label = "commit", .sql = "COMMIT"};
static const struct query rollback = {.label = "rollback", .sql = "ROLLBACK"};

void wire_fill(struct wire *wire, const struct query *q, const struct db_param *params)
{
	for (int i = 0; i < q->n_params; i++) {
		wire->values[i] = params[i].p;
		wire->lengths[i] = params[i].n;
		wire->formats[i] = 1;
	}
}

/* ---- sending ---- */

/* What this connection knows about q; NULL when q goes without a name. */
static struct prepared *prepared_slot(struct dbconn *conn, const struct query *q)
{
	struct prepared *grown;
	int n = q->id + 64;

	/* In a transaction a failed Prepare could not be tried again. */
	if (!conn->lane->pool->prepare || !q->name || conn->owned)
		return NULL;
	if (q->id >= conn->prepared_n) {
		grown = realloc(conn->prepared, (size_t)n * sizeof(*grown));
		if (!grown)
			return NULL;
		for (int i = conn->prepared_n; i < n; i++)
			grown[i] = (struct prepared){.state = PREPARED_NO};
		conn->prepared = grown;
		conn->prepared_n = n;
	}
	return &conn->prepared[q->id];
}

static bool send_query(
	struct dbconn *conn, struct flight *f, const struct query *q, const struct db_param *params)
{
	struct prepared *held = prepared_slot(conn, q);
	struct wire wire;

	wire_fill(&wire, q, params);
	if (held && held->state == PREPARED_NO) {
		if (!PQsendPrepare(conn->pg, q->name, q->sql, q->n_params, q->param_types))
			return false;
		f->prepares |= 1u << f->n;
		f->steps[f->n++] = q;
		*held = (struct prepared){PREPARED_YES, f->seq};
	}
	f->main = f->n;
	f->steps[f->n++] = q;
	if (held && held->state == PREPARED_YES)
		return PQsendQueryPrepared(
			conn->pg, q->name, q->n_params, wire.values, wire.lengths, wire.formats, 1);
	return PQsendQueryParams(conn->pg, q->sql, q->n_params, q->param_types, wire.values,
		wire.lengths, wire.formats, 1);
}

static bool send_settings(struct dbconn *conn, struct flight *f, const struct job *job)
{
	uint64_t now = loop_now_ms(conn->lane->pool->loop);
	uint64_t left = job->end_ms > now ? job->end_ms - now : 1;
	char lock[24], statement[24];
	struct db_param params[2] = {{lock, 0}, {statement, 0}};

	params[0].n = snprintf(lock, sizeof(lock), "%llu",
		(unsigned long long)(left < DB_LOCK_MS ? left : DB_LOCK_MS));
	params[1].n = snprintf(statement, sizeof(statement), "%llu", (unsigned long long)left);
	return send_query(conn, f, &settings, params);
}

/* libpq before 17 flushes in every PQpipelineSync; later ones let us flush once a turn. */
static bool send_sync(PGconn *pg)
{
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
	return PQsendPipelineSync(pg);
#else
	return PQpipelineSync(pg);
#endif
}

static bool send_steps(struct dbconn *conn, struct flight *f, struct job *job)
{
	switch (job ? job->kind : JOB_COMMIT) {
	case JOB_BEGIN:
		return send_query(conn, f, &begin, NULL) && send_settings(conn, f, job);
	case JOB_COMMIT:
		return send_query(conn, f, job ? &commit : &rollback, NULL);
	case JOB_QUERY:
		if (conn->lane->guarded && !conn->owned && !send_settings(conn, f, job))
			return false;
		return send_query(conn, f, job->q, job->params);
	}
	return false;
}

static void send_flight(struct dbconn *conn, struct job *job)
{
	struct db_pool *pool = conn->lane->pool;
	struct flight *f = calloc(1, sizeof(*f));

	if (!f) {
		if (job)
			job_finish(job, DB_BUSY);
		else
			dbconn_lost(conn, "out of memory");
		return;
	}
	f->job = job;
	f->seq = ++conn->seq;
	f->failed = -1;
	if (conn->n_flights == 0)
		conn->heard_ms = loop_now_ms(pool->loop);
	list_add(&conn->flights, &f->node);
	conn->n_flights++;
	pool->pending++;
	if (job)
		job->flight = f;
	pool_count(pool, CTR_db_queries);
	if (!send_steps(conn, f, job) || !send_sync(conn->pg)) {
		dbconn_lost(conn, PQerrorMessage(conn->pg));
		return;
	}
	loop_chore(pool->loop, &conn->flush);
}

void pipe_send(struct dbconn *conn, struct job *job)
{
	job->conn = conn;
	send_flight(conn, job);
}

void pipe_rollback(struct dbconn *conn)
{
	send_flight(conn, NULL);
}

void pipe_flush(struct dbconn *conn)
{
	int left;

	if (conn->state != CONN_UP)
		return;
	left = PQflush(conn->pg);
	if (left < 0)
		dbconn_lost(conn, PQerrorMessage(conn->pg));
	else
		dbconn_watch(conn, EPOLLIN | (left ? (uint32_t)EPOLLOUT : 0));
}

/* ---- receiving ---- */

void flight_free(struct dbconn *conn, struct flight *f)
{
	list_del(&f->node);
	conn->n_flights--;
	conn->lane->pool->pending--;
	if (f->job)
		f->job->flight = NULL;
	PQclear(f->result);
	PQclear(f->error);
	free(f);
}

/* True when the failure was about what is prepared: the next try goes another way. */
static bool unprepared(struct dbconn *conn, struct flight *f, const char *state)
{
	static const struct {
		const char *state;
		uint8_t then;
	} complaints[] = {
		{"26000", PREPARED_NO},    /* not there: prepare it */
		{"42P05", PREPARED_YES},   /* there already; the name is a hash of the text */
		{"0A000", PREPARED_NEVER}, /* its result type changed: this one without a name */
	};
	const struct query *q = f->steps[f->failed];

	if (conn->owned || !q->name || q->id >= conn->prepared_n || !state)
		return false;
	for (size_t i = 0; i < sizeof(complaints) / sizeof(complaints[0]); i++) {
		if (strcmp(state, complaints[i].state) == 0) {
			/* Unless a later flight carries a Prepare already. */
			if (conn->prepared[q->id].seq <= f->seq)
				conn->prepared[q->id].state = complaints[i].then;
			return true;
		}
	}
	return false;
}

/* A Prepare that failed, or was skipped because an earlier step failed, left nothing. */
static void forget_prepares(struct dbconn *conn, const struct flight *f)
{
	for (int i = f->failed; i < f->n; i++)
		if (f->prepares & 1u << i && conn->prepared[f->steps[i]->id].seq == f->seq)
			conn->prepared[f->steps[i]->id].state = PREPARED_NO;
}

static void flight_failed(struct dbconn *conn, struct flight *f)
{
	const char *state = PQresultErrorField(f->error, PG_DIAG_SQLSTATE);
	struct job *job = f->job;
	bool again;

	forget_prepares(conn, f);
	again = unprepared(conn, f, state);
	pool_count(conn->lane->pool, CTR_db_errors);
	if (!job && f->steps[0] == &rollback) {
		dbconn_lost(conn, "rollback failed");
		return;
	}
	if (!job) {
		flight_free(conn, f);
		return;
	}
	if (again && job->tries++ == 0) {
		flight_free(conn, f);
		send_flight(conn, job);
		return;
	}
	sqlstate_read(f->error, f->steps[f->failed]->label, &job->err);
	/* A standby by now: the next connection may find the primary. */
	if (strcmp(job->err.sqlstate, "25006") == 0)
		conn->recycle = true;
	flight_free(conn, f);
	job_finish(job, job->err.kind);
}

static void flight_done(struct dbconn *conn, struct flight *f)
{
	struct job *job = f->job;

	if (f->result && PQresultMemorySize(f->result) > DB_BIG_RESULT)
		conn->recycle = true;
	if (f->error) {
		flight_failed(conn, f);
		return;
	}
	if (job) {
		job->result = f->result;
		f->result = NULL;
	}
	flight_free(conn, f);
	if (job)
		job_finish(job, DB_OK);
}

/* One result of the first flight; takes it. */
static void flight_result(struct dbconn *conn, struct flight *f, PGresult *res)
{
	ExecStatusType status = PQresultStatus(res);

	if (status == PGRES_PIPELINE_SYNC) {
		PQclear(res);
		flight_done(conn, f);
	} else if (status == PGRES_FATAL_ERROR && !f->error) {
		f->error = res;
		f->failed = f->at < f->n ? f->at : f->n - 1;
	} else if (status != PGRES_FATAL_ERROR && status != PGRES_PIPELINE_ABORTED &&
		   f->at == f->main && !f->result) {
		f->result = res;
	} else {
		PQclear(res);
	}
}

/* Ends are counted by Syncs: PQgetResult also returns NULL between statements. Two
 * in a row mean that libpq has nothing more. */
static void pipe_results(struct dbconn *conn)
{
	int nulls = 0;

	while (conn->state == CONN_UP && conn->n_flights > 0 && nulls < 2 && !PQisBusy(conn->pg)) {
		struct flight *f = list_item(conn->flights.next, struct flight, node);
		PGresult *res = PQgetResult(conn->pg);

		if (!res) {
			nulls++;
			f->at++;
			continue;
		}
		nulls = 0;
		flight_result(conn, f, res);
	}
}

void pipe_ready(struct dbconn *conn, uint32_t events)
{
	(void)events;
	if (!PQconsumeInput(conn->pg)) {
		dbconn_lost(conn, PQerrorMessage(conn->pg));
		return;
	}
	conn->heard_ms = loop_now_ms(conn->lane->pool->loop);
	pipe_results(conn);
	if (conn->state != CONN_UP)
		return;
	if (PQstatus(conn->pg) != CONNECTION_OK) {
		dbconn_lost(conn, PQerrorMessage(conn->pg));
		return;
	}
	pipe_flush(conn);
	if (conn->state == CONN_UP && conn->recycle && !conn->owned && conn->n_flights == 0)
		dbconn_lost(conn, NULL);
	else
		lane_dispatch(conn->lane);
}
