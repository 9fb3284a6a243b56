/*
 * Applies sql/schema to a database. Each file is one transaction under one lock, so
 * several starting hosts take turns, and a run that was interrupted goes on where it
 * stopped. A file that was applied is never run again and must never change: its
 * hash is compared, because a changed file would mean two different databases of the
 * same version.
 */
#include "worker/db/migrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "q.h"
#include "shm/base/log.h"
#include "worker/db/blocking.h"

enum {
	MIGRATE_WAIT_MS = 60000, /* for another process that migrates */
	MIGRATE_LOCK_MS = 5000,  /* for tables in use: waiting longer would block their users */
	MIGRATE_TRIES = 6,
	MIGRATE_ARENA = 4 << 20
};

struct migrate {
	struct db db;
	struct arena arena;
	PGconn *conn;
	bool progress;
	int total;
};

static void say(const struct migrate *m, const struct migration *one, const char *what)
{
	if (!m->progress)
		return;
	fprintf(stderr, "migration %03d %s %s\n", one->number, one->name, what);
	fflush(stderr);
}

static int complain(const struct migrate *m, const char *what)
{
	const char *text = PQerrorMessage(m->conn);

	log_err("migration failed at=%s sqlstate=%s reason=\"%.*s\"", what, m->db.err.sqlstate,
		(int)strcspn(text, "\n"), text);
	return -1;
}

static bool lock_was_busy(const struct migrate *m)
{
	return strcmp(m->db.err.sqlstate, "55P03") == 0;
}

/* 1 = in the list with our hash, 0 = not in it, -1 = another file has its number. */
static int applied(const struct migration *want, const struct q_migrations_list_row *rows, int n)
{
	for (int i = 0; i < n; i++) {
		if (rows[i].number != want->number)
			continue;
		if (str_eq(rows[i].sha256, str_of(want->sha256)))
			return 1;
		log_err("migration differs from what was applied number=%d name=%s applied_name=%.*s",
			want->number, want->name, STR_ARG(rows[i].name));
		return -1;
	}
	return 0;
}

/* The text of a migration: several statements, no parameters. */
static int run_text(struct migrate *m, const char *sql)
{
	PGresult *res = PQexec(m->conn, sql);
	int failed =
		PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK
			? 0
			: -1;
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	snprintf(m->db.err.sqlstate, sizeof(m->db.err.sqlstate), "%s", state ? state : "");
	PQclear(res);
	return failed;
}

/* Inside the transaction: lock, look, run, note. 1 = applied now, 0 = was there already. What
 * compare() saw is looked at again under the lock: another host may have applied it since. */
static int apply_inside(struct migrate *m, const struct migration *one)
{
	struct q_migrations_list_row *rows;
	char limit[64];
	int n, state;

	if (q_migrations_lock(&m->db) < 0 || q_migrations_schema(&m->db) < 0 ||
		q_migrations_table(&m->db) < 0)
		return -1;
	n = q_migrations_list(&m->db, &rows);
	if (n < 0)
		return -1;
	state = applied(one, rows, n);
	if (state != 0)
		return state > 0 ? 0 : -1;
	snprintf(limit, sizeof(limit), "SET LOCAL lock_timeout = %d", MIGRATE_LOCK_MS);
	/* for the lock of all migrations there was MIGRATE_WAIT_MS; tables get less */
	if (run_text(m, limit) < 0 || run_text(m, one->sql) < 0)
		return -1;
	return q_migrations_done(&m->db, &(struct q_migrations_done_args){.number = one->number,
						 .name = str_of(one->name),
						 .sha256 = str_of(one->sha256)}) < 0
		       ? -1
		       : 1;
}

static int apply_once(struct migrate *m, const struct migration *one)
{
	int done;

	if (db_blocking_begin(&m->db, "", MIGRATE_WAIT_MS, 0) < 0)
		return complain(m, "begin");
	done = apply_inside(m, one);
	if (done < 0) {
		if (!lock_was_busy(m))
			complain(m, one->name);
		db_rollback(&m->db);
		return -1;
	}
	return db_commit(&m->db) < 0 ? complain(m, "commit") : done;
}

static int apply(struct migrate *m, const struct migration *one)
{
	const struct timespec pause = {.tv_sec = 1};

	for (int i = 0; i < MIGRATE_TRIES; i++) {
		int done;

		arena_reset(&m->arena);
		m->db.err = (struct db_error){.kind = DB_OK};
		done = apply_once(m, one);
		if (done > 0)
			say(m, one, "applied");
		if (done >= 0 || !lock_was_busy(m))
			return done;
		say(m, one, "waits for a table in use");
		nanosleep(&pause, NULL);
	}
	log_err("migration gave up waiting for a lock name=%s", one->name);
	return -1;
}

static int migrate_open(struct migrate *m, const char *url)
{
	char reason[256];

	arena_init(&m->arena, MIGRATE_ARENA);
	m->conn = db_connect(url, reason, sizeof(reason));
	if (!m->conn) {
		log_err("cannot connect to migrate reason=\"%s\"", reason);
		return -1;
	}
	db_blocking(&m->db, m->conn, &m->arena);
	return 0;
}

static void migrate_close(struct migrate *m)
{
	PQfinish(m->conn);
	arena_free(&m->arena);
}

/* IF NOT EXISTS says so in a notice each time. */
static void hush(void *arg, const char *text)
{
	(void)arg;
	(void)text;
}

/* What the database has, compared with what we carry; see migrate_state(). */
static int compare(struct migrate *m)
{
	struct q_migrations_exist_row exist;
	struct q_migrations_list_row *rows = NULL;
	int n = 0, missing = 0;

	if (q_migrations_exist(&m->db, &exist) < 0)
		return -1;
	if (exist.found && (n = q_migrations_list(&m->db, &rows)) < 0)
		return -1;
	for (const struct migration *one = migrations; one->number; one++) {
		int state = applied(one, rows, n);

		if (state < 0)
			return -1;
		missing += state == 0;
	}
	/* What is applied and not ours came from a newer pugd. */
	if (n > migrations_n - missing)
		return 2;
	return missing ? 1 : 0;
}

int migrate_state(const char *url)
{
	struct migrate m = {.progress = false};
	int state = migrate_open(&m, url) < 0 ? -1 : compare(&m);

	migrate_close(&m);
	return state;
}

int migrate_run(const char *url, bool progress)
{
	struct migrate m = {.progress = progress};
	int state = migrate_open(&m, url) < 0 ? -1 : compare(&m);

	if (m.conn)
		PQsetNoticeProcessor(m.conn, hush, NULL);
	/* A newer database is left alone; expand-and-contract keeps it usable for us. */
	if (state == 2)
		log_warn("the database is newer than this pugd");
	for (const struct migration *one = migrations; state == 1 && one->number; one++)
		if (apply(&m, one) < 0)
			state = -1;
	if (state == 0 && progress)
		fprintf(stderr, "schema is up to date: %d migrations\n", migrations_n);
	migrate_close(&m);
	return state < 0 ? -1 : 0;
}
