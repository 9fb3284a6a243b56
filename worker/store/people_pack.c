/*
 * See people_pack.h. Tables are read in pages, each of them one row with lists, which costs
 * the server, the wire and us a fraction of as many rows.
 */
#include "worker/store/people_pack.h"

#include "q.h"
#include "worker/db/codec.h"
#include "worker/db/sqlstate.h"

enum {
	ROW_MEMORY = 20 << 20, /* a page of ids of 512 bytes is half of that */
	OWN_MEMORY = 2 << 20,
	XID = 20 /* bytes of a profile's id */
};

static enum stream_next fail(struct people_pack *p, enum db_kind kind)
{
	db_fail(&p->stream->db.err, kind);
	return STREAM_FAIL;
}

/* A row of the callback's query into *row; p->n and p->n_page are those of an empty page. */
static bool take(struct people_pack *p, const struct query *q, const PGresult *res, void *row)
{
	enum db_kind kind;

	arena_reset(&p->row);
	p->n = p->n_dead = p->n_page = 0;
	kind = codec_row(q, res, 0, row, &p->row);
	if (kind != DB_OK)
		fail(p, kind);
	return kind == DB_OK;
}

/* ---- pages of tables ---- */

/* n ids one after another, of which `bytes` says how long each is; without, XID. */
struct texts {
	struct str text;
	const int32_t *bytes;
	int n;
};

/* Digests of them, 0 of an empty one or where `bytes` is negative. False when the lengths do
 * not fit. *last: the last id. */
static bool digest_all(
	const struct people_pack *p, const struct texts *in, uint64_t *out, struct str *last)
{
	size_t at = 0;

	for (int i = 0; i < in->n; i++) {
		size_t n = !in->bytes ? XID : in->bytes[i] > 0 ? (size_t)in->bytes[i] : 0;

		if (n > in->text.n - at)
			return false;
		*last = (struct str){in->text.p + at, n};
		out[i] = n ? digest_of(p->state.key, *last) : 0;
		at += n;
	}
	return at == in->text.n;
}

/* A page into the arrays; `key` goes to id. It comes second: `last` is where the next page
 * begins. */
static enum stream_next take_page(
	struct people_pack *p, const struct texts *key, const struct texts *value)
{
	struct str last = STR("");

	if (key->n > PEOPLE_PACK_BATCH || !digest_all(p, value, p->of, &last) ||
		!digest_all(p, key, p->id, &last))
		return fail(p, DB_BUG);
	p->after = last;
	p->rows += (uint64_t)key->n;
	p->n = p->n_page = (uint32_t)key->n;
	return STREAM_MORE;
}

/* Of a page that is in the arrays: only those that are something yet stay, which is what a
 * length that is not negative says. */
static enum stream_next part_dead(struct people_pack *p, const int32_t *bytes)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		if (bytes[i] < 0) {
			p->dead[p->n_dead++] = p->id[i];
			continue;
		}
		p->id[n] = p->id[i];
		p->of[n++] = p->of[i];
	}
	p->n = n;
	return STREAM_MORE;
}

static enum stream_next profiles_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct people_pack *p = st->arg;
	struct q_people_profiles_row row;

	if (!take(p, q, res, &row))
		return STREAM_FAIL;
	return take_page(p, &(struct texts){row.profile, NULL, row.n.n},
		&(struct texts){row.other, row.n.v, row.n.n});
}

static enum stream_next aliases_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct people_pack *p = st->arg;
	struct q_people_aliases_row row;

	if (!take(p, q, res, &row))
		return STREAM_FAIL;
	return take_page(p, &(struct texts){row.other, row.n.v, row.n.n},
		&(struct texts){row.profile, NULL, row.n.n});
}

static enum stream_next changed_profiles_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct people_pack *p = st->arg;
	struct q_people_profile_changes_row row;

	if (!take(p, q, res, &row) ||
		take_page(p, &(struct texts){row.profile, NULL, row.n.n},
			&(struct texts){row.other, row.n.v, row.n.n}) != STREAM_MORE)
		return STREAM_FAIL;
	p->last = row.last;
	return part_dead(p, row.n.v);
}

static enum stream_next changed_aliases_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct people_pack *p = st->arg;
	struct q_people_alias_changes_row row;

	if (!take(p, q, res, &row) ||
		take_page(p, &(struct texts){row.other, row.n.v, row.n.n},
			&(struct texts){row.profile, NULL, row.n.n}) != STREAM_MORE)
		return STREAM_FAIL;
	p->last = row.last;
	return STREAM_MORE;
}

static int ask_profiles(struct people_pack *p)
{
	struct q_people_profiles_args args = {p->state.project, p->after, PEOPLE_PACK_BATCH};
	struct q_people_profiles_row *rows;

	p->stream->row = profiles_row;
	return q_people_profiles(&p->stream->db, &args, &rows);
}

static int ask_aliases(struct people_pack *p)
{
	struct q_people_aliases_args args = {p->state.project, p->after, PEOPLE_PACK_BATCH};
	struct q_people_aliases_row *rows;

	p->stream->row = aliases_row;
	return q_people_aliases(&p->stream->db, &args, &rows);
}

static int ask_changed_profiles(struct people_pack *p)
{
	struct q_people_profile_changes_args args = {p->state.project, p->last, PEOPLE_PACK_BATCH};
	struct q_people_profile_changes_row *rows;

	p->stream->row = changed_profiles_row;
	return q_people_profile_changes(&p->stream->db, &args, &rows);
}

static int ask_changed_aliases(struct people_pack *p)
{
	struct q_people_alias_changes_args args = {p->state.project, p->last, PEOPLE_PACK_BATCH};
	struct q_people_alias_changes_row *rows;

	p->stream->row = changed_aliases_row;
	return q_people_alias_changes(&p->stream->db, &args, &rows);
}

