/* See backfill.h. Locks as in all that writes segments: sealer_lock(), the segments, numbers. */
#include "worker/store/backfill.h"

#include "q.h"
#include "worker/db/sqlstate.h"
#include "worker/store/dense.h"
#include "worker/store/put.h"
#include "worker/store/sealer_internal.h"

enum { STEP_MAX = 64 }; /* as numberless_list */

/* Segments of one project. */
struct step {
	int32_t project, day[STEP_MAX];
	int64_t id[STEP_MAX];
	uint64_t events[STEP_MAX]; /* of all up to this one */
	int n;
};

/* The same under their locks, and what they get. */
struct taken {
	struct q_numberless_take_row *rows;
	int n, put;
	struct evseg *segs;
	struct evseg_part *parts;
	bool full;
};

/* Of the first project only: lock, key and numbers are a project's. One segment always goes,
 * however many events it has. */
static int list(struct sealer *s, const struct backfill *b, struct step *step)
{
	struct q_numberless_list_row *rows;
	int n;

	sealer_patient(s);
	n = q_numberless_list(
		&s->db, &(struct q_numberless_list_args){b->project, b->day, b->id}, &rows);
	for (int i = 0; i < n && rows[i].project == rows[0].project; i++) {
		uint64_t events = (uint64_t)rows[i].n + (i > 0 ? step->events[i - 1] : 0);

		if (i > 0 && events > TAKE_EVENTS)
			break;
		step->project = rows[i].project;
		step->day[i] = rows[i].day;
		step->id[i] = rows[i].id;
		step->events[i] = events;
		step->n++;
	}
	return n < 0 ? -1 : step->n;
}

/* With the columns that it takes; one that cannot be read is empty. So is one that has a third,
 * numbers of which its row says nothing: adding them again would fail on their key. */
static int take_columns(struct sealer *s, const struct step *step, struct taken *t, int no)
{
	const struct q_numberless_take_row *row = &t->rows[no];
	struct q_numberless_columns_row *rows;
	struct evseg_part *parts;
	int32_t crcs[2];
	int n;

	sealer_patient(s);
	n = q_numberless_columns(
		&s->db, &(struct q_numberless_columns_args){step->project, row->id}, &rows);
	if (n < 0)
		return -1;
	parts = arena_array(&s->a, 2, sizeof(*parts));
	if (!parts)
		return db_fail(&s->db.err, DB_MEMORY);
	for (int i = 0; i < n && i < 2; i++) {
		parts[i] = (struct evseg_part){.kind = (enum part_kind)rows[i].part,
			.key = STR(""),
			.raw_n = (uint32_t)rows[i].raw,
			.stored = rows[i].data};
		crcs[i] = rows[i].crc;
	}
	if (n != 2 || row->n < 0 ||
		!evseg_of_parts(&t->segs[no], row->id, (uint32_t)row->n, parts, 2, crcs))
		t->segs[no] = (struct evseg){0};
	return 0;
}

/* The step is in the order of days, so its ends are the range that the planner wants. */
static int take(struct sealer *s, const struct step *step, struct taken *t)
{
	struct q_numberless_take_args args = {step->project, {step->day, step->n},
		{step->id, step->n}, step->day[0], step->day[step->n - 1]};

	if (sealer_lock(s, step->project) < 0)
		return -1;
	sealer_patient(s);
	t->n = q_numberless_take(&s->db, &args, &t->rows);
	if (t->n < 0)
		return -1;
	t->segs = arena_array(&s->a, (size_t)t->n + 1, sizeof(*t->segs));
	t->parts = arena_array(&s->a, (size_t)t->n + 1, sizeof(*t->parts));
	if (!t->segs || !t->parts)
		return db_fail(&s->db.err, DB_MEMORY);
	for (int i = 0; i < t->n; i++)
		if (take_columns(s, step, t, i) < 0)
			return -1;
	return 0;
}

