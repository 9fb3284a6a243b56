/*
 * See sealer.h. What a transaction may hold is bounded three times: by events, by stored
 * bytes (both before anything is locked) and by the arenas; where these are too small, it
 * is rolled back and tried with half the rows.
 */
#include "worker/store/sealer_internal.h"

#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/db/blocking.h"
#include "worker/db/sqlstate.h"
#include "worker/store/put.h"

enum { TAKE_ROWS = 4096, LOCK_MS = 2000, STATEMENT_MS = 60000 };

void sealer_init(struct sealer *s, uint64_t memory)
{
	*s = (struct sealer){0};
	/* sources: what libpq's rows are copied to; a: rows and results; scratch: a column */
	arena_init(&s->sources, memory / 4);
	arena_init(&s->a, memory / 4);
	arena_init(&s->scratch, memory / 2);
}

void sealer_free(struct sealer *s)
{
	arena_free(&s->sources);
	arena_free(&s->a);
	arena_free(&s->scratch);
}

void sealer_connection(struct sealer *s, PGconn *conn)
{
	db_blocking(&s->db, conn, &s->sources);
}

void sealer_empty(struct sealer *s)
{
	arena_reset(&s->sources);
	arena_reset(&s->a);
	arena_reset(&s->scratch);
}

/* Of our own clock, beside the statement_timeout: a server that stands still ends nothing. */
void sealer_patient(struct sealer *s)
{
	s->db.deadline_ms = clock_mono_ms() + STATEMENT_MS;
}

/* READ COMMITTED: statements after seal_lock() see what was committed while it was waited for,
 * and rows that others have taken are passed over instead of failing the transaction. */
int sealer_begin(struct sealer *s)
{
	return db_blocking_begin(&s->db, "ISOLATION LEVEL READ COMMITTED", LOCK_MS, STATEMENT_MS);
}

/* A statement that is still under way takes no ROLLBACK: whoever has the connection closes it. */
enum sealer_end sealer_trouble(struct sealer *s)
{
	struct db_error err = s->db.err;

	if (PQtransactionStatus(s->db.impl) == PQTRANS_INTRANS ||
		PQtransactionStatus(s->db.impl) == PQTRANS_INERROR)
		db_rollback(&s->db);
	s->db.err = err;
	return SEALER_DB;
}

/* Nothing is built when only the first *fit sources go together. */
enum merge_end sealer_build(struct sealer *s, const struct evseg *src, uint32_t n, uint32_t *fit,
	struct merge_segment **out, uint32_t *n_out)
{
	uint64_t in = 0, came_out = 0;
	enum merge_end end;

	*fit = merge_fits(src, n, &s->scratch);
	if (*fit == 0)
		return MERGE_MEMORY;
	if (*fit < n)
		return MERGE_OK;
	end = merge_segments(src, n, &s->a, &s->scratch, out, n_out);
	if (end != MERGE_OK)
		return end;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < src[i].n; k++)
			in += !src[i].masked || !src[i].masked[k];
	for (uint32_t i = 0; i < *n_out; i++)
		came_out += (*out)[i].n;
	/* every event that went in comes out, or nothing is touched */
	return in == came_out ? MERGE_OK : MERGE_BROKEN;
}

int sealer_due(struct sealer *s, const struct sealer_due *due, int32_t **projects)
{
	struct q_seal_due_args args = {due->events, due->commits, due->age_ms * 1000};
	struct q_seal_due_row *rows;
	int n;

	sealer_empty(s);
	sealer_patient(s);
	n = q_seal_due(&s->db, &args, &rows);
	if (n < 0)
		return -1;
	*projects = arena_array(&s->a, (size_t)n + 1, sizeof(**projects));
	if (!*projects)
		return db_fail(&s->db.err, DB_MEMORY);
	for (int i = 0; i < n; i++)
		(*projects)[i] = rows[i].project;
	return n;
}

int sealer_tidy(struct sealer *s, bool shrink)
{
	sealer_empty(s);
	sealer_patient(s);
	return shrink ? q_seal_shrink(&s->db) : q_seal_tidy(&s->db);
}

