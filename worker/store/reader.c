/*
 * See reader.h. Rows are decoded as they arrive and forgotten after the callback,
 * so memory does not depend on the size of the project.
 */
#include "proto/number.h"
#include "q.h"
#include "shm/base/list.h"
#include "shm/base/log.h"
#include "worker/db/codec.h"
#include "worker/store/reader.h"

static struct reader *reader_of(struct db_stream *st)
{
	return list_item(st, struct reader, stream);
}

static enum stream_next fail(struct reader *r, enum reader_error error)
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

static int done(struct reader *r, int n)
{
	if (n < 0 && r->error == READER_OK)
		r->error = r->stream.db.err.kind == DB_MEMORY ? READER_MEMORY : READER_DB;
	return r->error == READER_OK ? 0 : -1;
}

/* ---- people ---- */

static enum stream_next profile_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_profiles_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK ||
		!people_profile(r->people, row.id, row.external_id) ||
		(r->dates && !people_date(r->people, row.id, row.create_time)))
		return fail(r, READER_MEMORY);
	return STREAM_MORE;
}

static enum stream_next alias_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_aliases_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK ||
		!people_alias(r->people, row.alias_id, row.profile_id))
		return fail(r, READER_MEMORY);
	return STREAM_MORE;
}

/* Traits as text, number or truth; objects and null are no value (1.1). */
static struct value trait_value(struct str kind, struct str text)
{
	struct value v = {.type = VALUE_STR, .s = text};

	if (str_eq(kind, STR("number"))) {
		v.type = VALUE_DOUBLE;
		if (!number_json_double(text, &v.d))
			v = (struct value){.type = VALUE_STR, .s = text};
	} else if (str_eq(kind, STR("boolean"))) {
		v = (struct value){.type = VALUE_BOOL, .i = str_eq(text, STR("true"))};
	} else if (!text.p || str_eq(kind, STR("object")) || str_eq(kind, STR("null"))) {
		v.type = VALUE_NONE;
	}
	return v;
}

static bool take_trait(struct reader *r, const struct q_scan_traits_row *row)
{
	struct value v = trait_value(row->kind, row->value);

	if (v.type == VALUE_NONE)
		return true;
	return r->trait ? r->trait(r, &v)
			: people_trait(r->people, row->person, (uint32_t)row->path, &v);
}

static enum stream_next trait_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_traits_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK || !take_trait(r, &row))
		return fail(r, READER_MEMORY);
	return STREAM_MORE;
}

static enum stream_next properties_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_properties_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK ||
		!r->profile(r, row.properties, row.update_time))
		return fail(r, READER_MEMORY);
	return STREAM_MORE;
}

int reader_people(
	struct reader *r, struct people *people, const struct str *paths, uint32_t n_paths)
{
	struct db *db = &r->stream.db;
	struct q_scan_profiles_row *profiles;
	struct q_scan_aliases_row *aliases;
	struct q_scan_traits_row *traits;

	r->people = people;
	r->stream.row = profile_row;
	if (q_scan_profiles(db, &(struct q_scan_profiles_args){r->project}, &profiles) < 0)
		return done(r, -1);
	r->stream.row = alias_row;
	if (q_scan_aliases(db, &(struct q_scan_aliases_args){r->project}, &aliases) < 0)
		return done(r, -1);
	if (n_paths == 0)
		return done(r, 0);
	r->stream.row = trait_row;
	return done(r,
		q_scan_traits(db, &(struct q_scan_traits_args){r->project, {paths, (int)n_paths}},
			&traits));
}

int reader_properties(struct reader *r)
{
	struct q_scan_properties_row *rows;

	r->stream.row = properties_row;
	return done(r, q_scan_properties(
			       &r->stream.db, &(struct q_scan_properties_args){r->project}, &rows));
}

int reader_trait(struct reader *r, struct str path)
{
	struct q_scan_traits_row *rows;

	r->stream.row = trait_row;
	return done(r, q_scan_traits(&r->stream.db,
			       &(struct q_scan_traits_args){r->project, {&path, 1}}, &rows));
}

/* ---- who is being erased ---- */

static enum stream_next tomb_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_tombstones_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK ||
		!tombs_add(&r->tombs, row.distinct_id, row.high, 0))
		return fail(r, READER_MEMORY);
	return STREAM_MORE;
}

static int read_tombs(struct reader *r)
{
	struct q_scan_tombstones_row *rows;

	tombs_init(&r->tombs, r->stream.db.arena);
	r->stream.row = tomb_row;
	return done(r, q_scan_tombstones(
			       &r->stream.db, &(struct q_scan_tombstones_args){r->project}, &rows));
}

/* ---- segments ---- */

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

/* What a row says of its segment beside the bytes. */
struct told {
	int64_t place; /* in pugd.inbox_order */
	int32_t n;
	const int64_t *floor_ms; /* or NULL */
	struct db_int4s refused;
};

static enum stream_next take_segment(struct reader *r, const struct told *t, struct str data)
{
	struct evseg s;

	if (!evseg_open(&s, data, &r->scratch) || t->n < 0 || s.n != (uint32_t)t->n ||
		!evseg_mask(&s, t->refused.v, (uint32_t)t->refused.n, &r->scratch) ||
		!tombs_mask(&r->tombs, &s, t->place, &r->scratch) ||
		(t->floor_ms && !mask_before(&s, *t->floor_ms, &r->scratch))) {
		if (r->scratch.over)
			return fail(r, READER_MEMORY);
		log_err("a stored segment is broken project=%d bytes=%zu", r->project, data.n);
		return fail(r, READER_BROKEN);
	}
	r->n_segments++;
	r->n_events += s.n;
	return r->segment(r, &s, &r->scratch);
}

static enum stream_next inbox_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_inbox_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return fail(r, READER_MEMORY);
	return take_segment(r,
		&(struct told){
			row.id, row.n, row.floor_ms_null ? NULL : &row.floor_ms, row.refused},
		row.data);
}

static enum stream_next newest_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_inbox_newest_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return fail(r, READER_MEMORY);
	if (r->enough(r, row.tmax))
		return STREAM_ENOUGH;
	return take_segment(r,
		&(struct told){
			row.id, row.n, row.floor_ms_null ? NULL : &row.floor_ms, row.refused},
		row.data);
}

int reader_scan(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	struct q_scan_inbox_args args = {r->project, from_ms, to_ms};
	struct q_scan_inbox_row *rows;

	if (read_tombs(r) < 0)
		return -1;
	r->stream.row = inbox_row;
	return done(r, q_scan_inbox(&r->stream.db, &args, &rows));
}

int reader_scan_newest(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	struct q_scan_inbox_newest_args args = {r->project, from_ms, to_ms};
	struct q_scan_inbox_newest_row *rows;

	if (read_tombs(r) < 0)
		return -1;
	r->stream.row = newest_row;
	return done(r, q_scan_inbox_newest(&r->stream.db, &args, &rows));
}
