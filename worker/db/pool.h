/*
 * The pool: asynchronous connections of one worker, by lane. Handlers and jobs use
 * it through struct db (db.h); this is for who starts and stops a worker.
 */
#ifndef DB_POOL_H
#define DB_POOL_H

#include <stdbool.h>

struct db_pool;
struct worker;

/* Starts connecting with the settings of w->opt; w->loop and w->offload must be there. Never
 * blocks: host names are looked up on threads. NULL without memory. */
struct db_pool *db_pool_new(struct worker *w);
/* Control data can be reached now: a connection of the fast lane is up. */
bool db_pool_up(const struct db_pool *pool);
/* What parks a waiting coroutine (default coro_park). */
void db_pool_park(struct db_pool *pool, void (*park)(void));
/* Fails what still waits, closes everything. Call it when the loop has stopped. */
void db_pool_free(struct db_pool *pool);

#endif
