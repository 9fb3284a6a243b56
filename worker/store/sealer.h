/*
 * Level 0 to level 1: takes rows out of the inbox and puts segments, each time in one
 * transaction, on a blocking connection. No lease: several keepers and commands may do
 * it at once, and a crash at any point leaves everything as it was or as it should be.
 *
 * Who is being erased goes along, hidden, because a deletion may be undone. A segment has
 * one place in pugd.inbox_order for all its events, so what lies on different sides of a
 * deletion's `high` (sql/schema/004_erasure.sql) never comes into one.
 */
#ifndef STORE_SEALER_H
#define STORE_SEALER_H

#include "worker/db/db.h"
#include "worker/store/merge.h"

enum sealer_end {
	SEALER_IDLE, /* nothing (more) to do */
	SEALER_BUSY, /* did something; there may be more */
	SEALER_DB    /* sealer->db.err tells; nothing was changed */
};

enum { SEALER_SKIP = 64, SEALER_DAYS = 512 };

struct sealer {
	struct db db;                     /* blocking; its connection is the caller's */
	struct arena a, scratch, sources; /* of one transaction */
	/* rows that could not be read are left in the inbox, where queries say so */
	int64_t skip[SEALER_SKIP];
	int n_skip, next_skip;
	/* days whose segments have become more; sealer_merge() looks at them */
	int32_t days[SEALER_DAYS];
	int n_days;
	/* of this project, so many groups of what sealer_merge() may merge stay as they are: the
	 * next call goes on behind them */
	int32_t passed_project, passed;
	/* Set by an erasure: masks what has to go of a segment that is being rewritten, whose
	 * place in pugd.inbox_order is that; false when it is malformed or the arena is full.
	 * And what else belongs into the transaction: 0, or -1 with db.err. Then it waits for
	 * whoever has taken the segment. */
	bool (*leave_out)(struct sealer *s, struct evseg *seg, int64_t place, struct arena *a);
	int (*also)(struct sealer *s);
	enum merge_end why; /* of the last sealer_rewrite() that did nothing */
	uint64_t n_rows, n_events, n_segments, n_merged; /* so far */
};

/* `memory` bounds what a transaction takes, aside from the client library's buffer and what put.c
 * needs for names and numbers. */
void sealer_init(struct sealer *s, uint64_t memory);
void sealer_free(struct sealer *s);
/* Gives the memory of the last transaction back. */
void sealer_empty(struct sealer *s);
/* Says which connection to use from now on. */
void sealer_connection(struct sealer *s, PGconn *conn);
/* What is worth a sealing: so many events of a project, so many rows of them, or one event so old.
 */
struct sealer_due {
	int64_t events, commits, age_ms;
};

/* Projects of which one of these is true, longest waiting first. Returns how many, in the
 * sealer's arena until the next call; -1 with s->db.err. */
int sealer_due(struct sealer *s, const struct sealer_due *due, int32_t **projects);
/* Seals some of a project's rows, oldest first: what makes about two full segments. */
enum sealer_end sealer_seal(struct sealer *s, int32_t project);
/* Makes the room of rows that were taken usable again, and with `shrink` smaller. Outside a
 * transaction. 0, or -1 with s->db.err: whether it has ended is then unknown. */
int sealer_tidy(struct sealer *s, bool shrink);
/* Merges small segments of a project on s->days, or on all days; empties the list when all
 * is done. SEALER_BUSY, too, when all that was tried must stay as it is and there is more. */
enum sealer_end sealer_merge(struct sealer *s, int32_t project, bool all_days);
/* Merges small segments of all days and projects, some at a time; *project is 0 at first, and again
 * after the last one, with SEALER_IDLE. Whoever sealed them may have ended before they were. */
enum sealer_end sealer_sweep(struct sealer *s, int32_t *project);
/* Makes new segments out of some of one day's, in one transaction: a merge, or with
 * leave_out an erasure. SEALER_IDLE: another one has taken them, or with *again set they
 * are too many for the memory: try with so many. */
enum sealer_end sealer_rewrite(
	struct sealer *s, int32_t project, int32_t day, const int64_t *ids, int n, int *again);

#endif
