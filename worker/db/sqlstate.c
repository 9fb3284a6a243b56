/*
 * SQLSTATE -> enum db_kind, one table. What is not in it is a bug of ours: it is
 * logged here, once, with the statement's label and without parameters.
 */
#include "worker/db/sqlstate.h"

#include <stdio.h>
#include <string.h>

#include "shm/base/log.h"

/* The first row whose prefix fits wins, so codes come before their classes. */
static const struct {
	const char *prefix;
	enum db_kind kind;
} kinds[] = {
	{"00", DB_OK}, {"01", DB_OK}, {"02", DB_OK}, {"23505", DB_UNIQUE}, {"23503", DB_FOREIGN},
	{"23", DB_CHECK}, {"40001", DB_SERIALIZE}, {"40P01", DB_SERIALIZE},
	{"40003", DB_DOWN},    /* statement completion unknown */
	{"55P03", DB_TIMEOUT}, /* lock_timeout */
	{"57014", DB_TIMEOUT}, /* statement_timeout */
	{"25P03", DB_DOWN},    /* idle in transaction for too long: the server hung up */
	{"25006", DB_DOWN},    /* read-only: a standby, or a failover is under way */
	{"08", DB_DOWN},       /* connection; also what PgBouncer reports */
	{"53", DB_DOWN},       /* out of connections, disk or memory */
	{"57P", DB_DOWN},      /* shutdown, crash, start-up */
	{"58", DB_DOWN},       /* the server's operating system */
};

enum db_kind sqlstate_kind(const char *sqlstate)
{
	if (!sqlstate)
		return DB_DOWN;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(sqlstate, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
			return kinds[i].kind;
	return DB_BUG;
}

void sqlstate_read(const PGresult *res, const char *label, struct db_error *err)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *name = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	*err = (struct db_error){.kind = sqlstate_kind(state)};
	snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", state ? state : "");
	snprintf(err->constraint, sizeof(err->constraint), "%s", name ? name : "");
	/* An error result with a code of success would look like success to callers. */
	if (err->kind == DB_OK)
		err->kind = DB_BUG;
	if (err->kind == DB_BUG)
		log_err("statement failed query=%s sqlstate=%s message=\"%.200s\"", label,
			err->sqlstate, text ? text : "");
}

int db_fail(struct db_error *err, enum db_kind kind)
{
	*err = (struct db_error){.kind = kind};
	return -1;
}
