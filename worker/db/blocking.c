/*
 * The same queries on a connection that blocks: offload threads and commands. The
 * connection belongs to the caller; a lost one stays lost until he makes another.
 */
#include "worker/db/blocking.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "shm/base/clock.h"
#include "worker/db/db_types.h"
#include "worker/db/internal.h"
#include "worker/db/sqlstate.h"

/* Later settings win over earlier ones; `limit` may be NULL. */
static PGconn *connect_to(const char *url, const char *limit, char *err, size_t err_size)
{
	const char *keys[] = {"connect_timeout", "dbname", "application_name", "client_encoding",
		limit ? "connect_timeout" : NULL, NULL};
	const char *values[] = {"10", url, "pugd", "UTF8", limit, NULL};
	PGconn *conn = PQconnectdbParams(keys, values, 1);

	if (conn && PQstatus(conn) == CONNECTION_OK)
		return conn;
	snprintf(err, err_size, "%s", conn ? PQerrorMessage(conn) : "out of memory");
	err[strcspn(err, "\n")] = '\0';
	PQfinish(conn);
	return NULL;
}

PGconn *db_connect(const char *url, char *err, size_t err_size)
{
	return connect_to(url, NULL, err, err_size);
}

PGconn *db_connect_within(const char *url, uint64_t ms, char *err, size_t err_size)
{
	uint64_t s = ms / 1000 + 1;
	char limit[8];

	snprintf(limit, sizeof(limit), "%u", s < 2 ? 2 : s > 10 ? 10 : (unsigned)s);
	return connect_to(url, limit, err, err_size);
}

/* Waits for the next result; false when the deadline came first. A server may be there
 * and yet say nothing (a stopped process, a lost network): poll(), never PQexec(). */
static bool arrives(const struct db *db)
{
	struct pollfd fd = {.fd = PQsocket(db->impl), .events = POLLIN};
	int wait = -1;

	while (PQisBusy(db->impl) && PQstatus(db->impl) != CONNECTION_BAD) {
		if (db->deadline_ms) {
			uint64_t now = clock_mono_ms();

			if (now >= db->deadline_ms)
				return false;
			wait = db->deadline_ms - now < INT_MAX ? (int)(db->deadline_ms - now)
							       : INT_MAX;
		}
		if (poll(&fd, 1, wait) > 0)
			(void)PQconsumeInput(db->impl); /* a loss shows as the next result */
	}
	return true;
}

/* The outcome of a statement; takes the result. */
static int taken(struct db *db, const char *label, PGresult *res, PGresult **out)
{
	ExecStatusType status = PQresultStatus(res);

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
		*out = res;
		return 0;
	}
	/* Without a connection the error that libpq makes up carries no SQLSTATE. */
	sqlstate_read(res, label, &db->err);
	PQclear(res);
	return -1;
}

/* The last result of what was just sent. */
static int collect(struct db *db, const char *label, int sent, PGresult **out)
{
	PGresult *last = NULL, *res;

	if (!sent)
		return db_fail(&db->err, DB_DOWN);
	for (;;) {
		if (!arrives(db)) {
			PQclear(last);
			return db_fail(&db->err, DB_TIMEOUT);
		}
		res = PQgetResult(db->impl);
		if (!res)
			return taken(db, label, last, out);
		PQclear(last);
		last = res;
	}
}

static int blocking_exec(
	struct db *db, const struct query *q, const struct db_param *params, PGresult **result)
{
	struct wire wire;

	wire_fill(&wire, q, params);
	return collect(db, q->label,
		PQsendQueryParams(db->impl, q->sql, q->n_params, q->param_types, wire.values,
			wire.lengths, wire.formats, 1),
		result);
}

/* By the simple protocol, in which one string may be several statements (db_blocking_begin()). */
static int plain(struct db *db, const char *sql)
{
	PGresult *res;

	if (collect(db, sql, PQsendQuery(db->impl, sql), &res) < 0)
		return -1;
	/* COMMIT of a failed transaction succeeds, with the tag ROLLBACK. */
	if (strcmp(sql, "COMMIT") == 0 && strcmp(PQcmdStatus(res), "COMMIT") != 0)
		db_fail(&db->err, DB_BUG);
	else
		db->err = (struct db_error){.kind = DB_OK};
	PQclear(res);
	return db->err.kind == DB_OK ? 0 : -1;
}

static int blocking_finish(struct db *db, bool commit)
{
	return plain(db, commit ? "COMMIT" : "ROLLBACK");
}

static const struct db_ops blocking_ops = {blocking_exec, blocking_finish};

void db_blocking(struct db *db, PGconn *conn, struct arena *arena)
{
	*db = (struct db){.ops = &blocking_ops, .arena = arena, .impl = conn};
}

int db_blocking_begin(struct db *db, const char *mode, uint64_t lock_ms, uint64_t statement_ms)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
		"BEGIN %s; SET LOCAL lock_timeout = %llu; SET LOCAL statement_timeout = %llu", mode,
		(unsigned long long)lock_ms, (unsigned long long)statement_ms);
	return plain(db, sql);
}

int db_blocking_mark(struct db *db)
{
	return plain(db, "SAVEPOINT mark");
}

int db_blocking_return(struct db *db)
{
	return plain(db, "ROLLBACK TO SAVEPOINT mark");
}
