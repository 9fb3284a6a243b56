/* The table of commands, and the two that fit into a line. */
#include "master/cli/cli.h"

#include <stdio.h>
#include <string.h>

static int cli_help(struct args *a);
static int cli_version(struct args *a);

/* Commands with neither function are the worker side's (worker/cli/); the help lists all. */
static const struct command commands[] = {
	{"run", "serve (also without a command)", NULL, NULL},
	{"dev", "try it: private PostgreSQL, demo data, server [--data DIR] [--port N] [--seed EVENTS]",
		NULL, cli_dev},
	{"check", "validate configuration, credentials and binary", cli_check, NULL},
	{"status", "show workers, methods, caches, limits [--watch] [--json] [--admin ADDR]",
		cli_status, NULL},
	{"quarantine", "quarantine clear [--admin ADDR]: let calls that killed workers in again",
		cli_quarantine, NULL},
	{"options", "print all settings [--sample | --man]", cli_options, NULL},
	{"mail", "mail list [--dead] [--json] | mail retry ID...|--all-dead: the outbox", NULL,
		NULL},
	{"profile", "profile restore PROJECT ID: undo a deletion that erasure_delay holds back",
		NULL, NULL},
	{"migrate", "apply pending migrations [--database URL] [--check]", NULL, NULL},
	{"admin", "admin create --email E [--name N] [--org N] [--link]: an account with an org",
		NULL, NULL},
	{"seal", "make segments of all waiting events now", NULL, NULL},
	{"sessions", "sessions revoke --email E: sign a person out everywhere", NULL, NULL},
	{"import",
		"import --project ID [--format auto|pug|posthog|mixpanel] [--restart] FILE|-: "
		"events of JSON Lines",
		NULL, NULL},
	{"export", "export --project ID [--from T] [--to T] [--dir DIR]: events as JSON Lines",
		NULL, NULL},
	{"explain",
		"explain --project ID [--json] [FILE|-]: what an insight reads and what takes time",
		NULL, NULL},
	{"retention", "retention [--project ID --days N|--off]: how long events are kept", NULL,
		NULL},
	{"seed", "fill an empty database with demo data --data DIR [--events N]", NULL, NULL},
	{"verify", "read everything that is stored and say what is wrong", NULL, NULL},
	{"version", "print the version", cli_version, NULL},
	{"help", "print this", cli_help, NULL},
};

const struct command *cli_find(const char *name)
{
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	if (strcmp(name, "--version") == 0)
		name = "version";
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].run || commands[i].run_raw ? &commands[i] : NULL;
	return NULL;
}

static int cli_help(struct args *a)
{
	(void)a;
	printf("usage: pugd [COMMAND] [--config FILE] [-o KEY=VALUE]...\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		printf("  %-11s %s\n", commands[i].name, commands[i].help);
	printf("\nThe configuration is FILE, else $PUGD_CONFIG, else /etc/pugd/pugd.conf.\n"
	       "See pugd COMMAND --help, pugd(8) and pugd.conf(5).\n");
	return 0;
}

static int cli_version(struct args *a)
{
	(void)a;
	printf("pugd %s\n", PUGD_VERSION);
	return 0;
}
