/*
 * Erasure at level 1 of the event store; see eraser.h.
 *
 * Segments move while a pass is under way: merges, other erasures and sealing make new ones.
 * All of these share seal_lock() and draw ids after taking it; the snapshot here is taken
 * alone. So whatever turns up later has a greater id than all that were seen, and what the
 * cursor has passed holds nobody of the group any more. (What was below `high` and waited
 * in the inbox has gone through level 0, which waits for a sealer that has taken it.)
 */
#include "worker/jobs/eraser_internal.h"

#include "shm/base/list.h"
#include "worker/db/blocking.h"
#include "worker/db/codec.h"
#include "worker/mail/point.h"

static enum stream_next segment_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct scan *s = scan_of(st);
	struct arena *a = &s->p->blob;
	struct q_erase_segments_row row;
	struct evseg_part part = {.kind = PART_DISTINCT, .scope = SCOPE_AUTO, .key = STR("")};
	const uint32_t *owners;
	struct evseg seg;

	arena_reset(a);
	s->broken = true;
	if (codec_row(q, res, 0, &row, a) != DB_OK || row.n < 0 || !row.data.p || row.raw_null ||
		row.crc_null)
		return STREAM_FAIL;
	part.raw_n = (uint32_t)row.raw;
	part.stored = row.data;
	if (!evseg_of_parts(&seg, row.id, (uint32_t)row.n, &part, 1, &row.crc) ||
		!tombs_owners(&s->p->tombs, &seg, row.place, a, &owners))
		return STREAM_FAIL;
	s->broken = false;
	return scanned(s, row.id, row.day, owners != NULL);
}

static enum step segments_find(struct pass *p, struct scan *s)
{
	struct q_erase_segments_args args = {p->e->project, p->cursor, p->high, SCAN_BATCH};
	struct q_erase_segments_row *rows;
	struct q_seal_lock_row lock;
	enum step step = STEP_TROUBLE;

	erase_patient(p);
	if (db_blocking_begin(&p->db, "ISOLATION LEVEL READ COMMITTED", ERASE_LOCK_MS, SCAN_MS) < 0)
		return STEP_TROUBLE;
	erase_patient(p);
	if (q_seal_lock(&p->db, &(struct q_seal_lock_args){p->e->project, true}, &lock) == 1) {
		scan_begin(p, s, segment_row);
		step = scan_end(p, s, q_erase_segments(&s->stream.db, &args, &rows));
	}
	db_rollback(&p->db);
	return step;
}

static bool leave_out(struct sealer *s, struct evseg *seg, int64_t place, struct arena *a)
{
	struct pass *p = list_item(s, struct pass, sealer);
	uint8_t *masked = arena_zalloc(a, seg->n);
	const uint32_t *owners;

	if (!masked || !tombs_owners(&p->tombs, seg, place, a, &owners))
		return false;
	(void)erase_mark(p, seg, owners, masked);
	seg->masked = masked;
	return true;
}

/* Usage was counted when they were sealed. */
static int count_erased(struct sealer *s)
{
	struct pass *p = list_item(s, struct pass, sealer);
	struct q_erase_count_args args = {p->e->project, p->ids, {p->counts, p->ids.n}};
	int n = q_erase_count(&s->db, &args);

	mail_point(p->e->opt, "erase-rewritten");
	return n;
}

static enum step rewrite_segment(struct pass *p, int32_t day, int64_t id)
{
	enum sealer_end end;
	int again;

	p->sealer.leave_out = leave_out;
	p->sealer.also = count_erased;
	memset(p->counts, 0, (size_t)p->ids.n * sizeof(*p->counts));
	end = sealer_rewrite(&p->sealer, p->e->project, day, &id, 1, &again);
	if (end == SEALER_DB) {
		p->db.err = p->sealer.db.err;
		return STEP_TROUBLE;
	}
	if (end == SEALER_IDLE && p->sealer.why != MERGE_OK)
		return erase_broken(p, p->sealer.why == MERGE_MEMORY);
	if (end == SEALER_IDLE) /* what was in it has a greater id now, or is gone */
		return STEP_MORE;
	mail_point(p->e->opt, "erase-committed");
	for (int i = 0; i < p->ids.n; i++)
		erase_count(p, CTR_events_erased, p->counts[i]);
	return STEP_MORE;
}

enum step segments_step(struct pass *p)
{
	struct scan s;
	enum step step = segments_find(p, &s);

	if (step == STEP_TROUBLE || step == STEP_BROKEN)
		return step;
	mail_point(p->e->opt, "erase-found");
	for (int i = 0; i < s.n_hits; i++) {
		enum step done = rewrite_segment(p, s.days[i], s.hits[i]);

		if (done != STEP_MORE)
			return done;
	}
	p->cursor = s.last;
	/* what was found may be in newer segments by now: only a look that finds nobody ends the
	 * level */
	return s.n_hits ? STEP_MORE : step;
}
