/* See database.h. */
#include "worker/cli/database.h"

#include <stdio.h>

#include "worker/db/blocking.h"

int cli_with_database(const struct options *opt, const char *name, size_t memory,
	int (*run)(struct db *db, void *arg), void *arg)
{
	struct arena a;
	struct db db;
	char why[256];
	PGconn *conn = db_connect(opt->database_url, why, sizeof(why));
	int code;

	if (!conn) {
		fprintf(stderr, "pugd %s: %s\n", name, why);
		return 1;
	}
	arena_init(&a, memory);
	db_blocking(&db, conn, &a);
	code = run(&db, arg);
	if (code < 0)
		fprintf(stderr,
			"pugd %s: the database does not answer as expected (%s); see pugd "
			"migrate\n",
			name, db.err.sqlstate);
	arena_free(&a);
	PQfinish(conn);
	return code < 0 ? 1 : code;
}
