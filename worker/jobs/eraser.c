/* See eraser.h. What hides a person, and why nothing can slip by, is in 004_erasure.sql. */
#include "worker/jobs/eraser_internal.h"

#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/list.h"
#include "shm/base/log.h"
#include "worker/db/blocking.h"
#include "worker/db/codec.h"
#include "worker/jobs/cataloger.h"
#include "worker/mail/point.h"
#include "worker/store/prune.h"

enum {
	PASS_MEMORY = 256 << 20,  /* who is being erased */
	DB_MS = 10000,            /* one statement, and connecting */
	LOCK_MS = 2000,           /* others of the project wait behind us meanwhile */
	REWRITE_BATCH = 16,       /* segments a transaction... */
	REWRITE_BYTES = 16 << 20, /* ...or so many bytes, before */
	ADMIT_MAX = 1000,         /* requests of one pass */
	ALIAS_BATCH = 1000
};

static bool over(const struct pass *p)
{
	return clock_mono_ms() >= p->e->until_ms;
}

void erase_patient(struct pass *p)
{
	p->db.deadline_ms = clock_mono_ms() + DB_MS;
}

static bool begin(struct pass *p)
{
	erase_patient(p);
	return db_blocking_begin(&p->db, "ISOLATION LEVEL READ COMMITTED", LOCK_MS, DB_MS) == 0;
}

static bool commit(struct pass *p)
{
	erase_patient(p);
	return db_commit(&p->db) == 0;
}

void erase_count(const struct pass *p, enum counter c, int64_t n)
{
	if (p->e->seg && n > 0)
		counter_add(p->e->seg, p->e->slot_no, c, (uint64_t)n);
}

enum step erase_broken(struct pass *p, bool memory)
{
	p->why = memory ? "a stored segment needs more memory than there is for it"
			: "a stored segment is damaged";
	return STEP_BROKEN;
}

static enum step broken(struct pass *p, const struct arena *a)
{
	return erase_broken(p, a->over);
}

/* ---- looking through segments ---- */

struct scan *scan_of(struct db_stream *st)
{
	return list_item(st, struct scan, stream);
}

static bool scan_stop(struct db_stream *st)
{
	return clock_mono_ms() >= scan_of(st)->end_ms;
}

/* Ends the scan with the last place in `hits`, so that a hit always finds one. */
enum stream_next scanned(struct scan *s, int64_t id, int32_t day, bool hit)
{
	s->last = id;
	s->n++;
	if (hit) {
		s->days[s->n_hits] = day;
		s->hits[s->n_hits++] = id;
	}
	s->enough = s->n_hits == HITS_MAX || over(s->p);
	return s->enough ? STREAM_ENOUGH : STREAM_MORE;
}

enum step scan_end(struct pass *p, struct scan *s, int n)
{
	if (n >= 0)
		return s->enough || s->n == SCAN_BATCH ? STEP_MORE : STEP_LAST;
	if (s->broken)
		return broken(p, &p->blob);
	p->db.err = s->stream.db.err;
	return STEP_TROUBLE;
}

void scan_begin(struct pass *p, struct scan *s,
	enum stream_next (*row)(struct db_stream *st, const struct query *q, const PGresult *res))
{
	*s = (struct scan){.p = p, .last = p->cursor, .end_ms = clock_mono_ms() + SCAN_MS};
	db_stream(&s->stream, p->db.impl, &p->a);
	s->stream.row = row;
	s->stream.stop = scan_stop;
}

/* ---- level 0 ---- */

static enum stream_next scan_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct scan *s = scan_of(st);
	struct arena *a = &s->p->blob;
	struct q_erase_scan_row row;
	const uint32_t *owners;
	struct evseg seg;

	arena_reset(a);
	if (codec_row(q, res, 0, &row, a) != DB_OK || !evseg_open(&seg, row.data, a) ||
		!tombs_owners(&s->p->tombs, &seg, row.id, a, &owners)) {
		s->broken = true;
		return STREAM_FAIL;
	}
	return scanned(s, row.id, 0, owners != NULL);
}

/* Some segments that are written anew in one transaction, and what that changes elsewhere:
 * locks of segments come first, in their order, then those of usage_days. */
struct batch {
	int32_t days[REWRITE_BATCH];
	int64_t gone[REWRITE_BATCH];
	int n;
	size_t bytes;
};

