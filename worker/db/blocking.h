/* Connections for threads and commands, which may block. See db_blocking() in db.h. */
#ifndef DB_BLOCKING_H
#define DB_BLOCKING_H

#include "worker/db/db.h"

/* Connects; NULL with the reason (one line) in err. */
PGconn *db_connect(const char *url, char *err, size_t err_size);
/* The same, but no address of the server gets more time than that (2 to 10 s). */
PGconn *db_connect_within(const char *url, uint64_t ms, char *err, size_t err_size);
/* Opens a transaction on a blocking handle; settings are local to it. `mode` is for
 * example "ISOLATION LEVEL REPEATABLE READ READ ONLY", or "". Timeouts of 0 mean
 * none. End it with db_commit() or db_rollback(). 0, or -1 with db->err. */
int db_blocking_begin(struct db *db, const char *mode, uint64_t lock_ms, uint64_t statement_ms);

/* Inside such a transaction: a point to come back to when a statement was ended early (which
 * aborts a transaction), and the way back; the snapshot stays. 0, or -1 with db->err. */
int db_blocking_mark(struct db *db);
int db_blocking_return(struct db *db);

/* One connection per thread, kept between its jobs; it dies with its thread. NULL when
 * there is none. */
PGconn *db_kept(void);
void db_keep(PGconn *conn);
/* The kept one if it is idle, else a new one that is kept; NULL when there is none to be had,
 * which is logged as trouble of `what`. */
PGconn *db_kept_idle(const char *url, uint64_t ms, const char *what);
void db_kept_end(void);

#endif
