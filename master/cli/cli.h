/* The operator's commands that need no database. */
#ifndef MASTER_CLI_CLI_H
#define MASTER_CLI_CLI_H

#include "master/args.h"

struct command {
	const char *name;
	const char *help;
	int (*run)(struct args *a);            /* returns the exit code */
	int (*run_raw)(int argc, char **argv); /* for one that reads its own command line */
};

/* NULL: not one of ours. */
const struct command *cli_find(const char *name);

/* The master's half of it; silent when good. */
int cli_check(struct args *a);
/* The last words of a good check. */
void cli_check_good(void);
int cli_options(struct args *a);
int cli_quarantine(struct args *a);
int cli_status(struct args *a);
/* Words after `dev`. */
int cli_dev(int argc, char **argv);

#endif
