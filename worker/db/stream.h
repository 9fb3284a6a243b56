/*
 * Large results on a blocking connection, a row at a time: the generated `:many`
 * functions hand each row to a callback as it arrives and return no rows. For
 * threads only. Stops between rows, and cancels the statement, as soon as asked.
 */
#ifndef DB_STREAM_H
#define DB_STREAM_H

#include "worker/db/db.h"

enum stream_next { STREAM_MORE, STREAM_ENOUGH /* no more rows, no error */, STREAM_FAIL };

struct db_stream {
	struct db db; /* give this to the generated functions */
	/* res holds one row, of the query q. */
	enum stream_next (*row)(struct db_stream *st, const struct query *q, const PGresult *res);
	/* Asked every 50 ms or sooner; true ends the statement as DB_TIMEOUT. May be NULL. */
	bool (*stop)(struct db_stream *st);
	void *arg;      /* for `row`, if it wants one */
	uint64_t bytes; /* of rows received so far */
};

void db_stream(struct db_stream *st, PGconn *conn, struct arena *arena);

#endif
