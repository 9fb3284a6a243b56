/* What short commands have in common: a connection, memory, and words for a failure. */
#ifndef CLI_DATABASE_H
#define CLI_DATABASE_H

#include "shm/options.h"
#include "worker/db/db.h"

/* Connects to database_url and lets `run` work, whose rows live in an arena of at most
 * `memory` bytes. `run` returns the exit code, or -1 with db->err, which is told on standard
 * error with `name`, the command's. Returns the exit code. */
int cli_with_database(const struct options *opt, const char *name, size_t memory,
	int (*run)(struct db *db, void *arg), void *arg);

#endif
