/*
 * The same queries on a connection that blocks: offload threads and commands. The
 * connection belongs to the caller; a lost one stays lost until he makes another.
 */
#include "worker/db/blocking.h"

#include <stdio.h>
#include <string.h>

#include "worker/db/db_types.h"
#include "worker/db/internal.h"
#include "worker/db/sqlstate.h"

PGconn *db_connect(const char *url, char *err, size_t err_size)
{
	const char *keys[] = {
		"connect_timeout", "dbname", "application_name", "client_encoding", NULL};
	const char *values[] = {"10", url, "pugd", "UTF8", NULL}; /* later ones win */
	PGconn *conn = PQconnectdbParams(keys, values, 1);

	if (conn && PQstatus(conn) == CONNECTION_OK)
		return conn;
	snprintf(err, err_size, "%s", conn ? PQerrorMessage(conn) : "out of memory");
	err[strcspn(err, "\n")] = '\0';
	PQfinish(conn);
	return NULL;
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

static int blocking_exec(
	struct db *db, const struct query *q, const struct db_param *params, PGresult **result)
{
	struct wire wire;

	wire_fill(&wire, q, params);
	return taken(db, q->label,
		PQexecParams(db->impl, q->sql, q->n_params, q->param_types, wire.values,
			wire.lengths, wire.formats, 1),
		result);
}

static int plain(struct db *db, const char *sql)
{
	PGresult *res;

	if (taken(db, sql, PQexec(db->impl, sql), &res) < 0)
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
