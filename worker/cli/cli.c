/* The table of database commands. */
#include "worker/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/base/log.h"
#include "shm/message.h"

static const struct {
	const char *name;
	cli_fn *run;
} commands[] = {
	{"admin", cli_admin},
	{"check", cli_check_worker},
	{"explain", cli_explain},
	{"export", cli_export},
	{"import", cli_import},
	{"mail", cli_mail},
	{"migrate", cli_migrate},
	{"profile", cli_profile},
	{"retention", cli_retention},
	{"seal", cli_seal},
	{"seed", cli_seed},
	{"sessions", cli_sessions},
	{"verify", cli_verify},
};

static bool read_options(struct options *opt)
{
	ssize_t n = pread(FD_OPTIONS, opt, sizeof(*opt), 0);

	if (n == (ssize_t)sizeof(*opt))
		return true;
	fprintf(stderr, "pugd: no options: %s\n", n < 0 ? strerror(errno) : "wrong size");
	return false;
}

int worker_cli(const char *command, int argc, char **argv)
{
	static struct options opt; /* 10 KB of plain data; one command per process */

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, command) != 0)
			continue;
		if (!read_options(&opt))
			return 1;
		log_setup(command, (int)opt.log_level);
		return commands[i].run(&opt, argc, argv);
	}
	return -1;
}
