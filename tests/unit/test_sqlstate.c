/* SQLSTATE -> kind: the codes that callers tell apart, their classes, and the rest. */
#include <criterion/criterion.h>

#include "worker/db/sqlstate.h"

static const struct {
	const char *state;
	enum db_kind kind;
} rows[] = {
	{NULL, DB_DOWN},
	{"00000", DB_OK},
	{"23505", DB_UNIQUE},
	{"23503", DB_FOREIGN},
	{"23514", DB_CHECK},
	{"23502", DB_CHECK},
	{"40001", DB_SERIALIZE},
	{"40P01", DB_SERIALIZE},
	{"55P03", DB_TIMEOUT},
	{"57014", DB_TIMEOUT},
	{"57P01", DB_DOWN},
	{"57P03", DB_DOWN},
	{"08006", DB_DOWN},
	{"08P01", DB_DOWN},
	{"53300", DB_DOWN},
	{"25006", DB_DOWN},
	{"25P02", DB_BUG},
	{"42601", DB_BUG},
	{"22012", DB_BUG},
	{"P0001", DB_BUG},
	{"", DB_BUG},
};

Test(sqlstate, kinds)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect(sqlstate_kind(rows[i].state) == rows[i].kind, "%s is %d",
			rows[i].state ? rows[i].state : "NULL", (int)sqlstate_kind(rows[i].state));
}

Test(sqlstate, result_without_a_server)
{
	PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_FATAL_ERROR);
	struct db_error err = {.kind = DB_OK, .sqlstate = "x"};

	sqlstate_read(res, "probe", &err);
	cr_expect(err.kind == DB_DOWN);
	cr_expect_str_eq(err.sqlstate, "");
	PQclear(res);
}

Test(sqlstate, fail_forgets_what_was_before)
{
	struct db_error err = {.kind = DB_UNIQUE, .sqlstate = "23505", .constraint = "t_k_key"};

	cr_expect(db_fail(&err, DB_BUSY) == -1);
	cr_expect(err.kind == DB_BUSY);
	cr_expect_str_eq(err.constraint, "");
}
