/*
 * See sealer.h: segments out of segments. Small ones are merged by tiers: as many as FAN
 * of one day, kind and tier make the next tier, so that an event is written at most
 * TIERS times after it was sealed, whatever comes in which order.
 */
#include "q.h"
#include "shm/base/log.h"
#include "worker/db/sqlstate.h"
#include "worker/store/put.h"
#include "worker/store/sealer_internal.h"

enum { FAN = 8, TIERS = 5, FULL = EVSEG_EVENTS_MAX / 2 };

/* Segments that were taken out. */
struct taken {
	int32_t project;
	struct q_segments_take_row *rows;
	uint32_t n;
	struct evseg *src;
	struct merge_segment *out;
	uint32_t n_out;
};

/* A lost column must not be covered up: once written anew, nothing says that it was there. */
static int take_columns(struct sealer *s, struct taken *t, uint32_t no, enum merge_end *end)
{
	struct q_segment_columns_take_row *rows;
	struct evseg_part *parts;
	int32_t *crcs;
	int n;

	sealer_patient(s);
	n = q_segment_columns_take(
		&s->db, &(struct q_segment_columns_take_args){t->project, t->rows[no].id}, &rows);
	if (n < 0)
		return -1;
	parts = arena_array(&s->a, (size_t)n + 1, sizeof(*parts));
	crcs = arena_array(&s->a, (size_t)n + 1, sizeof(*crcs));
	if (!parts || !crcs)
		return db_fail(&s->db.err, DB_MEMORY);
	for (int i = 0; i < n; i++) {
		parts[i] = (struct evseg_part){.kind = (enum part_kind)rows[i].part,
			.scope = (enum prop_scope)rows[i].scope,
			.key = rows[i].key,
			.raw_n = (uint32_t)rows[i].raw,
			.stored = rows[i].data};
		crcs[i] = rows[i].crc;
	}
	if (n != t->rows[no].columns || t->rows[no].n < 0 ||
		!evseg_of_parts(&t->src[no], t->rows[no].id, (uint32_t)t->rows[no].n, parts,
			(uint32_t)n, crcs))
		*end = MERGE_BROKEN;
	return 0;
}

static int take(
	struct sealer *s, struct taken *t, int32_t day, struct db_int8s ids, enum merge_end *end)
{
	struct q_segments_take_args args = {t->project, day, ids};
	struct q_segment_wait_row row;
	int n;

	if (sealer_lock(s, t->project) < 0)
		return -1;
	/* SKIP LOCKED would let an erasure pass over what a merge has taken; after the wait it is
	 * there, or gone */
	for (int i = 0; s->leave_out && i < ids.n; i++) {
		struct q_segment_wait_args one = {t->project, day, ids.v[i]};

		sealer_patient(s);
		if (q_segment_wait(&s->db, &one, &row) < 0)
			return -1;
	}
	sealer_patient(s);
	n = q_segments_take(&s->db, &args, &t->rows);
	if (n <= 0)
		return n;
	t->n = (uint32_t)n;
	t->src = arena_array(&s->a, t->n, sizeof(*t->src));
	if (!t->src)
		return db_fail(&s->db.err, DB_MEMORY);
	for (uint32_t i = 0; i < t->n && *end == MERGE_OK; i++) {
		const struct q_segments_take_row *r = &t->rows[i];

		if (take_columns(s, t, i, end) < 0)
			return -1;
		if (*end == MERGE_OK && s->leave_out &&
			!s->leave_out(s, &t->src[i], r->place, &s->a))
			*end = s->a.over ? MERGE_MEMORY : MERGE_BROKEN;
	}
	return n;
}

/* The greatest place stands for all: they lie on one side of every deletion. One that is alone is
 * being erased from, which is no merge and costs no tier. */
