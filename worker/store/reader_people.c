/*
 * Who is who, read by text or by digest; see reader.h.
 */
#include "proto/number.h"
#include "q.h"
#include "worker/db/codec.h"
#include "worker/store/reader_internal.h"

/* ---- by text ---- */

static enum stream_next profile_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_profiles_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK ||
		!people_profile(r->people, row.id, row.external_id) ||
		(r->dates && !people_date(r->people, row.id, row.create_time)))
		return reader_fail(r, READER_MEMORY);
	return STREAM_MORE;
}

static enum stream_next alias_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct q_scan_aliases_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK ||
		!people_alias(r->people, row.alias_id, row.profile_id))
		return reader_fail(r, READER_MEMORY);
	return STREAM_MORE;
}

/* Traits as text, number or truth; objects and null are no value (1.1). A number beyond a double
 * stays text, which is not numeric (D70). */
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
		return reader_fail(r, READER_MEMORY);
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
		return reader_fail(r, READER_MEMORY);
	return STREAM_MORE;
}

/* ---- by digest ---- */

/* One that is this query's alone lives as long as everything else of it. The base lies in its own
 * arena, so that adopting this is all there is to do. */
static bool keep(struct reader *r, struct people_load *l)
{
	if (l->shared)
		r->shared = l->base;
	else if (!arena_adopt(r->stream.db.arena, &l->base->a))
		return false;
	people_use(r->people, l->base);
	return true;
}

static int people_by_digest(struct reader *r)
{
	const struct arena *a = r->stream.db.arena;
	struct people_load l = {
		.memory = a->cap - a->held, .cache = r->people_cache, .numbers = true};

	if (people_load(&l, &r->stream, r->project) < 0) {
		people_unload(&l);
		if (l.broken)
			return reader_broken(r, "numbers") == STREAM_MORE ? 0 : -1;
		return reader_done(r, -1);
	}
	r->people_origin = l.origin;
	if (keep(r, &l))
		return reader_done(r, 0);
	people_unload(&l);
	r->error = READER_MEMORY;
	return -1;
}

/* Profiles before aliases: one of somebody who is not live then means nothing
 * (people_alias()). */
int reader_people(
	struct reader *r, struct people *people, const struct str *paths, uint32_t n_paths)
{
	struct db *db = &r->stream.db;
	struct q_scan_profiles_row *profiles;
	struct q_scan_aliases_row *aliases;
	struct q_scan_traits_row *traits;

	r->people = people;
	if (people->by_digest)
		return people_by_digest(r);
	r->stream.row = profile_row;
	if (q_scan_profiles(db, &(struct q_scan_profiles_args){r->project}, &profiles) < 0)
		return reader_done(r, -1);
	r->stream.row = alias_row;
	if (q_scan_aliases(db, &(struct q_scan_aliases_args){r->project}, &aliases) < 0)
		return reader_done(r, -1);
	if (n_paths == 0)
		return reader_done(r, 0);
	r->stream.row = trait_row;
	return reader_done(r,
		q_scan_traits(db, &(struct q_scan_traits_args){r->project, {paths, (int)n_paths}},
			&traits));
}

int reader_properties(struct reader *r)
{
	struct q_scan_properties_row *rows;

	r->stream.row = properties_row;
	return reader_done(r, q_scan_properties(&r->stream.db,
				      &(struct q_scan_properties_args){r->project}, &rows));
}

int reader_trait(struct reader *r, struct str path)
{
	struct q_scan_traits_row *rows;

	r->stream.row = trait_row;
	return reader_done(r, q_scan_traits(&r->stream.db,
				      &(struct q_scan_traits_args){r->project, {&path, 1}}, &rows));
}
