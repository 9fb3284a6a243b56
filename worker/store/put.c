/*
 * See put.h. Columns of several segments share a statement, bounded in rows and bytes,
 * because a segment of a small project has many columns of a few bytes.
 */
#include "worker/store/put.h"

#include "q.h"
#include "worker/db/sqlstate.h"
#include "worker/store/dense.h"
#include "worker/store/names.h"

enum {
	ROWS_MAX = 2000,
	BYTES_MAX = 4 << 20,
	SEGMENTS_MAX = 2000,
	NAMES_MEMORY = 128 << 20,
	NUMBERS_MEMORY = 32 << 20 /* what 131 072 events take three times over */
};

/* Columns that wait to be written. */
struct columns {
	struct db *db;
	const struct put_where *where;
	int n;
	size_t bytes;
	int64_t segment[ROWS_MAX];
	int32_t part[ROWS_MAX], scope[ROWS_MAX], raw[ROWS_MAX], crc[ROWS_MAX];
	struct str key[ROWS_MAX], data[ROWS_MAX];
};

/* Empties scratch, where the statement before had its arguments: no part may lie there. */
static int flush(struct columns *c)
{
	struct q_segment_columns_put_args args = {.project = c->where->project,
		.segment = {c->segment, c->n},
		.part = {c->part, c->n},
		.scope = {c->scope, c->n},
		.key = {c->key, c->n},
		.raw = {c->raw, c->n},
		.crc = {c->crc, c->n},
		.data = {c->data, c->n}};
	int n = c->n;

	c->n = 0;
	c->bytes = 0;
	if (n == 0)
		return 0;
	arena_reset(c->where->scratch);
	if (q_segment_columns_put(c->db, &args) == n)
		return 0;
	return c->db->err.kind == DB_OK ? db_fail(&c->db->err, DB_BUG) : -1;
}

static int add(struct columns *c, int64_t segment, const struct evseg_part *p)
{
	if ((c->n == ROWS_MAX || c->bytes + p->stored.n > BYTES_MAX) && flush(c) < 0)
		return -1;
	c->segment[c->n] = segment;
	c->part[c->n] = (int32_t)p->kind;
	c->scope[c->n] = (int32_t)p->scope;
	c->raw[c->n] = (int32_t)p->raw_n;
	c->crc[c->n] = (int32_t)evseg_part_crc(p, segment);
	c->key[c->n] = p->key.p ? p->key : STR("");
	c->data[c->n++] = p->stored;
	c->bytes += p->stored.n;
	return 0;
}

static int add_all(struct columns *c, const int64_t *ids, const struct merge_segment *v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < v[i].n_parts; k++)
			if (add(c, ids[i], &v[i].parts[k]) < 0)
				return -1;
	return flush(c);
}

/* As many numbers as segments. Under seal_lock(), as those who erase rely on: what is made after
 * their look has a greater one. */
static int take_ids(struct db *db, int64_t *ids, uint32_t n)
{
	struct q_segment_ids_row *rows;
	int got = q_segment_ids(db, &(struct q_segment_ids_args){(int32_t)n}, &rows);

	if (got < 0)
		return -1;
	if (got != (int)n)
		return db_fail(&db->err, DB_BUG);
	for (uint32_t i = 0; i < n; i++)
		ids[i] = rows[i].id;
	return 0;
}

static struct evseg segment_of(const struct merge_segment *v)
{
	return (struct evseg){.n = v->n, .parts = v->parts, .n_parts = v->n_parts};
}

/* Copies, for seg may have been unpacked into scratch. Where nothing is added the row says that
 * its kinds are not known, and the segment is read by all questions. */