static int put(struct sealer *s, const struct taken *t)
{
	struct put_where where = {.project = t->project,
		.place = INT64_MIN,
		.scratch = &s->scratch,
		.known = t->src,
		.n_known = t->n};

	for (uint32_t i = 0; i < t->n; i++) {
		const struct q_segments_take_row *r = &t->rows[i];

		if (r->tier + (t->n > 1) > where.tier)
			where.tier = r->tier + (t->n > 1);
		if (r->place > where.place)
			where.place = r->place;
	}
	sealer_patient(s);
	return put_segments(&s->db, &where, t->out, t->n_out);
}

/* Inside a transaction. 1: it may be committed, 0: not (with *again as below), -1: db.err. */
static int rewrite(struct sealer *s, struct taken *t, int32_t day, struct db_int8s ids, int *again)
{
	enum merge_end end = MERGE_OK;
	uint32_t fit = 0;
	int n = take(s, t, day, ids, &end);

	/* one alone is no merge: others have the rest */
	if (n <= 0 || (n == 1 && !s->leave_out))
		return n < 0 ? n : 0;
	if (end == MERGE_OK)
		end = sealer_build(s, t->src, t->n, &fit, &t->out, &t->n_out);
	if (end == MERGE_OK && fit == t->n)
		return put(s, t) < 0 || (s->also && s->also(s) < 0) ? -1 : 1;
	s->why = end;
	if (end == MERGE_BROKEN)
		log_err("segments cannot be merged and stay project=%d day=%d first=%lld n=%d",
			t->project, day, (long long)ids.v[0], n);
	*again = end == MERGE_OK ? (int)fit : end == MERGE_MEMORY ? n / 2 : 0;
	return 0;
}

enum sealer_end sealer_rewrite(
	struct sealer *s, int32_t project, int32_t day, const int64_t *ids, int n, int *again)
{
	struct taken t = {.project = project};
	int done;

	sealer_empty(s);
	*again = 0;
	s->why = MERGE_OK;
	if (sealer_begin(s) < 0)
		return sealer_trouble(s);
	done = rewrite(s, &t, day, (struct db_int8s){ids, n}, again);
	if (done < 0) {
		(void)sealer_trouble(s);
		if (s->db.err.kind != DB_MEMORY)
			return SEALER_DB;
		/* rows that came were too much for their arena */
		s->why = MERGE_MEMORY;
		*again = n / 2;
		return SEALER_IDLE;
	}
	if (done == 0) {
		db_rollback(&s->db);
		return SEALER_IDLE;
	}
	sealer_patient(s);
	if (db_commit(&s->db) < 0)
		return sealer_trouble(s);
	s->n_merged += t.n;
	s->n_segments += t.n_out;
	return SEALER_BUSY;
}

/* The oldest ones that may go together; their number, or -1. `ids` has room for what
 * merge_list gives. */
static int choose(struct sealer *s, const struct q_merge_list_args *args, int64_t *ids, int most)
{
	struct q_merge_list_row *rows;
	struct db_int8s highs;
	int64_t events = 0, bytes = 0;
	int n, k = 0;

	sealer_patient(s);
	n = q_merge_list(&s->db, args, &rows);
	if (n < FAN)
		return n < 0 ? -1 : 0;
	/* somebody may have been deleted since `args` were made */
	if (sealer_highs(s, args->project, &s->sources, &highs) < 0)
		return -1;
	for (; k < n && k < most; k++) {
		if (sealer_side(highs, rows[k].place) != sealer_side(highs, rows[0].place))
			break;
		events += rows[k].n;
		bytes += rows[k].bytes;
		if (k > 0 && (events > TAKE_EVENTS || bytes > TAKE_BYTES))
			break;
		ids[k] = rows[k].id;
	}
	return k;
}

enum { LIST_MAX = 64 }; /* as merge_list */

/* Merges what it can of one day, kind and tier, once. */
static enum sealer_end merge_some(struct sealer *s, const struct q_merge_list_args *args)
{
	int64_t ids[LIST_MAX];
	int most = LIST_MAX;

