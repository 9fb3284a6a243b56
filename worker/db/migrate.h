/* Migrations: forward only, embedded from sql/schema, each in a transaction of its own. */
#ifndef DB_MIGRATE_H
#define DB_MIGRATE_H

#include <stdbool.h>

struct migration {
	int number; /* 0 ends the table */
	const char *name;
	const char *sha256; /* hex, of the file */
	const char *sql;
};

/* build/gen/migrations.c */
extern const struct migration migrations[];
extern const int migrations_n;

/* Applies what is missing; safe to run from many processes at once. With
 * `progress` it tells on standard error what it does. 0, or -1 after saying why. */
int migrate_run(const char *url, bool progress);
/* Checks only: 0 when the database has exactly our migrations, 1 when some are
 * missing, 2 when it is newer than this binary, -1 when it cannot be read. */
int migrate_state(const char *url);

#endif
