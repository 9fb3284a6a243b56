/* See packer.h; why the order of its steps misses nothing is in 012_people_pack.sql. */
#include "worker/store/packer.h"

#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/list.h"
#include "worker/db/blocking.h"
#include "worker/store/people_pack.h"

enum {
	LOCK_MS = 500, /* others of the project wait behind us meanwhile */
	FENCE_MS = 2000,
	STATEMENT_MS = 60000,
	PACK_MS = 120000,
	MEMORY = 1 << 20
};

struct build {
	struct people_pack pack;
	struct db_stream stream;
	struct db db;
	struct arena a;
	int32_t project;
	int64_t upto;
	uint64_t end_ms;
	int32_t no;        /* rows of this kind */
	uint64_t count[2]; /* by `alias` */
	char *data;
};

static void patient(struct build *b)
{
	b->db.deadline_ms = clock_mono_ms() + STATEMENT_MS;
}

static bool stop(struct db_stream *st)
{
	return clock_mono_ms() >= list_item(st, struct build, stream)->end_ms;
}

/* 1, 0: the project is gone, -1. */
static int fence(struct build *b)
{
	struct q_people_fence_row row;

	patient(b);
	if (db_blocking_begin(&b->db, "ISOLATION LEVEL READ COMMITTED", LOCK_MS, FENCE_MS) < 0 ||
		q_people_fence(&b->db, &(struct q_people_fence_args){b->project}, &row) < 0 ||
		db_commit(&b->db) < 0)
		return -1;
	b->upto = row.upto;
	return !row.upto_null;
}

/* ---- what is written ---- */

static void encode(char *out, const uint64_t *v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		for (int k = 0; k < 8; k++)
			*out++ = (char)(v[i] >> 8 * k);
}

static bool put(struct build *b, bool alias, const uint64_t *id, const uint64_t *of, uint32_t n)
{
	struct str data = {b->data, (size_t)n * 16};
	struct q_people_pack_put_args args = {b->project, alias, b->no++, (int32_t)n, data};

	encode(b->data, id, n);
	encode(b->data + (size_t)n * 8, of, n);
	b->count[alias] += n;
	patient(b);
	return q_people_pack_put(&b->db, &args) >= 0;
}

static bool on_profiles(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n)
{
	return put(list_item(p, struct build, pack), false, id, of, n);
}

static bool on_aliases(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n)
{
	return put(list_item(p, struct build, pack), true, id, of, n);
}

/* Reads and writes on one connection: a page is one row, and was read to its end when its
 * callback writes. */
static int read_tables(struct build *b)
{
	db_stream(&b->stream, b->db.impl, &b->a);
	b->stream.stop = stop;
	b->pack.profiles = on_profiles;
	b->pack.aliases = on_aliases;
	if (people_tables_read(&b->pack, &b->stream, b->project) == 0)
		return 0;
	/* what a callback met says more than that it refused */
	if (b->db.err.kind == DB_OK)
		b->db.err = b->stream.db.err;
	return -1;
}

/* Inside the transaction. 1, 0: not to be done, -1. Its snapshot is that of its first statement,
 * which comes after fence() has committed: all up to `upto` is in it. */
static int replace(struct build *b)
{
	struct q_people_pack_begin_row row;
	int n;

	patient(b);
	n = q_people_pack_begin(&b->db, &(struct q_people_pack_begin_args){b->project}, &row);
	/* another keeper drew later than we, and has finished */
	if (n <= 0 || (!row.upto_null && row.upto > b->upto))
		return n < 0 ? -1 : 0;
	if (q_people_pack_clear(&b->db, &(struct q_people_pack_clear_args){b->project}) < 0 ||
		read_tables(b) < 0)
		return -1;
	patient(b);
	if (q_people_pack_end(&b->db, &(struct q_people_pack_end_args){b->project, b->upto,
					      (int64_t)b->count[false], (int64_t)b->count[true]}) <
			0 ||
		q_people_gone_clear(
			&b->db, &(struct q_people_gone_clear_args){b->project, b->upto}) < 0)
		return -1;
	return 1;
}

static int make(struct build *b)
{
	int n = fence(b);

	if (n <= 0)
		return n;
	patient(b);
	if (db_blocking_begin(&b->db, "ISOLATION LEVEL REPEATABLE READ", LOCK_MS, STATEMENT_MS) < 0)
		return -1;
	n = replace(b);
	if (n == 0)
		db_rollback(&b->db);
	patient(b);
	return n <= 0 ? n : db_commit(&b->db) < 0 ? -1 : 1;
}

/* A statement that is still under way is its owner's to see: it closes the connection. */
static enum packer_end trouble(struct build *b)
{
	struct db_error err = b->db.err;
	PGTransactionStatusType status = PQtransactionStatus(b->db.impl);
	bool active = status == PQTRANS_ACTIVE || status == PQTRANS_UNKNOWN;

	if (status == PQTRANS_INTRANS || status == PQTRANS_INERROR)
		db_rollback(&b->db);
	b->db.err = err;
	return !active && (err.kind == DB_TIMEOUT || err.kind == DB_SERIALIZE) ? PACKER_LEFT
									       : PACKER_DB;
}

enum packer_end packer_pack(struct packer *k, int32_t project)
{
	struct build b = {.project = project, .end_ms = clock_mono_ms() + PACK_MS};
	enum packer_end end;
	int n = -1;

	arena_init(&b.a, MEMORY);
	db_blocking(&b.db, k->conn, &b.a);
	b.data = arena_alloc(&b.a, (size_t)PEOPLE_PACK_BATCH * 16);
	if (b.data)
		n = make(&b);
	else
		b.db.err.kind = DB_MEMORY;
	end = n > 0 ? PACKER_DONE : n == 0 ? PACKER_LEFT : trouble(&b);
	k->err = b.db.err;
	k->profiles = b.count[false];
	k->aliases = b.count[true];
	arena_free(&b.a);
	return end;
}