int sealer_highs(struct sealer *s, int32_t project, struct arena *a, struct db_int8s *highs)
{
	struct q_seal_fence_row fence;
	struct q_seal_highs_row *rows;
	int64_t *v;
	int n;

	/* A deletion that comes after the fence gets a greater `high` than every place that was
	 * given out before. */
	sealer_patient(s);
	if (q_seal_fence(&s->db, &(struct q_seal_fence_args){project}, &fence) < 0)
		return -1;
	n = q_seal_highs(&s->db, &(struct q_seal_highs_args){project}, &rows);
	if (n < 0)
		return -1;
	v = arena_array(a, (size_t)n + 1, sizeof(*v));
	if (!v)
		return db_fail(&s->db.err, DB_MEMORY);
	for (int i = 0; i < n; i++)
		v[i] = rows[i].high;
	*highs = (struct db_int8s){v, n};
	return 0;
}

/* The same as width_bucket() says in merge_due and merge_list. */
int sealer_side(struct db_int8s highs, int64_t place)
{
	int n = 0;

	while (n < highs.n && highs.v[n] <= place)
		n++;
	return n;
}

int sealer_lock(struct sealer *s, int32_t project)
{
	struct q_seal_lock_row row;

	sealer_patient(s);
	return q_seal_lock(&s->db, &(struct q_seal_lock_args){project, false}, &row);
}

/* ---- which rows ---- */

/* Leaves those that lie on one side of every deletion; the number, or -1. After they were listed:
 * for rows that come later the fence is too early. */
static int one_side(struct sealer *s, int32_t project, struct db_int8s *ids)
{
	struct db_int8s highs;
	int side, n = 1;

	if (sealer_highs(s, project, &s->sources, &highs) < 0)
		return -1;
	side = sealer_side(highs, ids->v[0]);
	while (n < ids->n && sealer_side(highs, ids->v[n]) == side)
		n++;
	return ids->n = n;
}

/* Ids of the oldest rows, at most `most`; the number, or -1. */
static int choose(struct sealer *s, int32_t project, int most, struct db_int8s *ids)
{
	struct q_seal_list_args args = {
		.project = project, .not_these = {s->skip, s->n_skip}, .batch = most};
	struct q_seal_list_row *rows;
	int64_t events = 0, bytes = 0, *v;
	int n, k = 0;

	sealer_patient(s);
	n = q_seal_list(&s->db, &args, &rows);
	if (n <= 0)
		return n;
	v = arena_array(&s->sources, (size_t)n, sizeof(*v));
	if (!v)
		return db_fail(&s->db.err, DB_MEMORY);
	for (; k < n; k++) {
		events += rows[k].n;
		bytes += rows[k].bytes;
		if (k > 0 && (events > TAKE_EVENTS || bytes > TAKE_BYTES))
			break;
		v[k] = rows[k].id;
	}
	*ids = (struct db_int8s){v, k};
	return k > 0 ? one_side(s, project, ids) : 0;
}

/* Until this process ends, or SEALER_SKIP others were met: then it is tried, and logged,
 * again. */
static void leave_alone(struct sealer *s, int32_t project, int64_t id, enum merge_end why)
{
	log_err("an inbox row cannot be sealed and stays project=%d id=%lld why=%s", project,
		(long long)id, why == MERGE_MEMORY ? "memory" : "broken");
	s->skip[s->next_skip] = id;
	s->next_skip = (s->next_skip + 1) % SEALER_SKIP;
	s->n_skip += s->n_skip < SEALER_SKIP;
}

/* ---- one transaction ---- */

struct work {
	int32_t project;
	struct q_seal_take_row *rows;
	uint32_t n;
	struct evseg *src;
	struct merge_segment *segments;
	uint32_t n_segments;
	uint64_t events; /* as their rows say */
};

/* What a row says of its counts must fit: usage was counted by it when it was taken out (D42). */
static enum merge_end open_rows(struct sealer *s, struct work *w)
{
	w->src = arena_array(&s->a, w->n + 1, sizeof(*w->src));
	if (!w->src)
		return MERGE_MEMORY;
	for (uint32_t i = 0; i < w->n; i++) {
		const struct q_seal_take_row *r = &w->rows[i];

		if (!evseg_open(&w->src[i], r->data, &s->a) || r->n < 0 ||
			w->src[i].n != (uint32_t)r->n || r->stored + r->refused.n != r->n ||
			!evseg_mask(&w->src[i], r->refused.v, (uint32_t)r->refused.n, &s->a))
			return s->a.over ? MERGE_MEMORY : MERGE_BROKEN;
		w->events += (uint64_t)r->stored;
	}
	return MERGE_OK;
}

