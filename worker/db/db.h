/*
 * What handlers and jobs see of PostgreSQL. Queries live in sql/query and are
 * compiled to typed functions (build/gen/q.h):
 *
 *   struct q_project_get_row row;
 *   int n = q_project_get(&c->db, &(struct q_project_get_args){.id = id}, &row);
 *   if (n < 0)
 *           return call_fail_db(c, &c->db);
 *   if (n == 0) ... no such row ...
 *
 * `:one` gives 0 or 1, `:many` the number of rows (array in db->arena), `:exec`
 * the number of rows affected; all give -1 on failure with db->err filled.
 * The same functions run on a pooled pipeline (parks the coroutine), inside a
 * transaction on the exclusive lane, or on a blocking connection (threads, CLI):
 * struct db hides which.
 */
#ifndef DB_DB_H
#define DB_DB_H

#include <libpq-fe.h>
#include "shm/base/arena.h"

enum db_lane { LANE_FAST, LANE_SLOW, LANE_TX, LANE_INGEST, LANES };

struct db_field; /* db_types.h */

/* One statement of sql/query, made by sql/gen. */
struct query {
	const char *label; /* "project_get" */
	const char *name;  /* prepared-statement name: q_<hash of sql> */
	const char *sql;
	int id; /* dense, from 1; 0 is the pool's own */
	enum db_lane lane;
	bool reads; /* changes and locks nothing: may be sent again after a lost connection */
	const struct db_field *params, *columns;
	const unsigned *param_types; /* OIDs */
	int n_params, n_columns;
	size_t row_size;
};

/* A parameter in binary format; p == NULL is SQL NULL. */
struct db_param {
	const void *p;
	int n;
};

enum db_kind {
	DB_OK,
	DB_DOWN,      /* no connection, or lost while the query ran: outcome unknown */
	DB_TIMEOUT,   /* statement or lock timeout, or the call's deadline */
	DB_UNIQUE,    /* unique_violation; constraint is set */
	DB_FOREIGN,   /* foreign_key_violation; constraint is set */
	DB_CHECK,     /* check or not-null violation; constraint is set */
	DB_SERIALIZE, /* serialization failure or deadlock: retry */
	DB_BUSY,      /* our own queue is full */
	DB_MEMORY,    /* the arena's cap */
	DB_BUG        /* anything else: logged with the statement's label */
};

struct db_error {
	enum db_kind kind;
	char sqlstate[6];
	char constraint[64];
};

struct db;
struct db_pool;

struct db_ops {
	/* Runs q; the result is owned by the caller (PQclear). 0, or -1 with db->err. */
	int (*exec)(struct db *db, const struct query *q, const struct db_param *params,
		PGresult **result);
	/* Ends the transaction; NULL when there cannot be one. */
	int (*finish)(struct db *db, bool commit);
};

struct db {
	const struct db_ops *ops;
	struct arena *arena; /* rows are copied here */
	struct db_error err;
	void *impl;           /* pool, transaction or PGconn */
	uint64_t deadline_ms; /* CLOCK_MONOTONIC; 0 = none */
};

/* Pooled access for a call or a job: each query on its own lane's pipeline. */
void db_pooled(struct db *db, struct db_pool *pool, struct arena *arena, uint64_t deadline_ms);
/* Takes an exclusive connection and sends BEGIN. 0, or -1 with tx->err. The
 * caller must use no other handle until db_commit() or db_rollback(). */
int db_begin(struct db *tx, struct db_pool *pool, struct arena *arena, uint64_t deadline_ms);
/* 0, or -1 with tx->err: then nothing was kept, or (DB_DOWN) the outcome is unknown. */
int db_commit(struct db *tx);
void db_rollback(struct db *tx);

/* Blocking access on a connection of the caller's own. The caller may set deadline_ms:
 * after DB_TIMEOUT for it the statement is still under way (PQTRANS_ACTIVE). */
void db_blocking(struct db *db, PGconn *conn, struct arena *arena);

#endif