/* With the numbers' memory for arguments. A project may have 32 MB of blocks, which go by in
 * scratch; t->rows and columns are in the sealer's own arena and must stay. */
static int number(struct sealer *s, const struct step *step, struct taken *t)
{
	struct dense_job job = {
		.project = step->project, .segs = t->segs, .n = (uint32_t)t->n, .parts = t->parts};
	struct arena *home = s->db.arena;
	int done;

	sealer_patient(s);
	s->db.arena = &s->scratch;
	done = dense_number(&s->db, &job, &s->a, &s->scratch);
	s->db.arena = home;
	t->full = job.full;
	return done;
}

/* Whose ids got no numbers remains as it is, for another time. Kinds are noted along: what was
 * sealed before there were numbers has none, and the column is at hand. */
static int put(struct sealer *s, const struct step *step, struct taken *t)
{
	struct put_where where = {.project = step->project, .scratch = &s->scratch};
	struct put_kinds kinds = {.a = &s->a};
	int32_t day[STEP_MAX];
	int64_t id[STEP_MAX], bytes[STEP_MAX];
	struct evseg_part parts[STEP_MAX];
	struct q_numberless_put_args args;
	int n = 0;

	for (int i = 0; i < t->n; i++) {
		if (!t->parts[i].stored.p)
			continue;
		arena_reset(&s->scratch);
		if (t->rows[i].kind.n == 0)
			put_kinds_add(&kinds, t->rows[i].id, &t->segs[i], &s->scratch);
		day[n] = t->rows[i].day;
		id[n] = t->rows[i].id;
		bytes[n] = (int64_t)t->parts[i].stored.n;
		parts[n++] = t->parts[i];
	}
	t->put = n;
	args = (struct q_numberless_put_args){.project = step->project,
		.day = {day, n},
		.id = {id, n},
		.bytes = {bytes, n},
		.of = {kinds.of, kinds.n},
		.kinds = {kinds.kind, kinds.n},
		.from_day = step->day[0],
		.to_day = step->day[step->n - 1]};
	sealer_patient(s);
	if (put_parts(&s->db, &where, id, parts, (uint32_t)n) < 0)
		return -1;
	sealer_patient(s);
	if (q_numberless_put(&s->db, &args) == n)
		return 0;
	return s->db.err.kind == DB_OK ? db_fail(&s->db.err, DB_BUG) : -1;
}

/* *t says how it went. */
static int transaction(struct sealer *s, const struct step *step, struct taken *t)
{
	*t = (struct taken){.put = 0};
	if (sealer_begin(s) < 0 || take(s, step, t) < 0)
		return -1;
	if (t->n > 0 && (number(s, step, t) < 0 || put(s, step, t) < 0))
		return -1;
	sealer_patient(s);
	return db_commit(&s->db);
}

/* When memory ends, with half of the segments. *b moves on only after a commit, or when one alone
 * takes too much. It is kept in memory: whoever begins anew finds only what has no numbers. */
enum sealer_end backfill_step(struct sealer *s, struct backfill *b)
{
	struct step step = {.n = 0};
	struct taken t = {.put = 0};
	int n, most;

	sealer_empty(s);
	n = list(s, b, &step);
	if (n <= 0)
		return n < 0 ? sealer_trouble(s) : SEALER_IDLE;
	for (most = n; most > 0; most /= 2) {
		sealer_empty(s);
		step.n = most;
		if (transaction(s, &step, &t) == 0)
			break;
		(void)sealer_trouble(s);
		t.put = 0;
		if (s->db.err.kind != DB_MEMORY)
			return SEALER_DB;
	}
	most = most ? most : 1; /* one that takes too much memory stays as it is */
	b->project = step.project;
	b->day = step.day[most - 1];
	b->id = step.id[most - 1];
	b->events += step.events[most - 1];
	b->n += (uint64_t)t.put;
	if (t.full) { /* the others of the project get none either */
		b->day = INT32_MAX / 2;
		b->id = INT64_MAX;
	}
	return SEALER_BUSY;
}