	while (most > 1) {
		enum sealer_end end;
		int n;

		sealer_empty(s);
		n = choose(s, args, ids, most);
		if (n < 0)
			return sealer_trouble(s);
		if (n < 2)
			return SEALER_IDLE;
		end = sealer_rewrite(s, args->project, args->day, ids, n, &most);
		if (end != SEALER_IDLE)
			return end;
	}
	return SEALER_IDLE;
}

/* The arguments of merge_list for what is due, copied out of the arenas; or -1. Those are emptied
 * before each merge; `a` lasts for all of them. */
static int due(struct sealer *s, int32_t project, struct db_int4s days, struct q_merge_list_args *v,
	int most, struct arena *a)
{
	struct q_merge_due_args args = {project, days, FULL, TIERS, FAN, {NULL, 0}, s->passed};
	struct q_merge_due_row *rows;
	int n, k;

	if (sealer_highs(s, project, a, &args.highs) < 0)
		return -1;
	sealer_patient(s);
	n = q_merge_due(&s->db, &args, &rows);
	for (k = 0; k < n && k < most; k++) {
		char *kind = arena_str(a, rows[k].kind);

		if (!kind)
			return db_fail(&s->db.err, DB_MEMORY);
		v[k] = (struct q_merge_list_args){project, rows[k].day, {kind, rows[k].kind.n},
			rows[k].tier, FULL, args.highs, rows[k].side};
	}
	return n < 0 ? -1 : k;
}

enum {
	DUE_MAX = 32,       /* as merge_due */
	KEPT_MAX = 16 << 20 /* kinds of events, deletions */
};

/* What cannot be merged (too large together, broken) is due for ever, and must not keep the days
 * behind it waiting. */
static enum sealer_end pass_over(struct sealer *s, int n)
{
	s->passed = n < DUE_MAX ? 0 : s->passed + n;
	return s->passed ? SEALER_BUSY : SEALER_IDLE;
}

static enum sealer_end merge_due(
	struct sealer *s, int32_t project, struct db_int4s days, struct arena *kinds)
{
	struct q_merge_list_args v[DUE_MAX];
	enum sealer_end end = SEALER_IDLE;
	bool busy = false;
	int n;

	if (s->passed_project != project)
		s->passed = 0;
	s->passed_project = project;
	sealer_empty(s);
	n = due(s, project, days, v, DUE_MAX, kinds);
	if (n < 0)
		return sealer_trouble(s);
	for (int i = 0; i < n && end != SEALER_DB; i++) {
		end = merge_some(s, &v[i]);
		busy |= end == SEALER_BUSY;
	}
	return end == SEALER_DB ? SEALER_DB : busy ? SEALER_BUSY : pass_over(s, n);
}

enum sealer_end sealer_merge(struct sealer *s, int32_t project, bool all_days)
{
	struct db_int4s days = {all_days ? NULL : s->days, s->n_days};
	enum sealer_end end = SEALER_IDLE;
	struct arena kinds;

	arena_init(&kinds, KEPT_MAX);
	if (all_days || s->n_days > 0)
		end = merge_due(s, project, days, &kinds);
	arena_free(&kinds);
	if (end == SEALER_IDLE)
		s->n_days = 0;
	return end;
}

enum sealer_end sealer_sweep(struct sealer *s, int32_t *project)
{
	enum sealer_end end = *project > 0 ? sealer_merge(s, *project, true) : SEALER_IDLE;
	struct q_segments_project_row row;
	int n;

	if (end != SEALER_IDLE)
		return end;
	sealer_empty(s);
	sealer_patient(s);
	n = q_segments_project(&s->db, &(struct q_segments_project_args){*project}, &row);
	if (n < 0)
		return sealer_trouble(s);
	*project = n > 0 ? row.project : 0;
	s->passed = 0;
	return n > 0 ? SEALER_BUSY : SEALER_IDLE;
}