bool erase_mark(struct pass *p, const struct evseg *seg, const uint32_t *owners, uint8_t *drop)
{
	for (uint32_t i = 0; owners && i < seg->n; i++) {
		drop[i] = owners[i] != TOMB_NONE;
		/* what was refused as a repeat was never an event */
		if (drop[i] && !(seg->masked && seg->masked[i]))
			p->counts[owners[i]]++;
	}
	return owners != NULL;
}

static bool replace(struct pass *p, int64_t id, const struct pruned *new)
{
	int32_t project = p->e->project;
	struct q_erase_replace_args args = {
		project, id, (int32_t) new->n, new->tmin, new->tmax, new->blob};

	erase_patient(p);
	if (new->n == 0)
		return q_erase_remove(&p->db, &(struct q_erase_remove_args){project, id}) >= 0;
	return q_erase_replace(&p->db, &args) >= 0;
}

/* One segment, inside the transaction. */
static enum step rewrite_one(struct pass *p, int64_t id, struct batch *b)
{
	struct q_erase_blob_row row;
	const uint32_t *owners;
	struct pruned new;
	struct evseg seg;
	uint8_t *drop;
	int n;

	arena_reset(&p->blob);
	erase_patient(p);
	n = q_erase_blob(&p->db, &(struct q_erase_blob_args){p->e->project, id}, &row);
	/* a row that does not fit would not fit later either */
	if (n < 0)
		return p->blob.over ? broken(p, &p->blob) : STEP_TROUBLE;
	if (n == 0)
		return STEP_MORE;
	if (!evseg_open(&seg, row.data, &p->blob) ||
		!evseg_mask(&seg, row.refused.v, (uint32_t)row.refused.n, &p->blob) ||
		!tombs_owners(&p->tombs, &seg, id, &p->blob, &owners))
		return broken(p, &p->blob);
	drop = arena_zalloc(&p->blob, seg.n);
	if (drop && !erase_mark(p, &seg, owners, drop))
		return STEP_MORE;
	if (!drop || !prune_events(&seg, drop, &p->blob, &new))
		return broken(p, &p->blob);
	b->days[b->n] = row.receive_day;
	b->gone[b->n++] = row.stored - (int64_t) new.n;
	b->bytes += row.data.n;
	return replace(p, id, &new) ? STEP_MORE : STEP_TROUBLE;
}

/* Segments from hits[*at] on, as many as go into one transaction; inside it. */
static enum step rewrite_batch(struct pass *p, const int64_t *hits, int n, int *at)
{
	struct batch b = {.n = 0};
	int32_t project = p->e->project;

	memset(p->counts, 0, (size_t)p->ids.n * sizeof(*p->counts));
	while (*at < n && b.n < REWRITE_BATCH && b.bytes < REWRITE_BYTES) {
		enum step step = rewrite_one(p, hits[(*at)++], &b);

		if (step != STEP_MORE)
			return step;
	}
	erase_patient(p);
	if (q_erase_usage(&p->db,
		    &(struct q_erase_usage_args){project, {b.days, b.n}, {b.gone, b.n}}) < 0 ||
		q_erase_count(&p->db,
			&(struct q_erase_count_args){project, p->ids, {p->counts, p->ids.n}}) < 0)
		return STEP_TROUBLE;
	mail_point(p->e->opt, "erase-rewritten");
	return STEP_MORE;
}

static enum step rewrite_all(struct pass *p, const int64_t *hits, int n)
{
	struct arena *before = p->db.arena;

	for (int at = 0; at < n;) {
		enum step step = STEP_TROUBLE;

		if (begin(p)) {
			/* rows hold whole blobs: each is forgotten before the next
			 * (rewrite_one()) */
			p->db.arena = &p->blob;
			step = rewrite_batch(p, hits, n, &at);
			p->db.arena = before;
		}
		if (step != STEP_MORE) {
			db_rollback(&p->db);
			return step;
		}
		if (!commit(p))
			return STEP_TROUBLE;
		mail_point(p->e->opt, "erase-committed");
		for (int i = 0; i < p->ids.n; i++)
			erase_count(p, CTR_events_erased, p->counts[i]);
	}
	return STEP_MORE;
}

