/*
 * See reader.h. Rows are decoded as they arrive and forgotten after the callback,
 * so memory does not depend on the size of the project.
 */
#include "q.h"
#include "shm/base/list.h"
#include "shm/base/log.h"
#include "worker/db/codec.h"
#include "worker/db/sqlstate.h"
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
	arena_free(&r->scratch);
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

static enum stream_next give(struct reader *r, const struct evseg *s)
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

/* Who is hidden from a segment. */
struct hidden {
	int64_t place;           /* of its events in pugd.inbox_order */
	const int64_t *floor_ms; /* or NULL */
};

static bool hide(struct reader *r, struct evseg *s, const struct hidden *h)
{
	return tombs_mask(&r->tombs, s, h->place, &r->scratch) &&
	       (!h->floor_ms || mask_before(s, *h->floor_ms, &r->scratch));
}

static enum stream_next take_blob(struct reader *r, int32_t n, struct db_int4s refused,
	struct str data, const struct hidden *h)
{
	struct evseg s;

	if (!evseg_open(&s, data, &r->scratch) || n < 0 || s.n != (uint32_t)n ||
		!evseg_mask(&s, refused.v, (uint32_t)refused.n, &r->scratch) || !hide(r, &s, h))
		return reader_broken(r, "inbox");
	return give(r, &s);
}

static bool has(const struct evseg *s, enum part_kind kind)
{
	return evseg_find(s, kind, SCOPE_AUTO, STR("")) != NULL;
}

/* Who is hidden is known by text. */
static bool numbers_will_do(const struct reader *r)
{
	return r->need->numbers && r->tombs.n == 0;
}

/* Every event has these: a lost column must not look like values that are missing. */
static bool has_needed(const struct reader *r, const struct evseg *s)
{
	bool distinct = r->need->distinct || r->tombs.n > 0;

	return (s->flat || has(s, PART_TIME)) && (s->kind.n > 0 || has(s, PART_KIND)) &&
	       (!distinct || has(s, PART_DISTINCT) ||
		       (numbers_will_do(r) && has(s, PART_NUMBER))) &&
	       (!r->need->ids || has(s, PART_ID));
}

/* `whole`: all columns must be there, so that a lost one is noticed. Without `h` nothing is
 * hidden. */
static enum stream_next take_sealed(
	struct reader *r, const struct sealed *row, bool whole, const struct hidden *h)
{
	struct evseg s;

	if (!sealed_open(&s, row, &r->scratch))
		return reader_broken(r, "segment");
	if (!whole) {
		s.kind = row->kind;
		s.flat = row->flat;
		s.flat_ms = row->tmin;
	}
	if ((whole && row->part.n != row->columns) || (!whole && !has_needed(r, &s)))
		return reader_broken(r, "segment");
	if (h && !hide(r, &s, h))
		return reader_broken(r, "segment");
	s.partial = row->part.n != row->columns;
	return give(r, &s);
}

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

static enum stream_next some_columns(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_segments_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	return take_sealed(r,
		&(struct sealed){row.id, row.n, row.columns, row.part, row.scope, row.raw,
			row.stored, row.crc, row.key, row.data, row.kind, row.flat, row.tmin},
		false, &(struct hidden){row.place, row.floor_ms_null ? NULL : &row.floor_ms});
}

static enum stream_next all_columns(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_segments_whole_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	return take_sealed(r,
		&(struct sealed){.id = row.id,
			.n = row.n,
			.columns = row.columns,
			.part = row.part,
			.scope = row.scope,
			.raw = row.raw,
			.stored = row.stored,
			.crc = row.crc,
			.key = row.key,
			.data = row.data},
		true, &(struct hidden){row.place, row.floor_ms_null ? NULL : &row.floor_ms});
}

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
	return take_sealed(r,
		&(struct sealed){.id = row.id,
			.n = row.n,
			.columns = row.columns,
			.part = row.part,
			.scope = row.scope,
			.raw = row.raw,
			.stored = row.stored,
			.crc = row.crc,
			.key = row.key,
			.data = row.data},
		!r->need, &h);
}

static enum stream_next named_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_segments_of_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	return take_sealed(r,
		&(struct sealed){.id = row.id,
			.n = row.n,
			.columns = row.columns,
			.part = row.part,
			.scope = row.scope,
			.raw = row.raw,
			.stored = row.stored,
			.crc = row.crc,
			.key = row.key,
			.data = row.data},
		true, NULL);
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

/* Of segments that show all their events. */
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

/* A list of columns. */
struct wanted {
	struct db_int4s part, scope;
	struct db_texts key;
};

/* Those that batch_load() asks a segment for, and those that say who is hidden; none
 * without `need`. False at the arena's cap. */
static bool list_wanted(const struct reader *r, struct wanted *out, struct arena *a)
{
	const struct batch_need *need = r->need;
	uint32_t most = 6 + (need ? need->n_props : 0);
	int32_t *part = arena_array(a, most, sizeof(*part));
	int32_t *scope = arena_array(a, most, sizeof(*scope));
	struct str *key = arena_array(a, most, sizeof(*key));
	int n = 0;

	if (!part || !scope || !key)
		return false;
	*out = (struct wanted){{part, 0}, {scope, 0}, {key, 0}};
	if (!need)
		return true;
	part[n++] = PART_TIME;
	part[n++] = PART_KIND;
	if (need->distinct || r->tombs.n > 0)
		part[n++] = PART_DISTINCT;
	if (need->distinct && numbers_will_do(r))
		part[n++] = PART_NUMBER;
	if (need->session)
		part[n++] = PART_SESSION;
	if (need->ids)
		part[n++] = PART_ID;
	for (int i = 0; i < n; i++)
		key[i] = STR("");
	for (uint32_t i = 0; i < need->n_props; i++) {
		part[n] = PART_PROP;
		scope[n] = (int32_t)need->props[i].scope;
		key[n++] = need->props[i].key;
	}
	out->part.n = out->scope.n = out->key.n = n;
	return true;
}

static int scan_sealed(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	struct q_scan_segments_args some = {.project = r->project,
		.from_ms = from_ms,
		.to_ms = to_ms,
		.from_day = reader_day(from_ms),
		.to_day = reader_day(to_ms),
		.kinds = {r->kinds, (int)r->n_kinds}};
	struct q_scan_segments_whole_args whole = {r->project, from_ms, to_ms, some.from_day,
		some.to_day, some.kinds, r->names ? &r->tombs.highest : NULL};
	struct q_scan_segments_whole_row *all_rows;
	struct q_scan_segments_row *rows;
	struct wanted w;

	if (r->names && scan_names(r) < 0)
		return -1;
	if (!r->need) {
		r->stream.row = all_columns;
		return q_scan_segments_whole(&r->stream.db, &whole, &all_rows);
	}
	if (!list_wanted(r, &w, r->stream.db.arena))
		return db_fail(&r->stream.db.err, DB_MEMORY);
	some.part = w.part;
	some.scope = w.scope;
	some.key = w.key;
	some.numbers = numbers_will_do(r);
	some.flat = r->need->flat;
	some.edges = (struct db_int8s){r->need->edges, (int)r->need->n_edges};
	r->stream.row = some_columns;
	return q_scan_segments(&r->stream.db, &some, &rows);
}

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
	struct wanted w;

	if (read_tombs(r) < 0)
		return -1;
	if (!list_wanted(r, &w, r->stream.db.arena)) {
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