static int give(struct people_pack *p)
{
	if ((p->n_dead && !p->gone(p, p->dead, p->n_dead)) ||
		(p->n && !p->give(p, p->id, p->of, p->n)))
		return db_fail(&p->stream->db.err, DB_MEMORY);
	return 0;
}

/* Given after the statement has ended, for whoever takes them may use the connection. A page that
 * is not full is the last. */
static int all_pages(struct people_pack *p, int (*ask)(struct people_pack *p))
{
	p->after = STR("");
	p->last = p->state.upto;
	do
		if (ask(p) < 0 || give(p) < 0)
			return -1;
	while (p->n_page == PEOPLE_PACK_BATCH);
	return 0;
}

/* ---- the copy ---- */

/* Little-endian: compilers make plain loads of this. */
static void load(uint64_t *out, const uint8_t *v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++, v += 8)
		out[i] = v[0] | (uint64_t)v[1] << 8 | (uint64_t)v[2] << 16 | (uint64_t)v[3] << 24 |
			 (uint64_t)v[4] << 32 | (uint64_t)v[5] << 40 | (uint64_t)v[6] << 48 |
			 (uint64_t)v[7] << 56;
}

static enum stream_next packed_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct people_pack *p = st->arg;
	struct q_people_packed_row row;
	const uint8_t *v;

	if (!take(p, q, res, &row))
		return STREAM_FAIL;
	if (row.n < 1 || row.n > PEOPLE_PACK_BATCH || row.data.n != (size_t)row.n * 16)
		return fail(p, DB_BUG);
	v = (const uint8_t *)row.data.p;
	p->bytes += row.data.n;
	p->n = (uint32_t)row.n;
	load(p->id, v, p->n);
	load(p->of, v + (size_t)p->n * 8, p->n);
	return give(p) < 0 ? STREAM_FAIL : STREAM_MORE;
}

static int read_packed(struct people_pack *p, bool alias)
{
	struct q_people_packed_row *rows;

	p->stream->row = packed_row;
	return q_people_packed(
		&p->stream->db, &(struct q_people_packed_args){p->state.project, alias}, &rows);
}

/* ---- all of it ---- */

/* What the row points to lasts. */
static enum stream_next now_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct people_pack *p = st->arg;
	struct people_state *s = &p->state;
	struct q_people_now_row row;
	enum db_kind kind = codec_row(q, res, 0, &row, &p->a);

	if (kind != DB_OK)
		return fail(p, kind);
	if (row.digest_key.n != sizeof(s->key) || row.first.n != row.n.n ||
		row.first.n != row.version.n)
		return fail(p, DB_BUG);
	memcpy(s->key, row.digest_key.p, sizeof(s->key));
	s->server = row.server;
	s->upto = row.upto_null ? PEOPLE_NO_COPY : row.upto;
	s->changes = row.changes;
	s->hash = row.hash;
	s->first = row.first.v;
	s->n = row.n.v;
	s->version = row.version.v;
	s->n_blocks = (uint32_t)row.first.n;
	s->snapshot = row.snapshot;
	p->n_profiles = (uint64_t)row.profiles;
	p->n_aliases = (uint64_t)row.aliases;
	return STREAM_MORE;
}

int people_pack_begin(struct people_pack *p, struct db_stream *st, int32_t project, int64_t seed)
{
	struct q_people_now_row *rows;

	p->stream = st;
	p->state = (struct people_state){.project = project, .upto = PEOPLE_NO_COPY};
	p->rows = p->bytes = 0;
	arena_init(&p->a, OWN_MEMORY);
	arena_init(&p->row, ROW_MEMORY);
	st->arg = p;
	st->row = now_row;
	return q_people_now(&st->db, &(struct q_people_now_args){project, seed}, &rows);
}

void people_pack_end(struct people_pack *p)
{
	arena_free(&p->a);
	arena_free(&p->row);
}

/* Room for a page, once something is to be read. */
static int prepare(struct people_pack *p)
{
	p->stream->arg = p;
	if (p->id)
		return 0;
	p->id = arena_alloc(&p->a, PEOPLE_PACK_BATCH * sizeof(*p->id));
	p->of = arena_alloc(&p->a, PEOPLE_PACK_BATCH * sizeof(*p->of));
	p->dead = arena_alloc(&p->a, PEOPLE_PACK_BATCH * sizeof(*p->dead));
	return p->id && p->of && p->dead ? 0 : db_fail(&p->stream->db.err, DB_MEMORY);
}

int people_pack_copied(struct people_pack *p)
{
	if (p->state.upto == PEOPLE_NO_COPY)
		return 0;
	if (prepare(p) < 0)
		return -1;
	p->give = p->profiles;
	if (read_packed(p, false) < 0)
		return -1;
	p->give = p->aliases;
	return read_packed(p, true) < 0 ? -1 : 0;
}

int people_pack_changed(struct people_pack *p)
{
	bool tables = p->state.upto == PEOPLE_NO_COPY;

	if (prepare(p) < 0)
		return -1;
	p->give = p->profiles;
	if (all_pages(p, tables ? ask_profiles : ask_changed_profiles) < 0)
		return -1;
	p->give = p->aliases;
	return all_pages(p, tables ? ask_aliases : ask_changed_aliases);
}

int people_tables_read(struct people_pack *p, struct db_stream *st, int32_t project)
{
	int n = people_pack_begin(p, st, project, 0);

	p->state.upto = PEOPLE_NO_COPY;
	if (n >= 0)
		n = people_pack_changed(p);
	people_pack_end(p);
	return n < 0 ? -1 : 0;
}