void put_kinds_add(struct put_kinds *k, int64_t id, const struct evseg *seg, struct arena *scratch)
{
	struct str *kinds;
	uint32_t n;
	int before = k->n;

	if (!evseg_kinds(seg, scratch, &kinds, &n))
		return;
	if ((int)n > k->cap - k->n) {
		int cap = k->cap * 2 + (int)n;
		int64_t *of = arena_array(k->a, (size_t)cap, sizeof(*of));
		struct str *kind = arena_array(k->a, (size_t)cap, sizeof(*kind));

		if (!of || !kind)
			return;
		if (k->n) {
			memcpy(of, k->of, (size_t)k->n * sizeof(*of));
			memcpy(kind, k->kind, (size_t)k->n * sizeof(*kind));
		}
		k->of = of;
		k->kind = kind;
		k->cap = cap;
	}
	for (uint32_t i = 0; i < n; i++) {
		char *copy = arena_str(k->a, kinds[i]);

		if (!copy) { /* a part of them would be a lie */
			k->n = before;
			return;
		}
		k->of[k->n] = id;
		k->kind[k->n++] = (struct str){copy, kinds[i].n};
	}
}

/* What is said about each segment beside its columns, in the arena; where there is not memory
 * enough, nothing: the keeper finds it. */
static void pack_names(const struct merge_segment *v, const int64_t *ids, uint32_t n,
	struct str *names, struct put_kinds *kinds)
{
	struct arena scratch;

	arena_init(&scratch, NAMES_MEMORY);
	for (uint32_t i = 0; i < n; i++) {
		struct evseg seg = segment_of(&v[i]);

		if (!names_pack(&seg, kinds->a, &scratch, &names[i]))
			names[i] = (struct str){NULL, 0};
		arena_reset(&scratch);
		if (v[i].kind.n == 0)
			put_kinds_add(kinds, ids[i], &seg, &scratch);
		arena_reset(&scratch);
	}
	arena_free(&scratch);
}

/* Columns of segment_put. */
struct rows {
	int32_t *day, *count, *columns;
	int64_t *tmin, *tmax, *bytes;
	struct str *kind, *names;
	bool *numbered;
	struct put_kinds kinds;
};

static bool fill_rows(struct rows *r, const struct merge_segment *v, const int64_t *ids, uint32_t n,
	struct arena *a)
{
	size_t room = (size_t)n + 1;

	r->day = arena_array(a, room, sizeof(*r->day));
	r->count = arena_array(a, room, sizeof(*r->count));
	r->columns = arena_array(a, room, sizeof(*r->columns));
	r->tmin = arena_array(a, room, sizeof(*r->tmin));
	r->tmax = arena_array(a, room, sizeof(*r->tmax));
	r->bytes = arena_array(a, room, sizeof(*r->bytes));
	r->kind = arena_array(a, room, sizeof(*r->kind));
	r->names = arena_array(a, room, sizeof(*r->names));
	r->numbered = arena_array(a, room, sizeof(*r->numbered));
	if (!r->day || !r->count || !r->columns || !r->tmin || !r->tmax || !r->bytes || !r->kind ||
		!r->names || !r->numbered)
		return false;
	r->kinds = (struct put_kinds){.a = a};
	pack_names(v, ids, n, r->names, &r->kinds);
	for (uint32_t i = 0; i < n; i++) {
		r->day[i] = v[i].day;
		r->count[i] = (int32_t)v[i].n;
		r->columns[i] = (int32_t)v[i].n_parts;
		r->tmin[i] = v[i].tmin;
		r->tmax[i] = v[i].tmax;
		r->bytes[i] = (int64_t)v[i].bytes;
		r->kind[i] = v[i].kind;
		/* put_segments() has it in front */
		r->numbered[i] = v[i].parts[0].kind == PART_NUMBER;
	}
	return true;
}

