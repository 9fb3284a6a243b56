/*
 * The queue of waiting calls and the coroutines that commit for them; see
 * ingest.h. A commit runs on a coroutine of its own: no call is blamed for
 * another one's events, and none has to outlive its own deadline.
 */
#include <stdlib.h>
#include "shm/base/list.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "shm/recent.h"
#include "shm/segment.h"
#include "worker/coro.h"
#include "worker/ingest/group.h"
#include "worker/ingest/resent.h"
#include "worker/loop.h"
#include "worker/store/evseg.h"
#include "worker/worker.h"

enum {
	GROUP_EVENTS = 8192,   /* a group ends here, or... */
	GROUP_BYTES = 8 << 20, /* ...here; a single batch always fits */
	GROUP_BATCHES = 1024,
	GROUP_MEMORY = 128 << 20,
	ATTEMPTS = 3, /* against deadlocks and missing partitions */
	DOUBTS = 16   /* at most so many groups in a row */
};

/* A part of a blob takes about what its properties take in messages, not twice as much: so what
 * encode.c finds too large is always one batch alone in its group, and fails nobody else. */
_Static_assert(2 * GROUP_BYTES <= EVSEG_PART_MAX, "batches that share a group fit into a blob");

/* A call that waits; lives on its stack, so it is gone once the call was resumed. */
struct waiter {
	struct list node;      /* in ingest->waiting, until it is taken */
	struct waiter **place; /* in the group that took it; NULL before and afterwards */
	uint64_t no;           /* order of arrival */
	struct ingest_batch *batch;
	struct loop_timer timer; /* the call's own deadline */
	struct ingest *in;
	struct coro *co;
	struct db_error err; /* out */
	bool done, dead, late;
};

struct ingest {
	struct worker *w;
	struct list waiting;
	uint64_t arrived;
	struct loop_chore chore;
	int flying, flying_max;
	struct recent *recent;
	bool recent_mine;
	/* Groups to come of which each id is suspected to be known: a client that sends old
	 * events again may have more of them, and to find out each time would cost a claim
	 * that fails. The more groups had such ids, the more are suspected after the next. */
	int doubts, next_doubts;
};

static void start_commits(struct loop_chore *ch);

struct ingest *ingest_new(struct worker *w)
{
	struct ingest *in = calloc(1, sizeof(*in));

	if (!in)
		return NULL;
	in->recent = w->seg ? recent_of(w->seg) : recent_new();
	in->recent_mine = !w->seg;
	if (!in->recent) {
		free(in);
		return NULL;
	}
	in->next_doubts = 1;
	in->w = w;
	list_init(&in->waiting);
	in->chore.run = start_commits;
	in->flying_max = (int)w->opt->db_ingest;
	return in;
}

void ingest_free(struct ingest *in)
{
	if (in && in->recent_mine)
		recent_free(in->recent);
	free(in);
}

static void release(struct waiter *wt)
{
	list_del(&wt->node);
	wt->place = NULL;
	wt->done = true;
	loop_timer_stop(wt->in->w->loop, &wt->timer);
	coro_resume(wt->co);
}

/* Leaves a hole in its group: what the commit needs of the batch, it has copied. */
static void too_late(struct loop_timer *t)
{
	struct waiter *wt = list_item(t, struct waiter, timer);

	if (wt->place)
		*wt->place = NULL;
	wt->late = true;
	release(wt);
}

/* Takes waiters off the head until the group is full; returns how many. */
static uint32_t take_group(struct ingest *in, struct waiter **group)
{
	uint32_t n = 0, events = 0;
	size_t bytes = 0;

	while (!list_empty(&in->waiting) && n < GROUP_BATCHES) {
		struct waiter *wt = list_item(in->waiting.next, struct waiter, node);
		const struct ingest_batch *b = wt->batch;

		if (n > 0 && (events + b->n > GROUP_EVENTS || bytes + b->bytes > GROUP_BYTES))
			break;
		events += b->n;
		bytes += b->bytes;
		list_del(&wt->node);
		wt->place = &group[n];
		group[n++] = wt;
	}
	return n;
}

static void fail_all(struct waiter **v, uint32_t n, const struct db_error *err)
{
	for (uint32_t i = 0; i < n; i++)
		if (v[i])
			v[i]->err = *err;
}

/* "no partition of relation found for row": not a constraint of ours. */
static bool partition_missing(const struct db_error *err)
{
	return strcmp(err->sqlstate, "23514") == 0 && err->constraint[0] == '\0';
}

/* True when the claim is worth another attempt. */
static bool repair(struct db *db, const struct group *g)
{
	struct q_events_days_args args;
	struct q_events_days_row row;

	if (db->err.kind == DB_SERIALIZE)
		return true;
	if (!partition_missing(&db->err) || !group_days(g, &args.days))
		return false;
	return q_events_days(db, &args, &row) >= 0;
}

