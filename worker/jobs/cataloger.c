/* See cataloger.h. */
#include "worker/jobs/cataloger.h"

#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/list.h"
#include "worker/db/blocking.h"
#include "worker/ingest/autokey.h"
#include "worker/ingest/catalog.h"
#include "worker/store/names.h"
#include "worker/store/reader.h"

static const int64_t FOR_EVER_US = INT64_C(1000000000) * 1000000; /* 31 years */

enum {
	MEMORY = 128 << 20, /* of names, and again of a segment that is being read */
	FILL_MS = 60000,
	NAME_BYTES = 512,
	NAMES_MAX = 100000 /* of a project that got around the limits, by imports for example */
};

struct fill {
	struct reader reader;
	struct names_sink sink;
	struct intern names; /* u8 list, name */
	struct cataloger *c;
	bool cut; /* there are more */
	uint64_t end_ms;
	int64_t found;         /* us: from then on things may have changed */
	struct arena a, named; /* named: what a segment's names were packed to */
	struct str packed;
};

static bool note(struct names_sink *sink, const struct name_seen *seen)
{
	struct fill *f = list_item(sink, struct fill, sink);
	char buf[NAME_BYTES];

	/* what the server itself adds does not count */
	if (seen->list == NAME_AUTO && autokey_find(seen->name) != AUTO_COUNT)
		return true;
	/* goes on: what is known is added to the catalogue all the same */
	if (f->names.n >= NAMES_MAX || seen->name.n >= NAME_BYTES) {
		f->cut = true;
		return true;
	}
	buf[0] = (char)seen->list;
	if (seen->name.n)
		memcpy(buf + 1, seen->name.p, seen->name.n);
	return intern_add(&f->names, (struct str){buf, seen->name.n + 1}) != INTERN_FULL;
}

static bool stop(struct db_stream *st)
{
	return clock_mono_ms() >= list_item(st, struct fill, reader.stream)->end_ms;
}

static bool on_names(struct reader *r, struct str packed)
{
	return names_read(packed, &list_item(r, struct fill, reader)->sink, &r->scratch);
}

static enum stream_next failed(struct fill *f, const struct arena *a)
{
	f->reader.error = a->over || f->a.over || f->named.over ? READER_MEMORY : READER_BROKEN;
	return STREAM_FAIL;
}

static enum stream_next on_segment(struct reader *r, const struct evseg *s, struct arena *a)
{
	struct fill *f = list_item(r, struct fill, reader);

	return names_all(s, &f->sink, a) ? STREAM_MORE : failed(f, a);
}

static void init(struct fill *f, struct cataloger *c)
{
	*f = (struct fill){.c = c, .sink = {note}, .end_ms = clock_mono_ms() + FILL_MS};
	arena_init(&f->a, MEMORY);
	arena_init(&f->named, MEMORY);
	intern_init(&f->names, &f->a);
	reader_init(&f->reader, c->conn, c->project, &f->a, MEMORY, stop);
	f->reader.stream.db.deadline_ms = f->end_ms;
}

static void end(struct fill *f, bool ok)
{
	/* READER_OK: it was one of our own statements that failed */
	static const enum cataloger_end ends[] = {[READER_OK] = CATALOGER_DB,
		[READER_DB] = CATALOGER_DB,
		[READER_MEMORY] = CATALOGER_MEMORY,
		[READER_BROKEN] = CATALOGER_BROKEN};

	f->c->end = ok ? CATALOGER_DONE : ends[f->reader.error];
	reader_free(&f->reader);
	arena_free(&f->named);
	arena_free(&f->a);
}

/* Inside one snapshot. With the events of those who are being erased: they are stored still, and
 * a deletion may be undone until its delay is over. */
static bool read_names(struct fill *f)
{
	struct db db;
	bool ok;

	db_blocking(&db, f->c->conn, &f->a);
	db.deadline_ms = f->end_ms;
	if (db_blocking_begin(&db, "ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, FILL_MS) < 0) {
		f->c->err = db.err;
		return false;
	}
	f->reader.everybody = true;
	f->reader.names = on_names;
	f->reader.segment = on_segment;
	ok = reader_scan(&f->reader, INT64_MIN / 2, INT64_MAX / 2) == 0;
	f->c->err = f->reader.stream.db.err;
	/* one that is still at it is of no use to anybody: the caller sees its state */
	if (PQtransactionStatus(f->c->conn) != PQTRANS_ACTIVE)
		db_rollback(&db);
	return ok;
}

static bool store(struct fill *f, struct db *db)
{
	uint32_t n = f->names.n;
	int32_t *list = arena_array(&f->a, n + 1, sizeof(*list));
	struct str *name = arena_array(&f->a, n + 1, sizeof(*name));
	/* of what is there but not known here nothing is taken out */
	struct q_catalog_fill_args args = {.project = f->c->project,
		.found = f->found,
		.spare_us = f->cut ? FOR_EVER_US : f->c->spare_us,
		.keys_max = CATALOG_KEYS_MAX};
	struct q_catalog_fill_row row;

	if (!list || !name) {
		f->reader.error = READER_MEMORY;
		return false;
	}
	for (uint32_t i = 0; i < n; i++) {
		list[i] = f->names.strings[i].p[0];
		name[i] = (struct str){f->names.strings[i].p + 1, f->names.strings[i].n - 1};
	}
	args.list = (struct db_int4s){list, (int)n};
	args.name = (struct db_texts){name, (int)n};
	return q_catalog_fill(db, &args, &row) == 1;
}

/* The time is asked for before the snapshot is taken: what comes in between counts as later, and
 * catalog_fill leaves it alone. */
void cataloger_fill(struct cataloger *c)
{
	struct q_catalog_now_row now;
	struct fill f;
	struct db db;
	bool ok;

	init(&f, c);
	db_blocking(&db, c->conn, &f.a);
	db.deadline_ms = f.end_ms;
	ok = q_catalog_now(&db, &now) == 1;
	c->err = db.err;
	f.found = now.now;
	if (ok && read_names(&f)) {
		ok = store(&f, &db);
		c->err = db.err;
	} else {
		ok = false;
	}
	end(&f, ok);
}

static enum stream_next on_nameless(struct reader *r, const struct evseg *s, struct arena *a)
{
	struct fill *f = list_item(r, struct fill, reader);

	return names_pack(s, &f->named, a, &f->packed) ? STREAM_MORE : failed(f, a);
}

void cataloger_name(struct cataloger *c, int32_t day, int64_t id)
{
	struct fill f;
	struct db db;
	bool ok;

	init(&f, c);
	f.reader.segment = on_nameless;
	ok = reader_segments(&f.reader, &day, &id, 1) == 0;
	c->err = f.reader.stream.db.err;
	/* no segment came: it is gone by now */
	if (ok && f.packed.p) {
		db_blocking(&db, c->conn, &f.a);
		db.deadline_ms = f.end_ms;
		ok = q_segment_names_put(&db, &(struct q_segment_names_put_args){
						      c->project, day, id, f.packed}) >= 0;
		c->err = db.err;
	}
	end(&f, ok);
}