static int put_rows(struct db *db, const struct put_where *where, const int64_t *ids,
	const struct merge_segment *v, uint32_t count)
{
	struct rows r;
	int n = (int)count, got;

	arena_reset(where->scratch);
	if (!fill_rows(&r, v, ids, count, where->scratch))
		return db_fail(&db->err, DB_MEMORY);
	got = q_segment_put(db, &(struct q_segment_put_args){.project = where->project,
					.day = {r.day, n},
					.id = {ids, n},
					.kind = {r.kind, n},
					.n = {r.count, n},
					.tmin = {r.tmin, n},
					.tmax = {r.tmax, n},
					.columns = {r.columns, n},
					.bytes = {r.bytes, n},
					.names = {r.names, n},
					.numbered = {r.numbered, n},
					.tier = where->tier,
					.place = where->place,
					.of = {r.kinds.of, r.kinds.n},
					.kinds = {r.kinds.kind, r.kinds.n}});
	if (got == n)
		return 0;
	return db->err.kind == DB_OK ? db_fail(&db->err, DB_BUG) : -1;
}

/* Ids first: a column's checksum has that of its segment. */
static int put_some(struct db *db, const struct put_where *where, struct columns *c, int64_t *ids,
	const struct merge_segment *v, uint32_t n)
{
	if (take_ids(db, ids, n) < 0 || put_rows(db, where, ids, v, n) < 0)
		return -1;
	return add_all(c, ids, v, n);
}

/* The same segments with their numbers, in `a`; where there is not memory enough, as they are.
 * numbers_lock() is the last one in the order of locks: the caller has seal_lock(), and rows. */
static int number(struct db *db, const struct put_where *where, const struct merge_segment **v,
	uint32_t n, struct arena *a)
{
	struct merge_segment *out = arena_array(a, (size_t)n + 1, sizeof(*out));
	struct evseg *segs = arena_array(a, (size_t)n + 1, sizeof(*segs));
	struct evseg_part *parts = arena_array(a, (size_t)n + 1, sizeof(*parts));
	struct dense_job job = {.project = where->project,
		.known = where->known,
		.n_known = where->n_known,
		.segs = segs,
		.n = n,
		.parts = parts};

	if (!out || !segs || !parts)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		segs[i] = segment_of(&(*v)[i]);
	if (dense_number(db, &job, a, where->scratch) < 0)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		struct merge_segment *s = &out[i];
		struct evseg_part *with;

		*s = (*v)[i];
		with = arena_array(a, (size_t)s->n_parts + 1, sizeof(*with));
		if (!with || !parts[i].stored.p)
			continue;
		with[0] = parts[i];
		memcpy(with + 1, s->parts, s->n_parts * sizeof(*with));
		s->parts = with;
		s->n_parts++;
		s->bytes += parts[i].stored.n;
	}
	*v = out;
	return 0;
}

/* With the caller's arena for arguments put aside: it must not grow with each statement. */
int put_segments(
	struct db *db, const struct put_where *where, const struct merge_segment *v, uint32_t n)
{
	struct arena *home = db->arena, numbers;
	struct columns *c = arena_alloc(home, sizeof(*c));
	int64_t *ids = arena_array(home, SEGMENTS_MAX, sizeof(*ids));
	int done;

	if (!c || !ids)
		return db_fail(&db->err, DB_MEMORY);
	*c = (struct columns){.db = db, .where = where};
	db->arena = where->scratch;
	arena_init(&numbers, NUMBERS_MEMORY);
	done = n ? number(db, where, &v, n, &numbers) : 0;
	for (uint32_t i = 0; i < n && done == 0; i += SEGMENTS_MAX)
		done = put_some(db, where, c, ids, v + i,
			n - i < SEGMENTS_MAX ? n - i : (uint32_t)SEGMENTS_MAX);
	arena_free(&numbers);
	db->arena = home;
	return done;
}

int put_parts(struct db *db, const struct put_where *where, const int64_t *ids,
	const struct evseg_part *parts, uint32_t n)
{
	struct arena *home = db->arena;
	struct columns *c = arena_alloc(home, sizeof(*c));
	int done = 0;

	if (!c)
		return db_fail(&db->err, DB_MEMORY);
	*c = (struct columns){.db = db, .where = where};
	db->arena = where->scratch;
	for (uint32_t i = 0; i < n && done == 0; i++)
		done = parts[i].stored.p ? add(c, ids[i], &parts[i]) : 0;
	if (done == 0)
		done = flush(c);
	db->arena = home;
	return done;
}
