/*
 * What the generated functions of build/gen/q.c call: bind the arguments, run the
 * statement on whatever struct db stands for, copy the rows into db->arena.
 */
#ifndef DB_RUN_H
#define DB_RUN_H

#include "worker/db/db.h"
#include "worker/db/db_types.h"

/* 0 or 1 rows into *out (untouched when there is none); more than one is a bug. */
int db_run_one(struct db *db, const struct query *q, const void *args, void *out);
/* *rows becomes an array in the arena, NULL when empty; returns the number of rows. */
int db_run_many(struct db *db, const struct query *q, const void *args, void **rows);
/* Rows affected. */
int db_run_exec(struct db *db, const struct query *q, const void *args);

#endif
