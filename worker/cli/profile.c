/* pugd profile restore: undoes a deletion that still waits (erasure_delay, D27). */
#include <stdio.h>
#include <string.h>

#include "q.h"
#include "worker/cli/cli.h"
#include "worker/cli/database.h"

enum { COMMAND_MEMORY = 1 << 20 };

static int restore(struct db *db, void *arg)
{
	char **words = arg; /* project, id */
	struct q_erasure_undo_args args = {str_of(words[0]), str_of(words[1])};
	struct q_erasure_undo_row row;

	if (q_erasure_undo(db, &args, &row) < 0)
		return -1;
	/* as pugd.erasure_undo() numbers them */
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
	if (argc != 4 || strcmp(argv[1], "restore") != 0 || argv[2][0] == '-' || !argv[3][0]) {
		fprintf(stderr, "usage: pugd profile restore PROJECT ID\n");
		return 2;
	}
	return cli_with_database(opt, "profile", COMMAND_MEMORY, restore, argv + 2);
}