static enum step inbox_find(struct pass *p, struct scan *s)
{
	struct q_erase_scan_args args = {p->e->project, p->cursor, p->high, SCAN_BATCH};
	struct q_erase_scan_row *rows;

	scan_begin(p, s, scan_row);
	return scan_end(p, s, q_erase_scan(&s->stream.db, &args, &rows));
}

/* Segments of the inbox from the cursor on, some at a time. */
static enum step inbox_step(struct pass *p)
{
	struct scan s;
	enum step step = inbox_find(p, &s);

	if (step == STEP_TROUBLE || step == STEP_BROKEN)
		return step;
	mail_point(p->e->opt, "erase-found");
	if (s.n_hits > 0) {
		enum step done = rewrite_all(p, s.hits, s.n_hits);

		if (done != STEP_MORE)
			return done;
	}
	p->cursor = s.last;
	return step;
}

/* Names that only these persons had used. When this is interrupted, it is done again. */
static enum step catalog_step(struct pass *p)
{
	struct cataloger c = {.conn = p->db.impl, .project = p->e->project};

	cataloger_fill(&c);
	mail_point(p->e->opt, "erase-catalogued");
	if (c.end == CATALOGER_DONE)
		return STEP_LAST;
	if (c.end != CATALOGER_DB)
		return erase_broken(p, c.end == CATALOGER_MEMORY);
	p->db.err = c.err;
	return STEP_TROUBLE;
}

/* One function a storage level, in the order in which events move: what is sealed while a
 * pass is under way is met again at the next level; then what was derived from them. The
 * numbers are stored: append only. */
static enum step (*const levels[])(struct pass *p) = {
	inbox_step, segments_step, catalog_step, numbers_step};
enum { LEVELS = sizeof(levels) / sizeof(levels[0]) };

static enum step next_step(struct pass *p)
{
	struct q_erase_move_args args;
	enum step step = levels[p->level](p);

	if (step == STEP_TROUBLE || step == STEP_BROKEN)
		return step;
	if (step == STEP_LAST) {
		p->level++;
		p->cursor = 0;
	}
	args = (struct q_erase_move_args){p->e->project, p->ids, p->level, p->cursor};
	erase_patient(p);
	if (q_erase_move(&p->db, &args) < 0)
		return STEP_TROUBLE;
	mail_point(p->e->opt, "erase-moved");
	return STEP_MORE;
}

/* ---- the end of a request ---- */

static bool drop_aliases(struct pass *p, struct str profile)
{
	struct q_erase_aliases_args args = {p->e->project, profile, ALIAS_BATCH};
	int n = ALIAS_BATCH;

	while (n == ALIAS_BATCH) {
		erase_patient(p);
		n = q_erase_aliases(&p->db, &args);
	}
	return n >= 0;
}

static bool finish(struct pass *p, const struct q_erase_group_row *one)
{
	struct q_erase_finish_row row;

	if (one->profile_id.p && !drop_aliases(p, one->profile_id))
		return false;
	mail_point(p->e->opt, "erase-aliases");
	if (!begin(p) || q_erase_finish(&p->db,
				 &(struct q_erase_finish_args){p->e->project, one->id}, &row) < 0)
		return false;
	mail_point(p->e->opt, "erase-finishing");
	if (!commit(p))
		return false;
	mail_point(p->e->opt, "erase-finished");
	if (row.done) {
		erase_count(p, CTR_erasures_completed, 1);
		log_info("person erased project=%d request=%.*s", p->e->project, STR_ARG(one->id));
	}
	return true;
}

static bool finish_all(struct pass *p)
{
	for (int i = 0; i < p->ids.n; i++)
		if (!finish(p, &p->group[i]))
			return false;
	return true;
}

/* Damaged bytes or too little memory do not pass by waiting: the operator is told, and
 * whoever deletes again has it tried again. The person stays hidden. */
static bool give_up(struct pass *p)
{
	struct q_erase_failed_args args = {p->e->project, p->ids, str_of(p->why)};

	log_err("erasure failed project=%d requests=%d first=%.*s why=\"%s\"", p->e->project,
		p->ids.n, STR_ARG(p->ids.v[0]), p->why);
	erase_count(p, CTR_erasures_failed, p->ids.n);
	erase_patient(p);
	return q_erase_failed(&p->db, &args) >= 0;
}

/* ---- who is being erased ---- */

