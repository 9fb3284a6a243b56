/*
 * One binary, three roles: the master (`pugd`, `pugd run`), its children
 * (`--worker N`, `--keeper N`) and the operator's commands. This is the only
 * file that names the entry points of the roles.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/args.h"
#include "master/cli/cli.h"
#include "master/config.h"
#include "master/master.h"
#include "shm/message.h"

/* worker/main.c */
int worker_main(int argc, char **argv);
/* worker/cli/: commands that need the database. The options are in FD_OPTIONS. Returns the
 * exit code, -1 for an unknown command. */
int worker_cli(const char *command, int argc, char **argv);

/* The options where a worker would find them, so that both roles read them in one way. */
static bool place_options(const struct args *a)
{
	struct config_report r;
	struct options o;
	int fd = -1;
	bool ok;

	config_report_init(&r);
	ok = config_load(&o, a, &r);
	if (!ok) {
		fwrite(r.text.p, 1, r.text.n, stderr);
	} else {
		/* Most commands work without; those that do not see secret_len == 0. */
		config_credentials(&o, &r);
		fd = config_memfd(&o);
		ok = fd >= 0 && (fd == FD_OPTIONS || dup3(fd, FD_OPTIONS, O_CLOEXEC) >= 0);
	}
	if (fd >= 0 && fd != FD_OPTIONS)
		close(fd);
	config_report_free(&r);
	return ok;
}

static int run_worker_command(struct args *a)
{
	int code = place_options(a) ? worker_cli(a->command, a->rest_count, a->rest) : 1;

	if (code != -1)
		return code;
	fprintf(stderr, "pugd: unknown command %s; see pugd help\n", a->command);
	return 2;
}

/* Both halves; the worker's reads what only a worker understands. The good news comes
 * last: a reload acts on it. */
static int run_check(struct args *a)
{
	int code = cli_check(a);

	if (code == 0)
		code = run_worker_command(a);
	if (code == 0)
		cli_check_good();
	return code;
}

/* To every command --help is a bad command line, which it answers with a good one: that is
 * all that is asked for here. No settings are read, which may be what somebody looks for. */
static int run_help(const struct command *c, struct args *a)
{
	int code;

	a->rest[1] = a->rest[a->rest_count - 1];
	a->rest[a->rest_count = 2] = NULL;
	a->config = "/dev/null";
	a->override_count = 0;
	if (dup2(STDOUT_FILENO, STDERR_FILENO) < 0 || !place_options(a))
		return 1;
	code = c ? c->run(a) : worker_cli(a->command, a->rest_count, a->rest);
	if (code == -1)
		fprintf(stderr, "pugd: unknown command %s; see pugd help\n", a->command);
	return code == 2 ? 0 : code == -1 ? 2 : code;
}

static bool wants_help(const struct args *a)
{
	return a->rest_count > 1 && (strcmp(a->rest[a->rest_count - 1], "--help") == 0 ||
					    strcmp(a->rest[a->rest_count - 1], "-h") == 0);
}

static bool is_child(int argc, char **argv)
{
	return argc > 1 && (strcmp(argv[1], "--worker") == 0 || strcmp(argv[1], "--keeper") == 0);
}

int main(int argc, char **argv)
{
	const struct command *c;
	struct args args;

	if (is_child(argc, argv))
		return worker_main(argc, argv);
	c = argc > 1 ? cli_find(argv[1]) : NULL;
	if (c && c->run_raw)
		return c->run_raw(argc - 2, argv + 2);
	if (!args_parse(&args, argc, argv))
		return 2;
	if (strcmp(args.command, "run") == 0 && wants_help(&args))
		return cli_find("help")->run(&args);
	if (wants_help(&args))
		return run_help(c, &args);
	if (c)
		return c->run == cli_check ? run_check(&args) : c->run(&args);
	if (strcmp(args.command, "run") == 0) {
		/* A stray word here is a typing error, and starting a server is no answer. */
		if (args.rest_count > 1) {
			fprintf(stderr, "pugd: unknown option %s; see pugd help\n", args.rest[1]);
			return 2;
		}
		return boot_run(&args, argc, argv);
	}
	return run_worker_command(&args);
}