static void weigh(struct ingest *in, bool surprised)
{
	int next = in->next_doubts;

	if (surprised) {
		in->doubts = next;
		in->next_doubts = next * 2 < DOUBTS ? next * 2 : DOUBTS;
	} else if (in->doubts > 0 && --in->doubts == 0) {
		in->next_doubts = next > 1 ? next / 2 : 1;
	}
}

/* Numbers of ids that may be known: those that were stored lately, or, after surprises, all. Of how
 * many it would be the former, *expected says. NULL without memory. */
static int32_t *suspects(const struct ingest *in, const struct group *g, int *n, uint32_t *expected)
{
	uint32_t all = (uint32_t)g->ids.id.n;
	int32_t *v = arena_array(g->a, (size_t)all + 1, sizeof(*v));

	if (!v)
		return NULL;
	*expected = recent_find(in->recent, g->ids.project.v, g->ids.id.v, all, v);
	*n = (int)(in->doubts > 0 ? all : *expected);
	for (uint32_t i = 0; in->doubts > 0 && i < all; i++)
		v[i] = (int32_t)i + 1;
	return v;
}

/* Leaves out what is known of the suspects: it is neither claimed nor written once more. */
static int drop_known(struct ingest *in, struct db *db, struct group *g)
{
	struct q_events_known_args args;
	struct q_events_known_row row;
	uint32_t expected;
	int n;
	int32_t *v = suspects(in, g, &n, &expected);

	if (!v)
		return -1;
	if (n == 0)
		return 0;
	if (!resent_pick(g, v, n, &args) || q_events_known(db, &args, &row) < 0 ||
		!group_drop(g, v, n, &row.known))
		return -1;
	weigh(in, (uint32_t)row.known.n > expected);
	return 0;
}

static int store_or_claim(struct ingest *in, struct db *db, struct group *g)
{
	bool surprised = false;

	if (g->n_rows == 0)
		group_settle_new(g);
	for (int attempt = 1; g->n_rows > 0; attempt++) {
		uint32_t known = 0;
		int rc = surprised ? group_claim(g, db, &known) : group_store(g, db);

		if (known > 0)
			weigh(in, true);
		if (rc > 0)
			break;
		if (rc == 0) {
			surprised = true;
			attempt = 0;
		} else if (attempt == ATTEMPTS || !repair(db, g)) {
			return -1;
		}
	}
	recent_add(in->recent, g->ids.project.v, g->ids.id.v, (uint32_t)g->ids.id.n);
	return 0;
}

/* Moves v's waiters to its front, without the holes; returns how many there are. */
static uint32_t close_up(struct waiter **v, uint32_t n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++)
		if (v[i])
			v[kept++] = v[i];
	for (uint32_t i = 0; i < kept; i++)
		v[i]->place = &v[i];
	for (uint32_t i = kept; i < n; i++)
		v[i] = NULL;
	return kept;
}

/* What the group found out, to the waiters that are still there. */
static void hand_out(const struct group *g, const struct ingest_batch *copies, struct waiter **v)
{
	for (uint32_t i = 0; i < g->n_batches; i++) {
		struct waiter *wt = v[g->batches[i] - copies];

		if (!wt)
			continue;
		wt->err = (struct db_error){.kind = DB_OK};
		wt->batch->created = g->batches[i]->created;
		wt->batch->expired = g->batches[i]->expired;
		wt->dead = g->dead[i];
	}
}

/* The batches as group_sort() wants them. Copies, because a waiter may leave while a
 * statement is under way; its events are not looked at after they were encoded. */
static bool make(struct group *g, struct ingest_batch **copies, struct waiter **v, uint32_t n,
	struct arena *a)
{
	struct ingest_batch **batches = arena_array(a, n, sizeof(struct ingest_batch *));

	*copies = arena_array(a, n, sizeof(**copies));
	if (!batches || !*copies)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		(*copies)[i] = *v[i]->batch;
		batches[i] = &(*copies)[i];
	}
	return group_sort(g, batches, n, a);
}

/* A group, encoded but for what is known. Who leaves in the meantime takes his events along, of
 * which others' may be repeats: then it is made again, and nothing is taken for known. */
static bool prepare(struct ingest *in, struct db *db, struct group *g, struct ingest_batch **copies,
	struct waiter **v, uint32_t n)
{
	uint32_t left;

	if (!make(g, copies, v, n, db->arena) || drop_known(in, db, g) < 0)
		return false;
	db->err = (struct db_error){.kind = DB_MEMORY}; /* of what follows nothing else fails */
	left = close_up(v, n);
	*g = left > 0 ? *g : (struct group){.a = db->arena};
	if (left > 0 && left < n && !make(g, copies, v, left, db->arena))
		return false;
	return group_encode(g);
}