static int read_group(struct pass *p)
{
	struct q_erase_group_row *rows;
	struct str *ids;
	int n = q_erase_group(&p->db, &(struct q_erase_group_args){p->e->project}, &rows);

	if (n <= 0)
		return n;
	ids = arena_array(&p->a, (size_t)n, sizeof(*ids));
	p->counts = arena_array(&p->a, (size_t)n, sizeof(*p->counts));
	if (!ids || !p->counts)
		return -1;
	p->level = rows[0].level;
	p->cursor = rows[0].cursor;
	p->low = rows[0].high;
	for (int i = 0; i < n; i++) {
		ids[i] = rows[i].id;
		p->high = rows[i].high > p->high ? rows[i].high : p->high;
		/* the one that is least far */
		if (rows[i].level < p->level ||
			(rows[i].level == p->level && rows[i].cursor < p->cursor)) {
			p->level = rows[i].level;
			p->cursor = rows[i].cursor;
		}
	}
	p->group = rows;
	p->ids = (struct db_texts){ids, n};
	return n;
}

/* Both lists are in one order; a request that another keeper admitted meanwhile is not in
 * the group. */
static bool read_tombs(struct pass *p)
{
	struct q_erase_ids_row *rows;
	int owner = 0, n;

	erase_patient(p);
	n = q_erase_ids(&p->db, &(struct q_erase_ids_args){p->e->project}, &rows);
	tombs_init(&p->tombs, &p->a);
	for (int i = 0; i < n; i++) {
		int at = owner;

		while (at < p->ids.n && !str_eq(p->ids.v[at], rows[i].erasure))
			at++;
		if (at == p->ids.n)
			continue;
		owner = at;
		if (!tombs_add(&p->tombs, rows[i].distinct_id, rows[i].high, (uint32_t)owner))
			return false;
	}
	return n >= 0;
}

static enum eraser_end work(struct pass *p)
{
	struct q_erase_admit_args admit = {p->e->project, ADMIT_MAX};
	enum step step = STEP_MORE;
	int n;

	erase_patient(p);
	if (q_erase_admit(&p->db, &admit) < 0)
		return ERASER_TROUBLE;
	mail_point(p->e->opt, "erase-admitted");
	n = read_group(p);
	if (n <= 0)
		return n == 0 ? ERASER_DONE : ERASER_TROUBLE;
	if (!read_tombs(p)) {
		if (!p->a.over)
			return ERASER_TROUBLE;
		p->why = "the persons have more ids than there is memory for";
		step = STEP_BROKEN;
	}
	while (step == STEP_MORE && p->level < LEVELS) {
		step = next_step(p);
		if (step == STEP_MORE && p->level < LEVELS && over(p))
			return ERASER_MORE;
	}
	if (step == STEP_TROUBLE)
		return ERASER_TROUBLE;
	if (step == STEP_BROKEN)
		return give_up(p) ? ERASER_DONE : ERASER_TROUBLE;
	return finish_all(p) ? ERASER_DONE : ERASER_TROUBLE;
}

static bool open_connection(struct pass *p)
{
	const struct options *o = p->e->opt;
	char why[256];

	if (!db_kept())
		db_keep(db_connect_within(o->ingest_url[0] ? o->ingest_url : o->database_url, DB_MS,
			why, sizeof(why)));
	if (!db_kept()) {
		log_debug("erasure cannot connect why=\"%s\"", why);
		p->db.err = (struct db_error){.kind = DB_DOWN};
		return false;
	}
	db_blocking(&p->db, db_kept(), &p->a);
	sealer_connection(&p->sealer, db_kept());
	return true;
}

void eraser_run(void *arg)
{
	struct eraser *e = arg;
	struct pass p = {.e = e};

	arena_init(&p.a, PASS_MEMORY);
	arena_init(&p.blob, BLOB_MEMORY);
	sealer_init(&p.sealer, BLOB_MEMORY);
	e->end = open_connection(&p) ? work(&p) : ERASER_TROUBLE;
	e->err = p.db.err;
	/* a lost or busy connection is of no use to the next run */
	if (db_kept() &&
		(e->end == ERASER_TROUBLE || PQtransactionStatus(db_kept()) != PQTRANS_IDLE))
		db_kept_end();
	sealer_free(&p.sealer);
	arena_free(&p.blob);
	arena_free(&p.a);
}
