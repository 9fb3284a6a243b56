/* See scan.h: what a scan does on its thread. */
#include <poll.h>
#include <stdatomic.h>
#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/list.h"
#include "shm/base/log.h"
#include "worker/db/blocking.h"
#include "worker/insights/explain.h"
#include "worker/insights/scan_internal.h"
#include "worker/insights/turn.h"
#include "worker/insights/watch.h"

enum {
	RECYCLE_BYTES = 64 << 20, /* libpq's buffer never shrinks: connect anew after so much */
	REPLAY_MS = 1000, /* how long a standby may take to catch up, before the primary is asked */
	REPLAY_STEP_MS = 5,
	ROLLBACK_MS = 500
};

struct twin;

/* The reader is first: its callbacks get that and cast it back. */
struct run {
	struct reader reader;
	struct scan *scan;
	struct scan *asked;      /* the one that may be stopped */
	struct turn turn, *look; /* look: that of the first thread */
	bool unwanted;           /* noticed by the kernel */
	struct twin *twin;       /* or NULL */
};

/* What a second thread has of a scan: a scan, a plan and a kernel of its own. The run is first,
 * for is_shared(). */
struct twin {
	struct run run;
	struct scan scan;
	struct plan plan;
	struct run *first;
};

/* On either thread; a twin asks for the first one's scan, which alone is told to stop. */
static bool should_stop(struct db_stream *st)
{
	struct run *run = list_item(st, struct run, reader.stream);

	return atomic_load_explicit(&run->asked->asked_to_stop, memory_order_relaxed) ||
	       clock_mono_ms() >= run->asked->deadline_ms;
}

/* Sealed segments come day by day, and after the inbox (reader_scan()): before the day of
 * this one nothing comes any more. False when that is not so: kernels would miss it. */
static bool settle(struct scan *s, const struct evseg *seg, struct frame *f)
{
	enum { DAY_MS = 86400000 };
	int64_t rest;

	/* the newest first have no such order */
	if (seg->id == 0 || seg->n == 0 || s->enough)
		return true;
	rest = f->batch->times[0] % DAY_MS;
	f->settled_ms = f->batch->times[0] - (rest < 0 ? rest + DAY_MS : rest);
	if (f->settled_ms < s->settled_ms) {
		log_err("segments are out of order project=%d id=%lld", s->project,
			(long long)seg->id);
		return false;
	}
	s->settled_ms = f->settled_ms;
	return true;
}

/* Books the time since *at. */
static void lap(struct scan *s, enum scan_stage stage, uint64_t *at)
{
	uint64_t now = clock_mono_ns();

	s->ns[stage] += now - *at;
	*at = now;
}

static void note_memory(struct scan *s, const struct reader *r)
{
	const struct twin *twin = ((const struct run *)r)->twin;
	size_t held = arena_held(&s->a) + r->scratch.held + (twin ? s->twin_memory : 0);

	if (held > s->peak)
		s->peak = held;
}

/* Sets why a kernel gave up: nobody waits for it, or its memory is full. That is asked again,
 * because what one thread noticed may have been for the other's run; it does not become false. */
static enum stream_next kernel_failed(struct run *run)
{
	bool unwanted = should_stop(&run->reader.stream);

	run->reader.error = unwanted ? READER_DB : READER_MEMORY;
	if (unwanted)
		run->reader.stream.db.err.kind = DB_TIMEOUT;
	return STREAM_FAIL;
}

/* The same of what may be damaged, too. The second thread that leaves has no error. */
static enum stream_next segment_failed(struct run *run, const struct arena *a)
{
	struct reader *r = &run->reader;

	if (should_stop(&r->stream))
		return kernel_failed(run);
	if (!r->second || !r->leave)
		r->error = a->over || run->scan->a.over ? READER_MEMORY : READER_BROKEN;
	return STREAM_FAIL;
}

/* The second thread leaves when somebody else wants to compute. What it leaves is done by the
 * first with the same kernel (end_twin() in reader_twin.c). */
static bool is_shared(struct run *run)
{
	const struct run *first = ((struct twin *)run)->first;

	run->reader.leave = atomic_load_explicit(&first->turn.shared, memory_order_relaxed);
	return run->reader.leave;
}

