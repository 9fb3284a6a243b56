/*
 * Single-row mode behind the interface of struct db; see stream.h. Waiting is by
 * poll() in small steps, so that a thread whose query has become pointless gives
 * its connection back at once.
 */
#include "worker/db/stream.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "shm/base/clock.h"
#include "worker/db/internal.h"
#include "worker/db/sqlstate.h"

enum {
	STEP_MS = 50,
	OWN_TIMEOUT_MS = 250, /* for the server's own statement_timeout, due about now */
	DRAIN_MS = 2000,
	CANCEL_MS = 1000,
	CANCEL_STEP_MS = 2,
	CANCEL_STACK = 256 * 1024
};

/* Waits for the next result; false when the query shall stop. */
static bool wait_result(struct db_stream *st, PGconn *conn)
{
	struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};

	for (;;) {
		if (st->stop && st->stop(st))
			return false;
		/* a lost connection shows as the next result */
		if (!PQisBusy(conn) || PQstatus(conn) == CONNECTION_BAD)
			return true;
		if (poll(&fd, 1, STEP_MS) > 0 && !PQconsumeInput(conn))
			return true;
	}
}

/* Throws results away until the statement has ended; false when it has not by then. */
static bool drain(PGconn *conn, uint64_t ms)
{
	struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
	uint64_t end = clock_mono_ms() + ms;

	for (;;) {
		PGresult *res;

		while (!PQisBusy(conn) || PQstatus(conn) == CONNECTION_BAD) {
			res = PQgetResult(conn);
			if (!res)
				return true;
			PQclear(res);
		}
		if (clock_mono_ms() >= end)
			return false;
		if (poll(&fd, 1, STEP_MS) > 0)
			(void)PQconsumeInput(conn);
	}
}

/* Belongs to who asks and to the thread that cancels; the last one frees it. */
struct cancel {
	PGcancel *request;
	_Atomic int owners;
	_Atomic bool done;
};

static void cancel_leave(struct cancel *c)
{
	if (atomic_fetch_sub(&c->owners, 1) > 1)
		return;
	PQfreeCancel(c->request);
	free(c);
}

static void *cancel_thread(void *arg)
{
	struct cancel *c = arg;
	char text[256];

	PQcancel(c->request, text, sizeof(text));
	atomic_store(&c->done, true);
	cancel_leave(c);
	return NULL;
}

static bool cancel_start(struct cancel *c)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, CANCEL_STACK);
	rc = pthread_create(&thread, &attr, cancel_thread, c);
	pthread_attr_destroy(&attr);
	return rc == 0;
}

/* PQcancel() waits without limit for a server that does not answer, so it has a thread
 * of its own, which is left behind if need be. That cannot happen often: who finds the
 * server silent gets no further than BEGIN. False when the request was not heard. */
static bool cancel(PGconn *conn)
{
	struct cancel *c = calloc(1, sizeof(*c));
	uint64_t end = clock_mono_ms() + CANCEL_MS;
	bool done;

	if (!c)
		return false;
	c->request = PQgetCancel(conn);
	c->owners = 2;
	if (!c->request || !cancel_start(c)) {
		c->owners = 1;
		cancel_leave(c);
		return false;
	}
	while (!(done = atomic_load(&c->done)) && clock_mono_ms() < end)
		poll(NULL, 0, CANCEL_STEP_MS);
	cancel_leave(c);
	return done;
}

/* Ends the statement early. Usually the connection is idle afterwards; if not, its
 * owner sees PQTRANS_ACTIVE and closes it. */
static void abandon(PGconn *conn)
{
	if (cancel(conn))
		drain(conn, DRAIN_MS);
}

static uint64_t row_bytes(const PGresult *res)
{
	uint64_t n = 0;

	for (int i = 0; i < PQnfields(res); i++)
		n += (uint64_t)PQgetlength(res, 0, i);
	return n;
}

/* Rows until the end; the result that ends the statement, or NULL with db->err set. */
static PGresult *rows(struct db_stream *st, const struct query *q, PGconn *conn)
{
	PGresult *res;

	for (;;) {
		enum stream_next next;

		if (!wait_result(st, conn)) {
			db_fail(&st->db.err, DB_TIMEOUT);
			return NULL;
		}
		res = PQgetResult(conn);
		if (PQresultStatus(res) != PGRES_SINGLE_TUPLE)
			return res;
		st->bytes += row_bytes(res);
		next = st->row(st, q, res);
		PQclear(res);
		if (next == STREAM_ENOUGH) {
			abandon(conn);
			return PQmakeEmptyPGresult(conn, PGRES_TUPLES_OK);
		}
		if (next == STREAM_FAIL) {
			if (st->db.err.kind == DB_OK)
				db_fail(&st->db.err, DB_BUG);
			return NULL;
		}
	}
}

static int stream_exec(
	struct db *db, const struct query *q, const struct db_param *params, PGresult **result)
{
	/* its first member */
	struct db_stream *st = (struct db_stream *)db;
	PGconn *conn = db->impl;
	struct wire wire;
	PGresult *res;
	ExecStatusType status;

	wire_fill(&wire, q, params);
	if (!PQsendQueryParams(conn, q->sql, q->n_params, q->param_types, wire.values, wire.lengths,
		    wire.formats, 1) ||
		!PQsetSingleRowMode(conn))
		return db_fail(&db->err, DB_DOWN);
	res = rows(st, q, conn);
	if (!res) {
		if (!drain(conn, db->err.kind == DB_TIMEOUT ? OWN_TIMEOUT_MS : 0))
			abandon(conn);
		return db->err.kind == DB_OK ? db_fail(&db->err, DB_DOWN) : -1;
	}
	status = PQresultStatus(res);
	if (status != PGRES_TUPLES_OK)
		sqlstate_read(res, q->label, &db->err);
	/* up to the NULL behind the last result: before it libpq takes no other statement */
	drain(conn, DRAIN_MS);
	if (status != PGRES_TUPLES_OK) {
		PQclear(res);
		return -1;
	}
	*result = res;
	return 0;
}

static const struct db_ops stream_ops = {stream_exec, NULL};

void db_stream(struct db_stream *st, PGconn *conn, struct arena *arena)
{
	st->db = (struct db){.ops = &stream_ops, .arena = arena, .impl = conn};
	st->bytes = 0;
}
