/*
 * The pool from inside: shared by pool.c (lanes and queues), dbconn.c (connecting),
 * pipeline.c (sending and receiving), tx.c and hosts.c. Nobody else includes it but
 * blocking.c and stream.c, for struct wire.
 *
 * Who owns what: a job lives on the stack of the coroutine that waits for it, so it
 * is gone as soon as that one is resumed. A flight is what was sent for it; it lives
 * until its Sync comes back, with job == NULL when nobody waits any more.
 */
#ifndef DB_INTERNAL_H
#define DB_INTERNAL_H

#include "shm/base/list.h"
#include "shm/segment.h"
#include "worker/db/db.h"
#include "worker/db/db_types.h"
#include "worker/loop.h"

struct coro;
struct worker;

enum {
	DB_CONNS_MAX = 32,     /* of one lane */
	DB_PIPELINE_MAX = 256, /* flights of one connection; more wait in the lane */
	DB_TICK_MS = 250,
	DB_PATIENCE_MS = 1000, /* how long calls wait for a lane that is down */
	DB_CONNECT_MS = 5000,
	DB_LOSSES_MAX = 2, /* times a read is sent again; it may be what kills the server */
	DB_LOCK_MS = 5000, /* lock_timeout of what may wait for a row lock */
	DB_BACKOFF_MIN_MS = 50,
	DB_BACKOFF_MAX_MS = 2000,
	DB_BIG_RESULT =
		8 << 20 /* after it a connection is made anew: libpq's buffer never shrinks */
};

/* Parameters as libpq wants them. */
struct wire {
	const char *values[DB_PARAMS_MAX];
	int lengths[DB_PARAMS_MAX];
	int formats[DB_PARAMS_MAX];
};
void wire_fill(struct wire *wire, const struct query *q, const struct db_param *params);

enum job_kind { JOB_QUERY, JOB_BEGIN, JOB_COMMIT };

struct job {
	struct list node; /* in lane->waiting or pool->ready */
	struct db_pool *pool;
	struct lane *lane;
	enum job_kind kind;
	const struct query *q;
	const struct db_param *params;
	struct dbconn *conn;   /* in a transaction: the one to use */
	struct flight *flight; /* while sent and not answered */
	struct coro *co;
	struct loop_timer timer;
	uint64_t end_ms; /* when it is given up */
	PGresult *result;
	struct db_error err;
	int tries, losses; /* sent again: for a prepared statement, for a lost connection */
	bool done;
};

enum { STEPS_MAX = 6 };

/* What a connection is believed to hold under a statement's name. */
struct prepared {
	uint8_t state; /* PREPARED_* */
	uint64_t seq;  /* flight that carried the last Prepare */
};

struct flight {
	struct list node; /* in conn->flights */
	uint64_t seq;     /* rises with each flight of the connection */
	struct job *job;
	const struct query *steps[STEPS_MAX]; /* statement of each expected result */
	int n, at, main;                      /* steps sent, answered, and whose result counts */
	int failed;                           /* step of `error` */
	unsigned prepares;                    /* bit i: step i is a Prepare */
	PGresult *result, *error;
};

enum dbconn_state { CONN_DOWN, CONN_CONNECTING, CONN_UP };
enum { PREPARED_NO, PREPARED_YES, PREPARED_NEVER };

struct dbconn {
	struct lane *lane;
	enum dbconn_state state;
	PGconn *pg;
	struct loop_io io;
	bool watched; /* io is in the loop */
	uint32_t events;
	struct loop_timer timer; /* down: next attempt; connecting: the limit */
	struct loop_chore flush;
	struct list flights;
	int n_flights;
	uint64_t seq;
	bool started; /* wanted: reconnect when lost */
	bool owned;   /* by a transaction, or one is being ended */
	bool spoiled; /* a statement of the transaction was given up */
	bool recycle; /* close when idle */
	int fails;    /* attempts since it was last up */
	uint64_t up_ms, heard_ms;
	struct prepared *prepared; /* by query id */
	int prepared_n;
};

struct hosts; /* hosts.c */

struct lane {
	struct db_pool *pool;
	const char *label, *url;
	bool exclusive; /* one job at a time, transactions */
	bool guarded;   /* statements run under lock_timeout and statement_timeout */
	bool failed;    /* the last attempt was logged as failed */
	struct dbconn conns[DB_CONNS_MAX];
	int n, up;
	uint64_t down_ms; /* since when none is up; 0 = up, or not tried yet */
	struct list waiting;
	struct loop_chore later; /* lane_dispatch() at the end of the turn */
	struct hosts *hosts;
};

struct db_pool {
	struct worker *w;
	struct loop *loop;
	void (*park)(void);
	bool prepare, closing;
	uint64_t timeout_ms;
	int64_t queue_max, pending; /* jobs waiting and flights under way */
	struct lane lanes[LANES];
	struct list ready; /* jobs that are done */
	struct loop_chore wake;
	struct loop_timer tick;
};

/* pool.c */
void job_finish(struct job *job, enum db_kind kind);
/* Parks until the job is done. 0, or -1 with job->err. */
int job_run(struct job *job, struct db_pool *pool, enum db_lane lane, uint64_t deadline_ms);
void lane_dispatch(struct lane *lane);
/* Fails everybody who waits for the lane. */
void lane_fail(struct lane *lane, enum db_kind kind);
void pool_wake(struct db_pool *pool);
void pool_count(struct db_pool *pool, enum counter c);

/* dbconn.c */
void dbconn_init(struct dbconn *conn, struct lane *lane);
void dbconn_start(struct dbconn *conn);
/* Closes at once; what was under way fails or, being a read, is sent again (DB_LOSSES_MAX). */
void dbconn_lost(struct dbconn *conn, const char *why);
/* The transaction is over; the connection serves others again. */
void dbconn_release(struct dbconn *conn);
void dbconn_watch(struct dbconn *conn, uint32_t events);
void dbconn_close(struct dbconn *conn);

/* pipeline.c */
/* Sends the job's statements and one Sync; the flush comes at the end of the turn. */
void pipe_send(struct dbconn *conn, struct job *job);
/* ROLLBACK that nobody waits for. */
void pipe_rollback(struct dbconn *conn);
void pipe_ready(struct dbconn *conn, uint32_t events);
void pipe_flush(struct dbconn *conn);
void flight_free(struct dbconn *conn, struct flight *f);

/* hosts.c */
/* NULL when the URL needs no name service (sockets, addresses) or without memory. */
struct hosts *hosts_new(const char *url);
/* Looks the names up; blocks, and may run on a thread. */
void hosts_resolve(struct hosts *h);
/* Takes over what was found; on the loop's thread, when no lookup runs. */
void hosts_adopt(struct hosts *h);
void hosts_free(struct hosts *h);
/* NULL until adopted. Lists for libpq's keywords host, hostaddr and port. */
const char *hosts_names(const struct hosts *h);
const char *hosts_addresses(const struct hosts *h);
const char *hosts_ports(const struct hosts *h);

#endif