/* For these waiters, who are all there when it begins. */
static enum db_kind commit(struct ingest *in, struct waiter **v, uint32_t n)
{
	struct ingest_batch *copies;
	struct arena a;
	struct group g = {0};
	struct db db;

	arena_init(&a, GROUP_MEMORY);
	db_pooled(&db, in->w->db, &a, 0);
	db.err = (struct db_error){.kind = DB_MEMORY};
	if (!prepare(in, &db, &g, &copies, v, n) || store_or_claim(in, &db, &g) < 0) {
		if (db.err.kind == DB_OK)
			db.err.kind = DB_BUG;
		fail_all(v, n, &db.err);
	} else {
		hand_out(&g, copies, v);
		if (in->w->seg)
			counter_add(in->w->seg, in->w->slot_no, CTR_ingest_groups, 1);
		db.err.kind = DB_OK;
	}
	arena_free(&a);
	return db.err.kind;
}

/* True when the failure may lie in one of the batches. The others lie in the database:
 * each repetition would only fail again, and as late as the first. */
static bool suspicious(enum db_kind kind)
{
	return kind != DB_OK && kind != DB_DOWN && kind != DB_TIMEOUT && kind != DB_BUSY;
}

static int by_project(const void *x, const void *y)
{
	const struct waiter *a = *(struct waiter *const *)x, *b = *(struct waiter *const *)y;

	if (a->batch->project != b->batch->project)
		return a->batch->project < b->batch->project ? -1 : 1;
	return a->no < b->no ? -1 : a->no > b->no;
}

static bool mixed(struct waiter *const *v, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++)
		if (v[i]->batch->project != v[0]->batch->project)
			return true;
	return false;
}

/* Project by project: only the culprit fails (D91). */
static void commit_each(struct ingest *in, struct waiter **v, uint32_t n)
{
	struct db_error err = {.kind = DB_OK};
	uint32_t end;

	/* twice: qsort() must meet no hole, and it moves waiters away from their `place` */
	n = close_up(v, n);
	qsort(v, n, sizeof(struct waiter *), by_project);
	n = close_up(v, n);
	log_warn("group commit failed, trying its projects one by one calls=%u", n);
	while (n > 0) {
		for (end = 1; end < n && v[end]->batch->project == v[0]->batch->project; end++)
			;
		err.kind = commit(in, v, end);
		v += end;
		n = close_up(v, n - end);
		if (err.kind != DB_OK && !suspicious(err.kind)) {
			fail_all(v, n, &err);
			return;
		}
	}
}

static void commit_groups(void *arg)
{
	struct ingest *in = arg;
	struct waiter *group[GROUP_BATCHES];

	while (!list_empty(&in->waiting)) {
		uint32_t n = take_group(in, group);
		bool divisible = mixed(group, n);

		if (suspicious(commit(in, group, n)) && divisible)
			commit_each(in, group, n);
		for (uint32_t i = 0; i < n; i++)
			if (group[i])
				release(group[i]);
	}
	in->flying--;
}

static void start_commits(struct loop_chore *ch)
{
	struct ingest *in = list_item(ch, struct ingest, chore);

	while (!list_empty(&in->waiting) && in->flying < in->flying_max) {
		in->flying++;
		/* it has taken a group when this returns: it runs at once, up to its first
		 * statement */
		if (coro_start(commit_groups, in))
			continue;
		in->flying--;
		if (in->flying > 0)
			return; /* that one takes the rest, too */
		/* no stack to be had: refuse rather than let calls hang */
		while (!list_empty(&in->waiting)) {
			struct waiter *wt = list_item(in->waiting.next, struct waiter, node);

			wt->err = (struct db_error){.kind = DB_BUSY};
			release(wt);
		}
	}
}

int ingest_submit(struct call *c, struct ingest_batch *b)
{
	struct ingest *in = c->w->ingest;
	struct waiter me = {.batch = b,
		.co = coro_self(),
		.in = in,
		.no = in->arrived++,
		.timer = {.fire = too_late}};
	struct db db = {.err = {.kind = DB_OK}};

	list_add(&in->waiting, &me.node);
	loop_timer_set(in->w->loop, &me.timer, call_time_left(c));
	/* at the end of the turn, so that the calls of one turn share a commit */
	if (in->flying < in->flying_max)
		loop_chore(in->w->loop, &in->chore);
	while (!me.done)
		call_park(c);
	/* perhaps stored all the same: nobody knows yet (D20 makes sending again safe) */
	if (me.late)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
	if (me.dead)
		return call_fail(c, CODE_UNAUTHENTICATED, NULL, "the project was deleted");
	if (me.err.kind == DB_MEMORY)
		return call_fail(
			c, CODE_RESOURCE_EXHAUSTED, NULL, "the call needs too much memory");
	db.err = me.err;
	return me.err.kind == DB_OK ? 0 : call_fail_db(c, &db);
}