static int put(struct sealer *s, const struct work *w)
{
	/* rows are in the order of their ids */
	struct put_where where = {
		.project = w->project, .place = w->rows[w->n - 1].id, .scratch = &s->scratch};

	sealer_patient(s);
	return put_segments(&s->db, &where, w->segments, w->n_segments);
}

static void note_days(struct sealer *s, const struct work *w)
{
	for (uint32_t i = 0; i < w->n_segments; i++) {
		int32_t day = w->segments[i].day;
		int k = 0;

		while (k < s->n_days && s->days[k] != day)
			k++;
		/* a full list is no harm: the days come again with their next segments */
		if (k == s->n_days && k < SEALER_DAYS)
			s->days[s->n_days++] = day;
	}
}

/* Inside a transaction, which it ends unless it says SEALER_DB. *again: with how many
 * rows to try again, 0: it is done. Halving closes in on what cannot be read: what is older than
 * that is sealed on the way, until it is alone. */
static enum sealer_end seal(
	struct sealer *s, int32_t project, struct db_int8s ids, enum merge_end *end, int *again)
{
	struct q_seal_take_args args = {
		.project = project, .from_id = ids.v[0], .to_id = ids.v[ids.n - 1], .ids = ids};
	struct work w = {.project = project};
	uint32_t fit;
	int n;

	if (sealer_lock(s, project) < 0)
		return SEALER_DB;
	sealer_patient(s);
	n = q_seal_take(&s->db, &args, &w.rows);
	if (n < 0)
		return SEALER_DB;
	w.n = fit = (uint32_t)n;
	*end = open_rows(s, &w);
	if (*end == MERGE_OK && n > 0)
		*end = sealer_build(s, w.src, w.n, &fit, &w.segments, &w.n_segments);
	if (n == 0 || *end != MERGE_OK || fit < w.n) {
		/* another keeper was faster; or too many keys, too much for the memory,
		 * something broken: with fewer rows then */
		*again = *end == MERGE_OK ? (int)fit : ids.n / 2;
		db_rollback(&s->db);
		return n == 0 ? SEALER_IDLE : SEALER_BUSY;
	}
	if (put(s, &w) < 0)
		return SEALER_DB;
	sealer_patient(s);
	if (db_commit(&s->db) < 0)
		return SEALER_DB;
	s->n_rows += w.n;
	s->n_events += w.events;
	s->n_segments += w.n_segments;
	note_days(s, &w);
	return SEALER_BUSY;
}

/* One attempt; *again as above. */
static enum sealer_end attempt(struct sealer *s, int32_t project, int most, int *again)
{
	struct db_int8s ids = {NULL, 0};
	enum merge_end end = MERGE_OK;
	enum sealer_end done;
	int n;

	sealer_empty(s);
	*again = 0;
	n = choose(s, project, most, &ids);
	if (n <= 0)
		return n < 0 ? sealer_trouble(s) : SEALER_IDLE;
	if (db_blocking_begin(&s->db, "ISOLATION LEVEL READ COMMITTED", LOCK_MS, STATEMENT_MS) < 0)
		return sealer_trouble(s);
	done = seal(s, project, ids, &end, again);
	if (done == SEALER_DB) {
		(void)sealer_trouble(s);
		if (s->db.err.kind != DB_MEMORY)
			return SEALER_DB;
		end = MERGE_MEMORY;
		*again = n / 2;
	}
	if (end != MERGE_OK && n == 1)
		leave_alone(s, project, ids.v[0], end);
	return done == SEALER_IDLE ? SEALER_IDLE : SEALER_BUSY;
}

enum sealer_end sealer_seal(struct sealer *s, int32_t project)
{
	enum sealer_end done;
	int most = TAKE_ROWS;

	do
		done = attempt(s, project, most, &most);
	while (done == SEALER_BUSY && most > 0);
	return done;
}
