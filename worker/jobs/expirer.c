/*
 * See expirer.h. What cannot be read is erased all the same, but its claims stay: too many
 * remembered ids do no harm.
 */
#include "worker/jobs/expirer.h"

#include <stdlib.h>

#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/db/blocking.h"
#include "worker/db/sqlstate.h"
#include "worker/store/tombs.h"

enum { DAY_MS = 86400000 };

enum {
	ROWS_MEMORY = 256 << 20, /* who is hidden, and what one transaction takes */
	BLOB_MEMORY = 128 << 20, /* ids, times and dictionaries of one of them, decoded */
	TAKE_ROWS = 32,          /* of one transaction, ... */
	TAKE_EVENTS = 131072,    /* ...and so many events before the last of them, ... */
	TAKE_BYTES = 32 << 20,   /* ...and so many bytes */
	CLAIMS = 8192,           /* of one statement */
	CONNECT_MS = 5000,
	LOCK_MS = 2000, /* deletions wait behind us meanwhile */
	STATEMENT_MS = 60000
};

struct work {
	struct expirer *e;
	struct db db;
	struct arena a, blob;
	struct tombs tombs;
	int64_t claims; /* dropped in this transaction */
	/* ids to forget, all of one day */
	uint8_t ids[CLAIMS * 16];
	int32_t day;
	int n;
};

static void patient(struct work *w)
{
	w->db.deadline_ms = clock_mono_ms() + STATEMENT_MS;
}

/* ---- claims ---- */

static int forget_all(struct work *w)
{
	struct q_retention_claims_args args = {w->e->project, w->day, {w->ids, w->n}};
	int n = 0;

	patient(w);
	if (w->n)
		n = q_retention_claims(&w->db, &args);
	w->n = 0;
	w->claims += n > 0 ? n : 0;
	return n < 0 ? -1 : 0;
}

static int forget(struct work *w, int32_t day, const uint8_t *id)
{
	if ((w->n == CLAIMS || w->day != day) && forget_all(w) < 0)
		return -1;
	memcpy(w->ids + w->n++ * 16, id, 16);
	w->day = day;
	return 0;
}

/* By days, so that ids of one day go together. */
struct event_at {
	int32_t day;
	uint32_t row;
};

static int by_day(const void *x, const void *y)
{
	const struct event_at *a = x, *b = y;

	return (a->day > b->day) - (a->day < b->day);
}

static int32_t day_of(int64_t ms)
{
	return (int32_t)(ms / DAY_MS - (ms % DAY_MS < 0));
}

/* The segment's events that were stored and that nobody hides; false when it is damaged or
 * the arena is full. `day`: of all of them, or with NULL of each its own. */
static bool list_events(struct work *w, const struct evseg *seg, int64_t place, const int32_t *day,
	struct event_at **out, uint32_t *n)
{
	struct event_at *v = arena_array(&w->blob, seg->n, sizeof(*v));
	const int64_t *times = NULL;
	const uint32_t *owners;

	*n = 0;
	*out = v;
	if (!v || !tombs_owners(&w->tombs, seg, place, &w->blob, &owners) ||
		(!day && !evseg_times(seg, &w->blob, &times)))
		return false;
	for (uint32_t i = 0; i < seg->n; i++)
		if (!(seg->masked && seg->masked[i]) && !(owners && owners[i] != TOMB_NONE))
			v[(*n)++] = (struct event_at){day ? *day : day_of(times[i]), i};
	if (!day)
		qsort(v, *n, sizeof(*v), by_day);
	return true;
}

/* Drops the claims of a segment's events, or none of them when it cannot be read. */
static int drop_claims(struct work *w, const struct evseg *seg, int64_t place, const int32_t *day)
{
	struct event_at *v;
	const uint8_t *ids;
	uint32_t n;

	if (!list_events(w, seg, place, day, &v, &n) || !evseg_ids(seg, &w->blob, &ids)) {
		log_err("what was too old could not be read; its ids stay claimed project=%d",
			w->e->project);
		return 0;
	}
	for (uint32_t i = 0; i < n; i++)
		if (forget(w, v[i].day, ids + (size_t)v[i].row * 16) < 0)
			return -1;
	return forget_all(w);
}

/* ---- what is too old ---- */

/* Rows taken out of the inbox and forgotten, inside the transaction; -1. */
static int take_inbox(struct work *w)
{
	struct q_retention_inbox_args args = {w->e->project, TAKE_ROWS, TAKE_EVENTS, TAKE_BYTES};
	struct q_retention_inbox_row *rows;
	int n;

	patient(w);
	n = q_retention_inbox(&w->db, &args, &rows);
	for (int i = 0; i < n; i++) {
		struct evseg seg = {.n = 0};

		arena_reset(&w->blob);
		/* an empty one has no parts, so it says that it cannot be read */
		if (!evseg_open(&seg, rows[i].data, &w->blob) ||
			!evseg_mask(&seg, rows[i].refused.v, (uint32_t)rows[i].refused.n, &w->blob))
			seg = (struct evseg){.n = 0};
		if (drop_claims(w, &seg, rows[i].id, NULL) < 0)
			return -1;
	}
	return n;
}

