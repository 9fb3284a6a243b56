/*
 * See reader.h. Rows are decoded as they arrive and forgotten after the callback,
 * so memory does not depend on the size of the project.
 */
#include "q.h"
#include "shm/base/list.h"
#include "shm/base/log.h"
#include "worker/db/codec.h"
#include "worker/db/sqlstate.h"
#include "worker/store/people_cache.h"
#include "worker/store/reader_internal.h"
#include "worker/store/sealed.h"

struct reader *reader_of(struct db_stream *st)
{
	return list_item(st, struct reader, stream);
}

enum stream_next reader_fail(struct reader *r, enum reader_error error)
{
	r->error = error;
	return STREAM_FAIL;
}

void reader_init(struct reader *r, PGconn *conn, int32_t project, struct arena *a,
	size_t scratch_cap, bool (*stop)(struct db_stream *st))
{
	*r = (struct reader){.project = project};
	db_stream(&r->stream, conn, a);
	r->stream.stop = stop;
	arena_init(&r->scratch, scratch_cap);
}

void reader_free(struct reader *r)
{
	if (r->shared)
		people_cache_release(r->shared);
	r->shared = NULL;
	arena_free(&r->scratch);
}

/* The connection is copied, too, but the second thread has no use for it: what the twin reads it
 * reads on the first one, afterwards (reader_twin.c). The base in r->shared is the original's to
 * release. */
void reader_twin(struct reader *r, const struct reader *of, size_t scratch_cap)
{
	*r = *of;
	r->stream.bytes = r->n_segments = r->n_events = 0;
	r->shared = NULL;
	r->twin = NULL;
	r->second = true;
	arena_init(&r->scratch, scratch_cap);
}

int reader_done(struct reader *r, int n)
{
	if (n < 0 && r->error == READER_OK)
		r->error = r->stream.db.err.kind == DB_MEMORY ? READER_MEMORY : READER_DB;
	return r->error == READER_OK ? 0 : -1;
}

enum stream_next reader_broken(struct reader *r, const char *what)
{
	if (r->scratch.over)
		return reader_fail(r, READER_MEMORY);
	log_err("stored bytes are broken project=%d what=%s", r->project, what);
	return reader_fail(r, READER_BROKEN);
}

/* ---- who is being erased ---- */

static enum stream_next tomb_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_tombstones_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK ||
		!tombs_add(&r->tombs, row.distinct_id, row.high, 0))
		return reader_fail(r, READER_MEMORY);
	return STREAM_MORE;
}

/* In the scan's own snapshot: who is hidden there is hidden at both levels, or at none. */
static int read_tombs(struct reader *r)
{
	struct q_scan_tombstones_row *rows;

	tombs_init(&r->tombs, r->stream.db.arena);
	if (r->everybody)
		return 0;
	r->stream.row = tomb_row;
	return reader_done(r, q_scan_tombstones(&r->stream.db,
				      &(struct q_scan_tombstones_args){r->project}, &rows));
}

/* ---- segments ---- */

enum stream_next reader_give(struct reader *r, const struct evseg *s)
{
	r->n_segments++;
	r->n_events += s->n;
	return r->segment(r, s, &r->scratch);
}

/* Hides what a retention no longer shows. */
static bool mask_before(struct evseg *s, int64_t floor_ms, struct arena *a)
{
	uint8_t *masked = arena_zalloc(a, s->n);
	const int64_t *times;

	if (!masked || !evseg_times(s, a, &times))
		return false;
	for (uint32_t i = 0; i < s->n; i++)
		masked[i] = (s->masked && s->masked[i]) || times[i] < floor_ms;
	s->masked = masked;
	return true;
}

bool reader_hide(struct reader *r, struct evseg *s, const struct hidden *h)
{
	return tombs_mask(&r->tombs, s, h->place, &r->scratch) &&
	       (!h->floor_ms || mask_before(s, *h->floor_ms, &r->scratch));
}

static enum stream_next take_blob(struct reader *r, int32_t n, struct db_int4s refused,
	struct str data, const struct hidden *h)
{
	struct evseg s;

	if (!evseg_open(&s, data, &r->scratch) || n < 0 || s.n != (uint32_t)n ||
		!evseg_mask(&s, refused.v, (uint32_t)refused.n, &r->scratch) ||
		!reader_hide(r, &s, h))
		return reader_broken(r, "inbox");
	return reader_give(r, &s);
}

/* `whole`: all columns must be there, so that a lost one is noticed. Without `h` nothing is
 * hidden. */
static enum stream_next take_sealed(
	struct reader *r, const struct sealed *row, bool whole, const struct hidden *h)
{
	struct evseg s;

