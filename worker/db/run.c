/*
 * From generated function to rows: bind, exec on whatever db is, copy, clear. The
 * result never outlives this file, so that libpq's memory stays bounded by one
 * statement.
 */
#include "worker/db/run.h"

#include <stdlib.h>

#include "shm/base/log.h"
#include "worker/db/codec.h"
#include "worker/db/sqlstate.h"

static PGresult *run(struct db *db, const struct query *q, const void *args)
{
	struct bound bound;
	PGresult *res = NULL;
	enum db_kind kind = codec_bind(q, args, &bound, db->arena);

	if (kind != DB_OK) {
		db_fail(&db->err, kind);
		return NULL;
	}
	db->err = (struct db_error){.kind = DB_OK};
	if (db->ops->exec(db, q, bound.p, &res) < 0)
		return NULL;
	return res;
}

int db_run_one(struct db *db, const struct query *q, const void *args, void *out)
{
	PGresult *res = run(db, q, args);
	int n;

	if (!res)
		return -1;
	n = PQntuples(res);
	if (n > 1) {
		log_err("more than one row query=%s rows=%d", q->label, n);
		n = db_fail(&db->err, DB_BUG);
	} else if (n == 1) {
		enum db_kind kind = codec_row(q, res, 0, out, db->arena);

		if (kind != DB_OK)
			n = db_fail(&db->err, kind);
	}
	PQclear(res);
	return n;
}

int db_run_many(struct db *db, const struct query *q, const void *args, void **rows)
{
	PGresult *res = run(db, q, args);
	enum db_kind kind = DB_OK;
	char *all = NULL;
	int n;

	*rows = NULL;
	if (!res)
		return -1;
	n = PQntuples(res);
	if (n > 0) {
		all = arena_array(db->arena, (size_t)n, q->row_size);
		kind = all ? DB_OK : DB_MEMORY;
	}
	for (int i = 0; i < n && kind == DB_OK; i++)
		kind = codec_row(q, res, i, all + q->row_size * (size_t)i, db->arena);
	PQclear(res);
	if (kind != DB_OK)
		return db_fail(&db->err, kind);
	*rows = all;
	return n;
}

int db_run_exec(struct db *db, const struct query *q, const void *args)
{
	PGresult *res = run(db, q, args);
	uint64_t n = 0;

	if (!res)
		return -1;
	if (!str_u64(str_of(PQcmdTuples(res)), &n) || n > INT32_MAX)
		n = 0; /* statements without a count, for example DDL */
	PQclear(res);
	return (int)n;
}