/* With the two columns that say which claims to drop; its day is that of the row. */
static bool open_segment(
	const struct q_retention_segments_row *row, struct evseg_part parts[2], struct evseg *seg)
{
	int32_t crcs[2] = {row->id_crc, row->who_crc};

	if (row->n < 0 || !row->id_data.p || !row->who_data.p)
		return false;
	parts[0] = (struct evseg_part){
		PART_ID, SCOPE_AUTO, STR(""), (uint32_t)row->id_raw, row->id_data};
	parts[1] = (struct evseg_part){
		PART_DISTINCT, SCOPE_AUTO, STR(""), (uint32_t)row->who_raw, row->who_data};
	return evseg_of_parts(seg, row->id, (uint32_t)row->n, parts, 2, crcs);
}

static int take_segments(struct work *w)
{
	struct q_retention_segments_args args = {w->e->project, TAKE_ROWS, TAKE_EVENTS};
	struct q_retention_segments_row *rows;
	int n;

	patient(w);
	n = q_retention_segments(&w->db, &args, &rows);
	for (int i = 0; i < n; i++) {
		struct evseg_part parts[2];
		struct evseg seg;

		arena_reset(&w->blob);
		if (!open_segment(&rows[i], parts, &seg))
			seg = (struct evseg){.n = 0};
		if (drop_claims(w, &seg, rows[i].place, &rows[i].day) < 0)
			return -1;
	}
	return n;
}

static int (*const levels[])(struct work *w) = {take_inbox, take_segments};
enum { LEVELS = sizeof(levels) / sizeof(levels[0]) };

/* ---- one transaction ---- */

/* Deletions under way are waited for, and later ones find nothing of what is taken here: so
 * these are all who are hidden. */
static int read_tombs(struct work *w)
{
	struct q_scan_tombstones_row *rows;
	struct q_seal_fence_row fence;
	int n;

	patient(w);
	if (q_seal_fence(&w->db, &(struct q_seal_fence_args){w->e->project}, &fence) < 0)
		return -1;
	n = q_scan_tombstones(&w->db, &(struct q_scan_tombstones_args){w->e->project}, &rows);
	tombs_init(&w->tombs, &w->a);
	for (int i = 0; i < n; i++)
		if (!tombs_add(&w->tombs, rows[i].distinct_id, rows[i].high, 0))
			return db_fail(&w->db.err, DB_MEMORY);
	return n < 0 ? -1 : 0;
}

/* claims_dropped moves in the transaction that takes the claims, or pugd verify would miss them. */
static int take(struct work *w, int level)
{
	int n;

	if (read_tombs(w) < 0)
		return -1;
	n = levels[level](w);
	patient(w);
	if (n > 0 && w->claims &&
		q_retention_dropped(
			&w->db, &(struct q_retention_dropped_args){w->e->project, w->claims}) < 0)
		return -1;
	return n;
}

/* How many rows went; -1 with db.err. */
static int transaction(struct work *w, int level)
{
	int n;

	arena_reset(&w->a);
	w->claims = w->n = 0;
	patient(w);
	if (db_blocking_begin(&w->db, "ISOLATION LEVEL READ COMMITTED", LOCK_MS, STATEMENT_MS) < 0)
		return -1;
	n = take(w, level);
	if (n <= 0) {
		struct db_error err = w->db.err;

		db_rollback(&w->db);
		w->db.err = err;
		return n;
	}
	patient(w);
	if (db_commit(&w->db) < 0)
		return -1;
	w->e->rows += n;
	w->e->claims += w->claims;
	return n;
}

static void run(struct work *w)
{
	for (int level = 0; level < LEVELS; level++)
		for (int n = 1; n > 0 && clock_mono_ms() < w->e->until_ms;) {
			n = transaction(w, level);
			if (n < 0) {
				w->e->failed = true;
				w->e->err = w->db.err;
				return;
			}
		}
}

/* A connection that is usable; the kept one may have died. */
static bool connected(struct work *w)
{
	const struct options *o = w->e->opt;
	char why[256];

	if (db_kept() && PQtransactionStatus(db_kept()) != PQTRANS_IDLE)
		db_kept_end();
	if (!db_kept())
		db_keep(db_connect_within(o->ingest_url[0] ? o->ingest_url : o->database_url,
			CONNECT_MS, why, sizeof(why)));
	if (!db_kept()) {
		log_debug("a retention cannot connect why=\"%s\"", why);
		w->e->failed = true;
		w->e->err = (struct db_error){.kind = DB_DOWN};
		return false;
	}
	db_blocking(&w->db, db_kept(), &w->a);
	return true;
}

void expirer_run(void *arg)
{
	static _Thread_local struct work w; /* too large for a thread's stack */

	w.e = arg;
	w.e->failed = false;
	arena_init(&w.a, ROWS_MEMORY);
	arena_init(&w.blob, BLOB_MEMORY);
	if (connected(&w)) {
		run(&w);
		if (w.e->failed)
			db_kept_end();
	}
	arena_free(&w.blob);
	arena_free(&w.a);
}
