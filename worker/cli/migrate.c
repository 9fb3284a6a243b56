/* pugd migrate [--database URL] [--check]: bring the schema up to this binary's. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/cli/cli.h"
#include "worker/db/migrate.h"

static const char *const states[] = {
	"the schema is up to date",
	"migrations are missing: run pugd migrate",
	"the database is newer than this pugd",
};

int cli_migrate(const struct options *opt, int argc, char **argv)
{
	const char *url = opt->database_url;
	bool check = false;
	int state;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--database") == 0 && i + 1 < argc) {
			url = argv[++i];
		} else if (strcmp(argv[i], "--check") == 0) {
			check = true;
		} else {
			fprintf(stderr, "usage: pugd migrate [--database URL] [--check]\n");
			return 2;
		}
	}
	if (!check)
		return migrate_run(url, isatty(STDERR_FILENO)) < 0 ? 1 : 0;
	state = migrate_state(url);
	if (state >= 0)
		printf("%s\n", states[state]);
	/* a newer schema will do: releases expand it before they contract it */
	return state == 0 || state == 2 ? 0 : 1;
}
