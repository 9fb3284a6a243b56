/*
 * See put.h. Columns of several segments share a statement, bounded in rows and bytes,
 * because a segment of a small project has many columns of a few bytes.
 */
#include "worker/store/put.h"

#include "q.h"
#include "worker/db/sqlstate.h"
#include "worker/store/names.h"

enum { ROWS_MAX = 2000, BYTES_MAX = 4 << 20, SEGMENTS_MAX = 2000, NAMES_MEMORY = 128 << 20 };

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

/* As many numbers as segments. */
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

/* Of each segment in the arena; where there is not memory enough, NULL: the keeper finds it. */
static void pack_names(
	const struct merge_segment *v, uint32_t n, struct str *names, struct arena *a)
{
	struct arena scratch;

	arena_init(&scratch, NAMES_MEMORY);
	for (uint32_t i = 0; i < n; i++) {
		struct evseg seg = {.n = v[i].n, .parts = v[i].parts, .n_parts = v[i].n_parts};

		if (!names_pack(&seg, a, &scratch, &names[i]))
			names[i] = (struct str){NULL, 0};
		arena_reset(&scratch);
	}
	arena_free(&scratch);
}

static int put_rows(struct db *db, const struct put_where *where, const int64_t *ids,
	const struct merge_segment *v, uint32_t n)
{
	static const size_t sizes[] = {4, 4, 4, 8, 8, 8, sizeof(struct str), sizeof(struct str)};
	void *room[sizeof(sizes) / sizeof(sizes[0])];
	int32_t *day, *count, *columns;
	int64_t *tmin, *tmax, *bytes;
	struct str *kind, *names;
	int got;

	arena_reset(where->scratch);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (!(room[i] = arena_array(where->scratch, n + 1, sizes[i])))
			return db_fail(&db->err, DB_MEMORY);
	day = room[0], count = room[1], columns = room[2];
	tmin = room[3], tmax = room[4], bytes = room[5];
	kind = room[6], names = room[7];
	pack_names(v, n, names, where->scratch);
	for (uint32_t i = 0; i < n; i++) {
		day[i] = v[i].day;
		count[i] = (int32_t)v[i].n;
		columns[i] = (int32_t)v[i].n_parts;
		tmin[i] = v[i].tmin;
		tmax[i] = v[i].tmax;
		bytes[i] = (int64_t)v[i].bytes;
		kind[i] = v[i].kind;
	}
	got = q_segment_put(db, &(struct q_segment_put_args){.project = where->project,
					.day = {day, (int)n},
					.id = {ids, (int)n},
					.kind = {kind, (int)n},
					.n = {count, (int)n},
					.tmin = {tmin, (int)n},
					.tmax = {tmax, (int)n},
					.columns = {columns, (int)n},
					.bytes = {bytes, (int)n},
					.names = {names, (int)n},
					.tier = where->tier,
					.place = where->place});
	if (got == (int)n)
		return 0;
	return db->err.kind == DB_OK ? db_fail(&db->err, DB_BUG) : -1;
}

/* With the caller's arena for arguments put aside: it must not grow with each statement. */
static int put_some(struct db *db, const struct put_where *where, struct columns *c, int64_t *ids,
	const struct merge_segment *v, uint32_t n)
{
	if (take_ids(db, ids, n) < 0 || put_rows(db, where, ids, v, n) < 0)
		return -1;
	return add_all(c, ids, v, n);
}

int put_segments(
	struct db *db, const struct put_where *where, const struct merge_segment *v, uint32_t n)
{
	struct arena *home = db->arena;
	struct columns *c = arena_alloc(home, sizeof(*c));
	int64_t *ids = arena_array(home, SEGMENTS_MAX, sizeof(*ids));
	int done = 0;

	if (!c || !ids)
		return db_fail(&db->err, DB_MEMORY);
	*c = (struct columns){.db = db, .where = where};
	db->arena = where->scratch;
	for (uint32_t i = 0; i < n && done == 0; i += SEGMENTS_MAX)
		done = put_some(db, where, c, ids, v + i,
			n - i < SEGMENTS_MAX ? n - i : (uint32_t)SEGMENTS_MAX);
	db->arena = home;
	return done;
}
