/*
 * Commands that need the database: the third role of the binary. master/main.c
 * calls worker_cli() after it put the options into FD_OPTIONS.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "shm/options.h"

/* argv[0] is the command. Returns the exit code. */
typedef int cli_fn(const struct options *opt, int argc, char **argv);

cli_fn cli_admin;        /* account.c */
cli_fn cli_check_worker; /* check.c: the worker's half of pugd check */
cli_fn cli_explain;      /* explain.c: what an insight reads, and where its time goes */
cli_fn cli_export;       /* export.c: events as JSON Lines */
cli_fn cli_import;       /* import.c: and back */
cli_fn cli_mail;         /* mail.c: the outbox */
cli_fn cli_migrate;      /* migrate.c */
cli_fn cli_profile;      /* profile.c: what was deleted and still waits */
cli_fn cli_retention;    /* retention.c */
cli_fn cli_seal;         /* seal.c: the inbox into segments */
cli_fn cli_seed;         /* seed.c: demo data */
cli_fn cli_sessions;     /* account.c */
cli_fn cli_verify;       /* verify.c: is everything there, once, as it was? */

/* Exit code, or -1 when there is no such command. */
int worker_cli(const char *command, int argc, char **argv);

#endif
