/* pugd profile restore: undoes a deletion that still waits (erasure_delay, D27). */
#include <stdio.h>
#include <string.h>

#include "q.h"
#include "worker/cli/cli.h"
#include "worker/db/blocking.h"

enum { COMMAND_MEMORY = 1 << 20 };

static int restore(struct db *db, const char *project, const char *id)
{
	struct q_erasure_undo_args args = {str_of(project), str_of(id)};
	struct q_erasure_undo_row row;

	if (q_erasure_undo(db, &args, &row) < 0) {
		fprintf(stderr,
			"pugd profile: the database does not answer as expected (%s); see pugd "
			"migrate\n",
			db->err.sqlstate);
		return 1;
	}
	if (row.outcome == 2)
		fprintf(stderr, "pugd profile: a new profile has the external id meanwhile; "
				"delete that one first\n");
	else if (row.outcome != 0)
		fprintf(stderr, "pugd profile: no deletion waits there under that id: unknown, "
				"restored already, or its delay is over\n");
	else
		printf("request=%.*s undone\n", STR_ARG(row.request_id));
	return row.outcome == 0 ? 0 : 1;
}

int cli_profile(const struct options *opt, int argc, char **argv)
{
	struct arena a;
	struct db db;
	char why[256];
	PGconn *conn;
	int code;

	if (argc != 4 || strcmp(argv[1], "restore") != 0 || argv[2][0] == '-' || !argv[3][0]) {
		fprintf(stderr, "usage: pugd profile restore PROJECT ID\n");
		return 2;
	}
	conn = db_connect(opt->database_url, why, sizeof(why));
	if (!conn) {
		fprintf(stderr, "pugd profile: %s\n", why);
		return 1;
	}
	arena_init(&a, COMMAND_MEMORY);
	db_blocking(&db, conn, &a);
	code = restore(&db, argv[2], argv[3]);
	arena_free(&a);
	PQfinish(conn);
	return code;
}