	if (!sealed_open(&s, row, &r->scratch))
		return reader_broken(r, "segment");
	if ((whole && row->part.n != row->columns) || (!whole && !reader_has_needed(r, &s)))
		return reader_broken(r, "segment");
	if (h && !reader_hide(r, &s, h))
		return reader_broken(r, "segment");
	s.partial = row->part.n != row->columns;
	return reader_give(r, &s);
}

/* Ids of inbox rows are drawn from pugd.inbox_order: the id is the place. */
static enum stream_next inbox_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_inbox_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	return take_blob(r, row.n, row.refused, row.data,
		&(struct hidden){row.id, row.floor_ms_null ? NULL : &row.floor_ms});
}

static enum stream_next all_columns(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_segments_whole_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	return take_sealed(r, SEALED(&row), true,
		&(struct hidden){row.place, row.floor_ms_null ? NULL : &row.floor_ms});
}

/* By falling tmax, so that what comes after "enough" is older still. To end there cancels the
 * statement, which aborts the transaction (scan.c goes on from a savepoint). */
static enum stream_next newest_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_newest_row row;
	struct hidden h;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	if (r->enough(r, row.tmax))
		return STREAM_ENOUGH;
	h = (struct hidden){row.place, row.floor_ms_null ? NULL : &row.floor_ms};
	if (row.columns_null)
		return take_blob(r, row.n, row.refused, row.blob, &h);
	return take_sealed(r, SEALED(&row), !r->need, &h);
}

static enum stream_next named_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_segments_of_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	return take_sealed(r, SEALED(&row), true, NULL);
}

static enum stream_next names_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_names_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	if (r->names(r, row.names))
		return STREAM_MORE;
	return r->stream.db.arena->over ? reader_fail(r, READER_MEMORY) : reader_broken(r, "names");
}

/* Of segments that show all their events. scan_segments_whole gives the others: both go by
 * tombs.highest, in one snapshot, so that each segment comes exactly once. */
static int scan_names(struct reader *r)
{
	struct q_scan_names_args args = {r->project, r->tombs.highest};
	struct q_scan_names_row *names;

	r->stream.row = names_row;
	return q_scan_names(&r->stream.db, &args, &names);
}

enum { DAY_MS = 86400000, DAY_FIRST = -700000, DAY_LAST = 2900000 };

int32_t reader_day(int64_t ms)
{
	int64_t day = ms / DAY_MS - (ms % DAY_MS < 0);

	return (int32_t)(day < DAY_FIRST ? DAY_FIRST : day > DAY_LAST ? DAY_LAST : day);
}

static int scan_sealed(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	struct q_scan_segments_whole_args whole = {r->project, from_ms, to_ms, reader_day(from_ms),
		reader_day(to_ms), {r->kinds, (int)r->n_kinds},
		r->names ? &r->tombs.highest : NULL};
	struct q_scan_segments_whole_row *rows;

	if (r->names && scan_names(r) < 0)
		return -1;
	if (r->need)
		return r->cache ? reader_cached(r, from_ms, to_ms)
				: reader_parts(r, from_ms, to_ms);
	r->stream.row = all_columns;
	return q_scan_segments_whole(&r->stream.db, &whole, &rows);
}

/* The inbox has events of any day; kernels rely on nothing coming for a day that is over once
 * sealed segments have begun (settle() in scan.c), so it goes first. */
int reader_scan(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	struct q_scan_inbox_args args = {r->project, from_ms, to_ms};
	struct q_scan_inbox_row *rows;

	if (read_tombs(r) < 0)
		return -1;
	r->stream.row = inbox_row;
	if (q_scan_inbox(&r->stream.db, &args, &rows) < 0)
		return reader_done(r, -1);
	return reader_done(r, scan_sealed(r, from_ms, to_ms));
}

int reader_scan_newest(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	struct q_scan_newest_args args = {.project = r->project,
		.from_ms = from_ms,
		.to_ms = to_ms,
		.from_day = reader_day(from_ms),
		.to_day = reader_day(to_ms),
		.kinds = {r->kinds, (int)r->n_kinds},
		.whole = !r->need};
	struct q_scan_newest_row *rows;
	struct reader_wanted w;

	if (read_tombs(r) < 0)
		return -1;
	if (!reader_wanted(r, &w, r->stream.db.arena)) {
		r->error = READER_MEMORY;
		return -1;
	}
	args.part = w.part;
	args.scope = w.scope;
	args.key = w.key;
	r->stream.row = newest_row;
	return reader_done(r, q_scan_newest(&r->stream.db, &args, &rows));
}

int reader_segments(struct reader *r, const int32_t *days, const int64_t *ids, uint32_t n)
{
	struct q_scan_segments_of_args args = {r->project, {days, (int)n}, {ids, (int)n}};
	struct q_scan_segments_of_row *rows;

	r->stream.row = named_row;
	return reader_done(r, q_scan_segments_of(&r->stream.db, &args, &rows));
}
