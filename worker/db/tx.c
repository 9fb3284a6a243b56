/*
 * Transactions of several statements on an exclusive connection. Prefer one
 * statement with CTEs: it costs one round trip and cannot be left open.
 *
 * A connection whose transaction went wrong in a way that leaves its state unknown
 * (a statement was given up, the link broke) is closed, never reused.
 */
#include <string.h>

#include "shm/base/log.h"
#include "worker/db/internal.h"
#include "worker/db/pool.h"
#include "worker/db/sqlstate.h"

static int tx_run(struct db *tx, struct job *job)
{
	struct dbconn *conn = tx->impl;

	if (!conn || conn->state != CONN_UP)
		return db_fail(&tx->err, DB_DOWN);
	if (conn->spoiled)
		return db_fail(&tx->err, DB_TIMEOUT);
	job->conn = conn;
	if (job_run(job, conn->lane->pool, LANE_TX, tx->deadline_ms) < 0) {
		tx->err = job->err;
		return -1;
	}
	return 0;
}

static int tx_exec(
	struct db *tx, const struct query *q, const struct db_param *params, PGresult **result)
{
	struct job job = {.kind = JOB_QUERY, .q = q, .params = params};

	if (tx_run(tx, &job) < 0)
		return -1;
	*result = job.result;
	return 0;
}

/* Gives the connection back, broken when it cannot be trusted. */
static void tx_leave(struct db *tx, bool broken)
{
	struct dbconn *conn = tx->impl;

	tx->impl = NULL;
	if (!conn)
		return;
	if (broken && conn->state != CONN_DOWN)
		dbconn_lost(conn, NULL);
	dbconn_release(conn);
}

static int tx_commit(struct db *tx)
{
	struct job job = {.kind = JOB_COMMIT};

	if (tx_run(tx, &job) < 0) {
		/* The COMMIT was on its way: nobody knows. */
		if (tx->err.kind == DB_TIMEOUT)
			tx->err.kind = DB_DOWN;
		tx_leave(tx, true);
		return -1;
	}
	/* COMMIT of a failed transaction succeeds, with the tag ROLLBACK. What was committed
	 * is, even when a row before could not be decoded: that error is an old one. */
	if (strcmp(PQcmdStatus(job.result), "COMMIT") == 0)
		tx->err = (struct db_error){.kind = DB_OK};
	else if (tx->err.kind == DB_OK)
		tx->err.kind = DB_BUG;
	PQclear(job.result);
	tx_leave(tx, false);
	return tx->err.kind == DB_OK ? 0 : -1;
}

static int tx_finish(struct db *tx, bool commit)
{
	struct dbconn *conn = tx->impl;

	if (commit)
		return tx_commit(tx);
	if (conn && conn->state == CONN_UP && !conn->spoiled)
		pipe_rollback(conn);
	tx_leave(tx, conn && conn->spoiled);
	return 0;
}

static const struct db_ops tx_ops = {tx_exec, tx_finish};

int db_begin(struct db *tx, struct db_pool *pool, struct arena *arena, uint64_t deadline_ms)
{
	struct job job = {.kind = JOB_BEGIN};

	*tx = (struct db){.ops = &tx_ops, .arena = arena, .deadline_ms = deadline_ms};
	if (job_run(&job, pool, LANE_TX, deadline_ms) < 0) {
		tx->err = job.err;
		tx->impl = job.conn;
		tx_leave(tx, true);
		return -1;
	}
	PQclear(job.result);
	tx->impl = job.conn;
	return 0;
}

int db_commit(struct db *tx)
{
	return tx->ops->finish(tx, true);
}

void db_rollback(struct db *tx)
{
	struct db_error err = tx->err;

	/* What went wrong before is what the caller wants to report. */
	tx->ops->finish(tx, false);
	tx->err = err;
}
