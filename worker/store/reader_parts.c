/*
 * Sealed segments with the columns that are wanted only; see reader.h. A column is a row of
 * the statement: those of one segment are gathered until the next one begins.
 */
#include <endian.h>
#include <string.h>

#include "q.h"
#include "worker/db/codec.h"
#include "worker/db/sqlstate.h"
#include "worker/store/reader_internal.h"

/* What v refers to is in r->scratch, which is not emptied while a segment is open. */
struct reader_parts {
	struct reader_wanted w;
	bool open;                       /* there is a segment whose columns may go on */
	struct q_scan_segments_row head; /* the first row of it */
	struct evseg_part *v;            /* as many as are wanted */
	int32_t *crc;
	uint32_t n;
};

static bool has(const struct evseg *s, enum part_kind kind)
{
	return evseg_find(s, kind, SCOPE_AUTO, STR("")) != NULL;
}

bool reader_numbers(const struct reader *r)
{
	return r->need->numbers && r->tombs.n == 0;
}

/* Sessions, ties and properties are not asked for: a segment may rightly be without. */
bool reader_has_needed(const struct reader *r, const struct evseg *s)
{
	bool distinct = r->need->distinct || r->tombs.n > 0;

	return (s->flat || has(s, PART_TIME)) && (s->kind.n > 0 || has(s, PART_KIND)) &&
	       (!distinct || has(s, PART_DISTINCT) ||
		       (reader_numbers(r) && !r->need->texts && has(s, PART_NUMBER))) &&
	       (!r->need->ids || has(s, PART_ID));
}

bool reader_wanted(const struct reader *r, struct reader_wanted *out, struct arena *a)
{
	const struct batch_need *need = r->need;
	uint32_t most = 7 + (need ? need->n_props : 0);
	int32_t *part = arena_array(a, most, sizeof(*part));
	int32_t *scope = arena_array(a, most, sizeof(*scope));
	struct str *key = arena_array(a, most, sizeof(*key));
	int n = 0;

	if (!part || !scope || !key)
		return false;
	*out = (struct reader_wanted){{part, 0}, {scope, 0}, {key, 0}};
	if (!need)
		return true;
	part[n++] = PART_TIME;
	part[n++] = PART_KIND;
	if (need->distinct || r->tombs.n > 0)
		part[n++] = PART_DISTINCT;
	/* both, for a segment may have no numbers yet: where it has, the statement leaves the
	 * texts out */
	if (need->distinct && reader_numbers(r))
		part[n++] = PART_NUMBER;
	if (need->session)
		part[n++] = PART_SESSION;
	if (need->ids || need->order)
		part[n++] = need->ids ? PART_ID : PART_TIES;
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

enum stream_next reader_sealed(struct reader *r, const struct reader_head *h,
	const struct evseg_part *parts, uint32_t n, const int32_t *crc)
{
	struct hidden hidden = {h->place, h->has_floor ? &h->floor_ms : NULL};
	struct evseg s;

	if (h->n < 0 || !evseg_of_parts(&s, h->id, (uint32_t)h->n, parts, n, crc))
		return reader_broken(r, "segment");
	s.kind = h->kind;
	s.flat = h->flat;
	s.flat_ms = h->tmin;
	s.partial = n != (uint32_t)h->columns;
	if (!reader_has_needed(r, &s) || !reader_hide(r, &s, &hidden))
		return reader_broken(r, "segment");
	return reader_give(r, &s);
}

/* All of the segment is there. */
static enum stream_next close_segment(struct reader *r)
{
	struct reader_parts *p = r->parts;
	const struct q_scan_segments_row *row = &p->head;

	p->open = false;
	return reader_sealed(r,
		&(struct reader_head){.id = row->id,
			.place = row->place,
			.tmin = row->tmin,
			.floor_ms = row->floor_ms,
			.n = row->n,
			.columns = row->columns,
			.kind = row->kind,
			.has_floor = !row->floor_ms_null,
			.flat = row->flat},
		p->v, p->n, p->crc);
}

/* The lists have no more places, and v no more room, whatever the statement gives. */
static bool add_part(struct reader_parts *p, const struct q_scan_segments_row *row)
{
	int no = row->no - 1;

	if (no < 0 || no >= p->w.part.n || p->n >= (uint32_t)p->w.part.n)
		return false;
	p->crc[p->n] = row->crc;
	p->v[p->n++] = (struct evseg_part){.kind = (enum part_kind)p->w.part.v[no],
		.scope = (enum prop_scope)p->w.scope.v[no],
		.key = p->w.key.v[no],
		.raw_n = (uint32_t)row->raw,
		.stored = row->data};
	return true;
}

/* Of the segment that the row belongs to, before anything of the row is copied. That would go to
 * scratch, where the segment before still lies. */
static int64_t id_of(const PGresult *res)
{
	uint64_t id = 0;

	if (PQgetlength(res, 0, 0) == sizeof(id))
		memcpy(&id, PQgetvalue(res, 0, 0), sizeof(id));
	return (int64_t)be64toh(id);
}

static enum stream_next part_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct reader_parts *p = r->parts;
	struct q_scan_segments_row row;

	if (p->open && id_of(res) != p->head.id) {
		enum stream_next next = close_segment(r);

		if (next != STREAM_MORE)
			return next;
	}
	if (!p->open)
		arena_reset(&r->scratch);
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	if (!p->open) {
		p->head = row;
		p->open = true;
		p->n = 0;
	}
	return row.no_null || add_part(p, &row) ? STREAM_MORE : reader_broken(r, "segment");
}

int reader_parts(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	struct arena *a = r->stream.db.arena;
	struct reader_parts p = {.open = false};
	struct q_scan_segments_args args = {.project = r->project,
		.from_ms = from_ms,
		.to_ms = to_ms,
		.from_day = reader_day(from_ms),
		.to_day = reader_day(to_ms),
		.kinds = {r->kinds, (int)r->n_kinds},
		.numbers = reader_numbers(r) && !r->need->texts,
		.flat = r->need->flat,
		.edges = {r->need->edges, (int)r->need->n_edges}};
	struct q_scan_segments_row *rows;
	int n;

	if (!reader_wanted(r, &p.w, a))
		return db_fail(&r->stream.db.err, DB_MEMORY);
	p.v = arena_array(a, (size_t)p.w.part.n + 1, sizeof(*p.v));
	p.crc = arena_array(a, (size_t)p.w.part.n + 1, sizeof(*p.crc));
	if (!p.v || !p.crc)
		return db_fail(&r->stream.db.err, DB_MEMORY);
	args.part = p.w.part;
	args.scope = p.w.scope;
	args.key = p.w.key;
	r->parts = &p;
	r->stream.row = part_row;
	n = q_scan_segments(&r->stream.db, &args, &rows);
	/* no row follows the last segment; after STREAM_ENOUGH none is open */
	if (n >= 0 && p.open && close_segment(r) == STREAM_FAIL)
		n = -1;
	r->parts = NULL;
	return n;
}
