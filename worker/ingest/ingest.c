/*
 * The queue of waiting calls and the coroutines that commit for them; see
 * ingest.h. A commit runs on a coroutine of its own: no call is blamed for
 * another one's events, and none has to outlive its own deadline.
 */
#include <stdlib.h>
#include "shm/base/list.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "shm/segment.h"
#include "worker/coro.h"
#include "worker/ingest/group.h"
#include "worker/loop.h"
#include "worker/worker.h"

enum {
	GROUP_EVENTS = 8192,   /* a group ends here, or... */
	GROUP_BYTES = 8 << 20, /* ...here; a single batch always fits */
	GROUP_BATCHES = 1024,
	GROUP_MEMORY = 128 << 20,
	ATTEMPTS = 3 /* against deadlocks and missing partitions */
};

/* A call that waits; lives on its stack. */
struct waiter {
	struct waiter *next;
	struct ingest_batch *batch;
	struct coro *co;
	struct db_error err; /* out */
	bool done, dead;
};

struct ingest {
	struct worker *w;
	struct waiter *head, **tail;
	struct loop_chore chore;
	int flying, flying_max;
};

static void start_commits(struct loop_chore *ch);

struct ingest *ingest_new(struct worker *w)
{
	struct ingest *in = calloc(1, sizeof(*in));

	if (!in)
		return NULL;
	in->w = w;
	in->tail = &in->head;
	in->chore.run = start_commits;
	in->flying_max = (int)w->opt->db_ingest;
	return in;
}

void ingest_free(struct ingest *in)
{
	free(in);
}

/* Takes waiters off the head until the group is full; returns how many. */
static uint32_t take_group(struct ingest *in, struct waiter **group)
{
	uint32_t n = 0, events = 0;
	size_t bytes = 0;

	while (in->head && n < GROUP_BATCHES) {
		const struct ingest_batch *b = in->head->batch;

		if (n > 0 && (events + b->n > GROUP_EVENTS || bytes + b->bytes > GROUP_BYTES))
			break;
		events += b->n;
		bytes += b->bytes;
		group[n++] = in->head;
		in->head = in->head->next;
	}
	if (!in->head)
		in->tail = &in->head;
	return n;
}

static void fail_all(struct waiter **v, uint32_t n, const struct db_error *err)
{
	for (uint32_t i = 0; i < n; i++)
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

static int claim(struct db *db, struct group *g)
{
	struct q_events_claim_row *rows;

	for (int attempt = 1;; attempt++) {
		int n = q_events_claim(db, &g->args, &rows);

		if (n >= 0)
			return group_settle(g, rows, n) ? 0 : -1;
		if (attempt == ATTEMPTS || !repair(db, g))
			return -1;
	}
}

static void mark_dead(const struct group *g, struct waiter **v, uint32_t n)
{
	for (uint32_t i = 0; i < g->n_batches; i++)
		for (uint32_t k = 0; g->dead[i] && k < n; k++)
			if (v[k]->batch == g->batches[i])
				v[k]->dead = true;
}

/* One statement for these waiters. True when it failed for a reason that may lie in
 * one of them. */
static bool commit(struct ingest *in, struct waiter **v, uint32_t n)
{
	struct ingest_batch **batches;
	struct arena a;
	struct group g = {0};
	struct db db;
	bool suspect = false;

	arena_init(&a, GROUP_MEMORY);
	db_pooled(&db, in->w->db, &a, 0);
	db.err = (struct db_error){.kind = DB_MEMORY};
	batches = arena_array(&a, n, sizeof(struct ingest_batch *));
	for (uint32_t i = 0; batches && i < n; i++)
		batches[i] = v[i]->batch;
	if (!batches || !group_make(&g, batches, n, &a) || claim(&db, &g) < 0) {
		if (db.err.kind == DB_OK)
			db.err.kind = DB_BUG;
		suspect = db.err.kind != DB_DOWN && db.err.kind != DB_TIMEOUT &&
			  db.err.kind != DB_BUSY;
		fail_all(v, n, &db.err);
	} else {
		mark_dead(&g, v, n);
		if (in->w->seg)
			counter_add(in->w->seg, in->w->slot_no, CTR_ingest_groups, 1);
	}
	arena_free(&a);
	return suspect;
}

/* One by one: only the culprit's project fails (D91). */
static void commit_each(struct ingest *in, struct waiter **v, uint32_t n)
{
	log_warn("group commit failed, trying its calls one by one calls=%u", n);
	for (uint32_t i = 0; i < n; i++) {
		v[i]->err = (struct db_error){.kind = DB_OK};
		commit(in, &v[i], 1);
	}
}

static void commit_groups(void *arg)
{
	struct ingest *in = arg;
	struct waiter *group[GROUP_BATCHES];

	while (in->head) {
		uint32_t n = take_group(in, group);

		if (commit(in, group, n) && n > 1)
			commit_each(in, group, n);
		for (uint32_t i = 0; i < n; i++) {
			group[i]->done = true;
			coro_resume(group[i]->co);
		}
	}
	in->flying--;
}

static void start_commits(struct loop_chore *ch)
{
	struct ingest *in = list_item(ch, struct ingest, chore);

	while (in->head && in->flying < in->flying_max) {
		in->flying++;
		if (coro_start(commit_groups, in))
			continue;
		in->flying--;
		if (in->flying > 0)
			return; /* that one takes the rest, too */
		/* no stack to be had: refuse rather than let calls hang */
		while (in->head) {
			struct waiter *wt = in->head;

			in->head = wt->next;
			if (!in->head)
				in->tail = &in->head;
			wt->err = (struct db_error){.kind = DB_BUSY};
			wt->done = true;
			coro_resume(wt->co);
		}
	}
}

int ingest_submit(struct call *c, struct ingest_batch *b)
{
	struct ingest *in = c->w->ingest;
	struct waiter me = {.batch = b, .co = coro_self()};
	struct db db = {.err = {.kind = DB_OK}};

	*in->tail = &me;
	in->tail = &me.next;
	/* at the end of the turn, so that the calls of one turn share a commit */
	if (in->flying < in->flying_max)
		loop_chore(in->w->loop, &in->chore);
	while (!me.done)
		call_park(c);
	if (me.dead)
		return call_fail(c, CODE_UNAUTHENTICATED, NULL, "the project was deleted");
	db.err = me.err;
	return me.err.kind == DB_OK ? 0 : call_fail_db(c, &db);
}