/* What the second thread asks through watch.h. It may not leave what the kernel has a part of. */
static bool twin_unwanted(void *arg)
{
	struct run *run = arg;

	run->unwanted |= should_stop(&run->reader.stream);
	return run->unwanted || (!run->reader.touched && is_shared(run));
}

/* Until `touched` is set the kernel has nothing of the segment: then the first thread may do what
 * the second cannot. From there on a failure is one of the whole scan. */
static enum stream_next take_segment(struct reader *r, const struct evseg *seg, struct arena *a)
{
	struct run *run = (struct run *)r;
	struct scan *s = run->scan;
	struct frame frame;
	struct batch batch;
	uint64_t at = clock_mono_ns();

	if (!batch_load(&batch, seg, &s->plan->need, a)) {
		r->error = a->over ? READER_MEMORY : READER_BROKEN;
		return STREAM_FAIL;
	}
	/* persons met for the first time go into the query's arena, all else into the
	 * segment's */
	if (!frame_make(&frame, s->plan, &batch, &s->people, a))
		return segment_failed(run, a);
	if (!settle(s, seg, &frame)) {
		r->error = READER_BROKEN;
		return STREAM_FAIL;
	}
	lap(s, STAGE_DECODE, &at);
	if (s->explain) {
		explain_segment(s->explain, &frame, seg);
		at = clock_mono_ns();
	}
	r->touched = true;
	if (!s->fold(s, &frame, seg))
		return kernel_failed(run);
	lap(s, STAGE_FOLD, &at);
	note_memory(s, r);
	return STREAM_MORE;
}

/* The first thread's watch is for all that it does (scan_thread()), the second's for its segments:
 * what is left of these comes on the first. */
static enum stream_next on_segment(struct reader *r, const struct evseg *seg, struct arena *a)
{
	struct run *run = (struct run *)r;
	enum stream_next next;

	if (!r->second) {
		turn_look(run->look);
		return take_segment(r, seg, a);
	}
	if (is_shared(run))
		return STREAM_FAIL;
	watch_begin(twin_unwanted, run);
	next = take_segment(r, seg, a);
	watch_end();
	return next;
}

static bool on_names(struct reader *r, struct str packed)
{
	struct scan *s = ((struct run *)r)->scan;

	return s->names(s, packed, &r->scratch);
}

static bool on_enough(struct reader *r, int64_t tmax)
{
	struct scan *s = ((struct run *)r)->scan;

	return s->enough(s, tmax);
}

/* Waits until the server behind the kept connection has what was acknowledged before the call. */
static bool caught_up(struct scan *s, struct db *db)
{
	uint64_t end = clock_mono_ms() + REPLAY_MS;
	struct q_wal_reached_row row;

	db->deadline_ms = end < s->deadline_ms ? end : s->deadline_ms;
	while (q_wal_reached(db, &(struct q_wal_reached_args){s->position}, &row) == 1) {
		if (row.reached)
			return true;
		if (clock_mono_ms() >= db->deadline_ms)
			return false;
		poll(NULL, 0, REPLAY_STEP_MS);
	}
	return false;
}

/* A connection inside a snapshot, made anew once if the kept one turns out dead. A
 * server may also stand still: nothing here waits for it beyond the deadline (but
 * connecting, which has 2 s at least). */
