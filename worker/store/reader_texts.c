/*
 * What a few persons are called, once it is known which ones matter; see reader.h.
 */
#include "q.h"
#include "worker/db/codec.h"
#include "worker/store/reader_internal.h"

/* Nobody is hidden here: rows are asked for that the same snapshot has shown. A segment without
 * the column has no row; who misses a name asks the question by text. */
static enum stream_next texts_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct evseg_part part = {.kind = PART_DISTINCT, .scope = SCOPE_AUTO, .key = STR("")};
	struct q_scan_texts_row row;
	struct evseg s;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	part.raw_n = (uint32_t)row.raw;
	part.stored = row.data;
	if (row.n < 0 || !evseg_of_parts(&s, row.id, (uint32_t)row.n, &part, 1, &row.crc))
		return reader_broken(r, "segment");
	s.partial = true;
	return r->segment(r, &s, &r->scratch);
}

int reader_texts(struct reader *r, const int64_t *ids, const int32_t *events, uint32_t n)
{
	struct q_scan_texts_args args = {r->project, {ids, (int)n}, {events, (int)n}};
	struct q_scan_texts_row *rows;

	r->stream.row = texts_row;
	return reader_done(r, q_scan_texts(&r->stream.db, &args, &rows));
}

struct profiles {
	struct str *v;
	uint32_t n;
};

static enum stream_next profile_of_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct profiles *to = st->arg;
	struct q_scan_profiles_of_row row;
	char *copy;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	if (row.no < 0 || (uint32_t)row.no >= to->n)
		return reader_broken(r, "profiles");
	copy = arena_str(st->db.arena, row.id);
	if (!copy)
		return reader_fail(r, READER_MEMORY);
	to->v[row.no] = (struct str){copy, row.id.n};
	return STREAM_MORE;
}

int reader_profiles_of(struct reader *r, const struct str *ids, uint32_t n, struct str *profiles)
{
	struct profiles to = {profiles, n};
	struct q_scan_profiles_of_row *rows;

	for (uint32_t i = 0; i < n; i++)
		profiles[i] = STR("");
	r->stream.row = profile_of_row;
	r->stream.arg = &to;
	return reader_done(
		r, q_scan_profiles_of(&r->stream.db,
			   &(struct q_scan_profiles_of_args){r->project, {ids, (int)n}}, &rows));
}

struct taker {
	bool (*take)(void *arg, struct str id, struct str name);
	void *arg;
};

static enum stream_next name_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	const struct taker *to = st->arg;
	struct q_scan_profile_names_row row;

	arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK ||
		!to->take(to->arg, row.id, row.name))
		return reader_fail(r, READER_MEMORY);
	return STREAM_MORE;
}

int reader_profile_names(struct reader *r, struct str after, struct str bound,
	bool (*take)(void *arg, struct str id, struct str name), void *arg)
{
	struct taker to = {take, arg};
	struct q_scan_profile_names_args args = {r->project, after, bound};
	struct q_scan_profile_names_row *rows;

	r->stream.row = name_row;
	r->stream.arg = &to;
	return reader_done(r, q_scan_profile_names(&r->stream.db, &args, &rows));
}
