/*
 * Erasure of what is kept of distinct ids beside the segments: their digests in
 * pugd.number_block, without which their numbers are nobody's; see eraser.h.
 *
 * A number that any segment holds must stay what it is, so the digests of ids that have come
 * again, for somebody new, stay. Of the segments that were below all `high` none holds such an id
 * any more; the others are looked through, some at a time. Each time nobody makes segments
 * (seal_lock() alone) and what is made later has a greater id; the last time, when all were
 * seen, the digests go in the same transaction. What comes from the inbox afterwards gets new
 * numbers. When this is interrupted, it is done again.
 */
#include "worker/jobs/eraser_internal.h"

#include <endian.h>

#include "shm/base/list.h"
#include "worker/db/blocking.h"
#include "worker/db/codec.h"
#include "worker/mail/point.h"
#include "worker/store/digests.h"

enum {
	BLOCKS = 32,      /* as numbers_blocks */
	LATER_BATCH = 200 /* segments of one look, while nobody can seal */
};

struct numbers {
	struct scan scan;
	uint8_t *found; /* by number in tombs.ids: it has come again */
	uint8_t key[DIGEST_KEY_BYTES];
	struct digests gone;
};

/* Marks the ids that a segment holds; false when it is damaged or memory is out. */
static bool mark(struct numbers *n, const struct q_erase_later_row *row, struct arena *a)
{
	const struct intern *ids = &n->scan.p->tombs.ids;
	struct evseg_part part = {.kind = PART_DISTINCT, .scope = SCOPE_AUTO, .key = STR("")};
	struct evseg seg;
	struct column c;

	if (row->n < 0 || !row->data.p || row->raw_null || row->crc_null)
		return false;
	part.raw_n = (uint32_t)row->raw;
	part.stored = row->data;
	if (!evseg_of_parts(&seg, row->id, (uint32_t)row->n, &part, 1, &row->crc) ||
		!evseg_column(&seg, &part, a, &c))
		return false;
	for (uint32_t i = 0; i < c.n_entries; i++) {
		uint32_t no = intern_find(ids, c.entries[i].s);

		if (no != INTERN_FULL)
			n->found[no] = 1;
	}
	return true;
}

static enum stream_next later_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct scan *s = scan_of(st);
	struct numbers *n = list_item(s, struct numbers, scan);
	struct arena *a = &s->p->blob;
	struct q_erase_later_row row;

	arena_reset(a);
	if (codec_row(q, res, 0, &row, a) != DB_OK || !mark(n, &row, a)) {
		s->broken = true;
		return STREAM_FAIL;
	}
	s->last = row.id;
	s->n++;
	return STREAM_MORE;
}

static enum step look(struct pass *p, struct numbers *n)
{
	struct q_erase_later_args args = {p->e->project, p->cursor, p->low, LATER_BATCH};
	struct q_erase_later_row *rows;
	struct q_seal_lock_row lock;
	enum step step;

	erase_patient(p);
	if (db_blocking_begin(&p->db, "ISOLATION LEVEL READ COMMITTED", ERASE_LOCK_MS, SCAN_MS) < 0)
		return STEP_TROUBLE;
	erase_patient(p);
	if (q_seal_lock(&p->db, &(struct q_seal_lock_args){p->e->project, true}, &lock) != 1)
		return STEP_TROUBLE;
	scan_begin(p, &n->scan, later_row);
	step = scan_end(p, &n->scan, q_erase_later(&n->scan.stream.db, &args, &rows));
	return step == STEP_LAST && n->scan.n == LATER_BATCH ? STEP_MORE : step;
}

/* Digests of the ids that nobody has any more. */
static enum step list_gone(struct pass *p, struct numbers *n)
{
	struct q_numbers_key_row row;

	erase_patient(p);
	if (q_numbers_key(&p->db, &(struct q_numbers_key_args){p->e->project}, &row) < 0)
		return STEP_TROUBLE;
	digests_init(&n->gone, &p->a);
	if (row.key.n != sizeof(n->key)) /* no such project */
		return STEP_LAST;
	memcpy(n->key, row.key.p, sizeof(n->key));
	for (uint32_t i = 0; i < p->tombs.ids.n; i++)
		if (!n->found[i] &&
			digests_add(&n->gone, digest_of(n->key, p->tombs.ids.strings[i])) ==
				DIGESTS_FULL)
			return erase_broken(p, true);
	return STEP_LAST;
}

static enum step retire_block(
	struct pass *p, const struct numbers *n, const struct q_numbers_blocks_row *row)
{
	struct q_numbers_retire_args args = {p->e->project, row->first, row->digests};
	size_t many = row->digests.n / 8;
	uint64_t *v = arena_array(&p->blob, many + 1, sizeof(*v));
	bool changed = false;

	if (!v)
		return erase_broken(p, true);
	memcpy(v, row->digests.p, many * 8);
	for (size_t i = 0; i < many; i++)
		if (digests_find(&n->gone, le64toh(v[i])) != DIGESTS_FULL) {
			v[i] = 0;
			changed = true;
		}
	args.digests.p = (const char *)v;
	erase_patient(p);
	return changed && q_numbers_retire(&p->db, &args) < 0 ? STEP_TROUBLE : STEP_LAST;
}

static enum step retire(struct pass *p, struct numbers *n)
{
	struct q_numbers_blocks_args args = {p->e->project, 1};
	struct arena *before = p->db.arena;
	struct q_numbers_blocks_row *rows;
	enum step step = list_gone(p, n);
	int found = BLOCKS;

	p->db.arena = &p->blob;
	while (step == STEP_LAST && found == BLOCKS) {
		arena_reset(&p->blob);
		erase_patient(p);
		found = q_numbers_blocks(&p->db, &args, &rows);
		if (found < 0)
			step = STEP_TROUBLE;
		for (int i = 0; i < found && step == STEP_LAST; i++) {
			step = retire_block(p, n, &rows[i]);
			args.from_number = rows[i].first + rows[i].n;
		}
	}
	p->db.arena = before;
	mail_point(p->e->opt, "erase-numbers");
	return step;
}

enum step numbers_step(struct pass *p)
{
	struct numbers n = {.found = arena_zalloc(&p->a, (size_t)p->tombs.ids.n + 1)};
	enum step step = STEP_MORE;

	if (!n.found)
		return erase_broken(p, true);
	p->cursor = 0;
	while (step == STEP_MORE) {
		step = look(p, &n);
		if (step == STEP_LAST)
			step = retire(p, &n);
		if (step == STEP_LAST) {
			erase_patient(p);
			return db_commit(&p->db) == 0 ? STEP_LAST : STEP_TROUBLE;
		}
		if (step == STEP_TROUBLE) /* whose connection ends */
			return step;
		db_rollback(&p->db);
		p->cursor = n.scan.last;
	}
	return step;
}