static bool begin(struct scan *s, struct db *db)
{
	char why[256];

	/* What this thread keeps is of home_url. A question that was sent to the primary may be
	 * asked again, and by another thread: it must not fall back behind. */
	if (s->url != s->home_url)
		db_kept_end();
	for (int attempt = 0; attempt < 2; attempt++) {
		uint64_t now = clock_mono_ms();
		uint64_t left = s->deadline_ms > now ? s->deadline_ms - now : 1;

		if (!db_kept()) {
			db_keep(db_connect_within(s->url, left, why, sizeof(why)));
			/* one that was just made is not given a second try */
			attempt = 1;
		}
		if (!db_kept()) {
			log_warn("scan cannot connect why=\"%s\"", why);
			return false;
		}
		db_blocking(db, db_kept(), &s->a);
		if (s->position.p && !caught_up(s, db)) {
			/* read-your-writes before load balancing (D21) */
			s->position.p = NULL;
			s->url = s->primary_url;
			attempt = -1;
			db_kept_end();
			continue;
		}
		db->deadline_ms = s->deadline_ms;
		if (db_blocking_begin(db, "ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, left) ==
			0)
			return true;
		db_kept_end();
		if (clock_mono_ms() >= s->deadline_ms) {
			s->end = SCAN_TIME;
			return false;
		}
	}
	return false;
}

/* A kernel's false has three meanings. One that is undecided although it was given ids has a bug:
 * asked again it would say the same. */
static enum scan_end memory_outcome(const struct scan *s)
{
	if (s->undecided)
		return s->plan->need.ids ? SCAN_BROKEN : SCAN_TIES;
	return s->twins ? SCAN_ALONE : SCAN_MEMORY;
}

static enum scan_end outcome(const struct scan *s, const struct reader *r, int n)
{
	if (n == 0)
		return s->by_text ? SCAN_TEXTS : SCAN_OK;
	if (r->error == READER_MEMORY && s->by_text)
		return SCAN_TEXTS;
	if (r->error == READER_MEMORY)
		return memory_outcome(s);
	if (r->error == READER_BROKEN)
		return SCAN_BROKEN;
	if (atomic_load_explicit(&s->asked_to_stop, memory_order_relaxed))
		return SCAN_GONE;
	switch (r->stream.db.err.kind) {
	case DB_TIMEOUT:
		return SCAN_TIME;
	case DB_DOWN:
	case DB_BUSY:
	case DB_SERIALIZE:
		return SCAN_DB;
	case DB_MEMORY:
		return SCAN_MEMORY;
	case DB_OK:
	case DB_UNIQUE:
	case DB_FOREIGN:
	case DB_CHECK:
	case DB_BUG:
	default:
		return SCAN_BROKEN;
	}
}

static bool on_profile(struct reader *r, struct str properties, int64_t update_us)
{
	struct scan *s = ((struct run *)r)->scan;

	return s->profile(s, properties, update_us / 1000, &r->scratch);
}

static bool on_trait(struct reader *r, const struct value *v)
{
	struct scan *s = ((struct run *)r)->scan;

	return s->trait(s, v);
}

/* What kernels ask of profiles beyond who is who. */
static int read_profiles(struct scan *s, struct reader *r)
{
	if (s->profile) {
		r->profile = on_profile;
		if (reader_properties(r) < 0)
			return -1;
	}
	if (s->trait) {
		r->trait = on_trait;
		if (reader_trait(r, s->plan->paths[0]) < 0)
			return -1;
	}
	return 0;
}

static enum stream_next on_missing(struct reader *r, const struct evseg *seg, struct arena *a)
{
	struct scan *s = ((struct run *)r)->scan;

	return s->fill(s, seg, a) ? STREAM_MORE : segment_failed((struct run *)r, a);
}

/* What was read up to "enough" was cancelled, which aborts the transaction. The way back is a
 * savepoint, so that what is missing is read in the same snapshot. */
static bool back_to(struct reader *r, struct db *mark)
{
	if (PQtransactionStatus(mark->impl) != PQTRANS_INERROR || db_blocking_return(mark) == 0)
		return true;
	r->error = READER_DB;
	r->stream.db.err = mark->err;
	return false;
}

static int read_missing(struct scan *s, struct reader *r, struct db *mark)
{
	const int32_t *days;
	const int64_t *ids;
	uint32_t n;
	int done;

	if (!s->missing(s, &days, &ids, &n)) {
		r->error = READER_MEMORY;
		return -1;
	}
	r->segment = on_missing;
	if (n == 0)
		return 0;
	/* behind a pooler the cancellation may come late and hit this statement */
	for (int attempt = 0;; attempt++) {
		if (!back_to(r, mark))
			return -1;
		r->error = READER_OK;
		done = reader_segments(r, days, ids, n);
		if (done == 0 || attempt > 0 || r->error != READER_DB ||
			r->stream.db.err.kind != DB_TIMEOUT || should_stop(&r->stream))
			return done;
	}
}

/* 0, or -1 with r->error. */
static int fold_all(struct scan *s, struct reader *r)
{
	const struct plan *p = s->plan;
	struct db mark;
	int n;

	db_blocking(&mark, r->stream.db.impl, &s->a);
	mark.deadline_ms = s->deadline_ms;
	if (s->missing && db_blocking_mark(&mark) < 0) {
		r->error = READER_DB;
		r->stream.db.err = mark.err;
		return -1;
	}
	n = s->enough ? reader_scan_newest(r, p->from_ms, p->to_ms)
		      : reader_scan(r, p->from_ms, p->to_ms);
	return n == 0 && s->missing ? read_missing(s, r, &mark) : n;
}

/* What kernels ask through watch.h: so they let others have a turn in their long loops, too.
 * Sticky, because finish() may go on after a loop that ended early. */
static bool unwanted(void *arg)
{
	struct run *run = arg;

	turn_look(&run->turn);
	run->unwanted |= should_stop(&run->reader.stream);
	return run->unwanted;
}

static bool stop_waiting(void *arg)
{
	return should_stop(&((struct run *)arg)->reader.stream);
}

/* ---- with a second thread ---- */

/* While the first thread waits for the second: this look sets `shared`, for which that one
 * leaves. */
static void on_wait(struct reader *r)
{
	turn_look(&((struct run *)r)->turn);
}

/* A scan of its own, whose kernel has its memory within that of the first. Asked on the first
 * thread, before the second begins. run->twin is set without a kernel, too, so that end_twin()
 * gets what it has taken. Its decoding is outside of the arena, whose cap goes down by as
 * much. */
static struct reader *make_twin(struct reader *r)
{
	struct run *run = (struct run *)r;
	struct scan *s = run->scan;
	struct twin *t;

	if (s->twin_memory == 0 || atomic_load(&run->turn.shared) ||
		s->a.cap - arena_held(&s->a) < s->twin_memory * 2)
		return NULL;
	t = arena_zalloc(&s->a, sizeof(*t));
	if (!t)
		return NULL;
	t->scan = (struct scan){.project = s->project,
		.fold = s->fold,
		.people = s->people,
		.settled_ms = INT64_MIN};
	arena_init_within(&t->scan.a, &s->a);
	t->plan = *s->plan;
	t->plan.a = &t->scan.a;
	t->scan.plan = &t->plan;
	t->first = run;
	t->run = (struct run){.scan = &t->scan, .asked = s, .look = run->look};
	t->scan.kernel = s->twin(&t->scan, s->kernel);
	run->twin = t;
	if (!t->scan.kernel)
		return NULL;
	reader_twin(&t->run.reader, r, s->twin_memory);
	s->a.cap -= s->twin_memory;
	s->twins = true;
	return &t->run.reader;
}

/* What the other thread's kernel has goes over, and its memory, whatever became of it. */
static bool end_twin(struct scan *s, struct run *run, bool join)
{
	struct twin *t = run->twin;
	bool joined = true;

	if (!t)
		return true;
	/* only then was the cap lowered for it */
	if (t->run.reader.scratch.cap > 0) {
		s->a.cap += s->twin_memory;
		arena_free(&t->run.reader.scratch);
	}
	s->undecided |= t->scan.undecided;
	run->unwanted |= t->run.unwanted;
	if (join && t->scan.kernel)
		joined = s->join(s, t->scan.kernel);
	arena_adopt(&s->a, &t->scan.a);
	run->twin = NULL;
	return joined;
}

/* Kernels are joined before more() and finish(), which know of one only. */
static int read_segments(struct scan *s, struct reader *r)
{
	struct run *run = (struct run *)r;
	uint64_t at = clock_mono_ns(), inside = s->ns[STAGE_DECODE] + s->ns[STAGE_FOLD];
	int n = s->fold ? fold_all(s, r) : 0;

	lap(s, STAGE_READ, &at);
	/* all of it happened between rows */
	s->ns[STAGE_READ] -= s->ns[STAGE_DECODE] + s->ns[STAGE_FOLD] - inside;
	if (!end_twin(s, run, n >= 0)) {
		kernel_failed(run);
		return -1;
	}
	if (n < 0)
		return -1;
	if (s->more && !s->more(s, r)) {
		if (r->error == READER_OK)
			kernel_failed(run);
		return -1;
	}
	if (s->by_text)
		return 0;
	/* a kernel that cannot say so may have stopped halfway */
	if (s->finish && (!s->finish(s) || run->unwanted)) {
		kernel_failed(run);
		return -1;
	}
	lap(s, STAGE_FINISH, &at);
	note_memory(s, r);
	return 0;
}

/* Who is who comes before the events, whose conditions may ask for traits. */
static int read_all(struct scan *s, struct run *run)
{
	const struct plan *p = s->plan;
	struct reader *r = &run->reader;
	uint64_t at = clock_mono_ns();

	if (p->need.numbers) {
		people_init_digests(&s->people, &s->a);
	} else if (!people_init(&s->people, &s->a, p->n_paths)) {
		r->error = READER_MEMORY;
		return -1;
	}
	r->dates = p->dates;
	if (p->people && reader_people(r, &s->people, p->paths, p->n_paths) < 0)
		return -1;
	if (read_profiles(s, r) < 0)
		return -1;
	lap(s, STAGE_PEOPLE, &at);
	note_memory(s, r);
	r->segment = on_segment;
	r->enough = on_enough;
	r->names = s->names ? on_names : NULL;
	r->need = p->lean && (p->kind != PLAN_LIST || s->missing) ? &p->need : NULL;
	r->kinds = p->kinds;
	r->n_kinds = p->n_kinds;
	r->cache = s->cache.ring > 0 ? &s->cache : NULL;
	/* who is who would have to be asked by both */
	if (s->twin && !s->alone && s->offload && !p->people && !s->explain) {
		r->twin = make_twin;
		r->twin_all = s->twin_all;
		r->offload = s->offload;
		r->wait = on_wait;
	}
	return read_segments(s, r);
}

/* The turn is taken with a connection at hand, not to be held by who waits for one. Behind a
 * statement that did not end in time (PQTRANS_ACTIVE) nothing can be sent: that connection goes. */
void scan_thread(void *arg)
{
	struct scan *s = arg;
	struct run run = {.scan = s, .asked = s, .look = &run.turn};
	uint64_t at = clock_mono_ns();
	struct db db;
	int n;

	s->deadline_ms = scan_fix(s);
	/* the client may have left while no thread was free, or its time is over */
	s->end = atomic_load(&s->asked_to_stop)      ? SCAN_GONE
		 : clock_mono_ms() >= s->deadline_ms ? SCAN_TIME
						     : SCAN_DB;
	if (s->end != SCAN_DB || !begin(s, &db))
		return;
	lap(s, STAGE_CONNECT, &at);
	if (s->explain && !explain_count(s->explain, &db, s->project, s->plan)) {
		db_kept_end();
		return;
	}
	reader_init(&run.reader, db_kept(), s->project, &s->a, s->segment_memory, should_stop);
	run.reader.people_cache = s->people_cache;
	run.turn = (struct turn){.seg = s->seg,
		.slot_no = s->slot_no,
		.n = s->turns,
		.stop = stop_waiting,
		.arg = &run};
	turn_take(&run.turn);
	watch_begin(unwanted, &run);
	n = read_all(s, &run);
	watch_end();
	turn_end(&run.turn);
	s->people_origin = run.reader.people_origin;
	s->end = outcome(s, &run.reader, n);
	s->bytes += run.reader.stream.bytes;
	s->runs++;
	s->segments = run.reader.n_segments;
	s->events = run.reader.n_events;
	db.deadline_ms = clock_mono_ms() + ROLLBACK_MS;
	if (PQtransactionStatus(db_kept()) != PQTRANS_ACTIVE)
		db_rollback(&db); /* nothing was written */
	/* a connection to the primary was for this query only */
	if (PQtransactionStatus(db_kept()) != PQTRANS_IDLE ||
		run.reader.stream.bytes > RECYCLE_BYTES || s->url != s->home_url)
		db_kept_end();
	reader_free(&run.reader);
	s->ended_ns = clock_mono_ns();
}
