/*
 * API keys: shared memory first, PostgreSQL when that does not know (D85). All
 * calls of a worker that miss on the same key wait for one lookup, so that a
 * cold cache costs the database one statement a key and not one a call.
 */
#include "shm/base/hash.h"
#include "shm/base/list.h"
#include "shm/segment.h"
#include "q.h"
#include "worker/call/apikey.h"
#include "worker/call/limit.h"
#include "worker/coro.h"
#include "worker/loop.h"
#include "worker/worker.h"

/* AGAIN: who asked ran out of time, which says nothing to those who waited. */
enum outcome { FOUND, UNKNOWN, FAILED, LIMITED, AGAIN, LATE };

/* A call that waits for somebody else's lookup; lives on its own stack. */
struct waiter {
	struct list node; /* in the flight's waiters, until one of the two below is due */
	struct loop_chore chore;
	struct loop_timer timer; /* the call's own deadline */
	struct coro *co;
	enum outcome outcome;
	struct key_entry entry;
};

/* A lookup under way; lives on the stack of the call that makes it. */
struct key_flight {
	uint8_t digest[32];
	uint64_t epoch; /* before it was asked for */
	struct list waiters;
	struct key_flight *next;
};

bool apikey_formed(struct str key)
{
	if (key.n != 44 || !(str_starts(key, STR("pub_")) || str_starts(key, STR("prv_"))))
		return false;
	for (size_t i = 4; i < key.n; i++)
		if (!((key.p[i] >= '0' && key.p[i] <= '9') || (key.p[i] >= 'a' && key.p[i] <= 'f')))
			return false;
	return true;
}

static void copy(char *to, size_t size, struct str from)
{
	size_t n = from.n < size ? from.n : size - 1;

	memset(to, 0, size);
	memcpy(to, from.p, n);
}

static enum outcome ask_database(
	struct call *c, const uint8_t digest[32], struct key_entry *out, struct db_error *err)
{
	struct q_authn_key_args args = {.digest = {(const char *)digest, 32}};
	struct q_authn_key_row row;
	struct db db;
	int n;

	if (!c->w->db) {
		err->kind = DB_DOWN;
		return FAILED;
	}
	db_pooled(&db, c->w->db, c->arena, c->deadline_ms);
	n = q_authn_key(&db, &args, &row);
	if (n < 0)
		*err = db.err;
	if (n <= 0)
		return n < 0 ? FAILED : UNKNOWN;
	memset(out, 0, sizeof(*out));
	copy(out->key_id, sizeof(out->key_id), row.key_id);
	copy(out->project_id, sizeof(out->project_id), row.project_id);
	copy(out->org_id, sizeof(out->org_id), row.org_id);
	out->project = row.project;
	out->kind = (uint32_t)row.kind;
	return FOUND;
}

static void landed(struct loop_chore *ch)
{
	coro_resume(list_item(ch, struct waiter, chore)->co);
}

static void too_late(struct loop_timer *t)
{
	struct waiter *wt = list_item(t, struct waiter, timer);

	list_del(&wt->node);
	wt->outcome = LATE;
	coro_resume(wt->co);
}

static enum outcome join(struct call *c, struct key_flight *f, struct key_entry *out)
{
	struct waiter me = {
		.chore = {.run = landed}, .timer = {.fire = too_late}, .co = coro_self()};

	list_add(&f->waiters, &me.node);
	loop_timer_set(c->w->loop, &me.timer, call_time_left(c));
	call_park(c);
	*out = me.entry;
	return me.outcome;
}

/* Waiters run at the end of the turn, on the loop's stack: not below ours. */
static void land(struct worker *w, struct key_flight *f, enum outcome o, const struct key_entry *e)
{
	struct key_flight **at = &w->key_flights;
	struct list *node;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	while ((node = list_pop(&f->waiters))) {
		struct waiter *wt = list_item(node, struct waiter, node);

		loop_timer_stop(w->loop, &wt->timer);
		wt->outcome = o;
		wt->entry = *e;
		loop_chore(w->loop, &wt->chore);
	}
}

static enum outcome look_up(
	struct call *c, const uint8_t digest[32], struct key_entry *out, struct db_error *err)
{
	struct worker *w = c->w;
	/* Before the lookup: what is revoked meanwhile must not be stored as valid. */
	struct key_flight me = {.epoch = keycache_epoch(w->seg), .next = w->key_flights};
	enum outcome o;

	/* One that began before a revocation may bring back what was true then. */
	for (struct key_flight *f = w->key_flights; f; f = f->next)
		if (f->epoch == me.epoch && memcmp(f->digest, digest, 32) == 0)
			return join(c, f, out);
	if (limit_guess_take(c) < 0)
		return LIMITED;
	memcpy(me.digest, digest, 32);
	list_init(&me.waiters);
	w->key_flights = &me;
	o = ask_database(c, digest, out, err);
	if (o != FAILED)
		keycache_put(w->seg, w->slot_no, digest, me.epoch, o == FOUND ? out : NULL);
	/* Nor to a guesser who hangs up before the answer comes. */
	if (o == FOUND || (o == FAILED && err->kind != DB_TIMEOUT))
		limit_guess_give(c);
	land(w, &me, o == FAILED && call_time_left(c) == 0 ? AGAIN : o, out);
	return o;
}

static int unknown(struct call *c)
{
	return call_fail(c, CODE_UNAUTHENTICATED, NULL, "the API key is not valid");
}

int apikey_find(struct call *c, struct str key, struct key_entry *out)
{
	struct worker *w = c->w;
	uint8_t digest[32];
	struct db_error err = {.kind = DB_DOWN};
	enum outcome o;

	memset(out, 0, sizeof(*out));
	if (!apikey_formed(key))
		return unknown(c);
	hash_sha256(key.p, key.n, digest);
	switch (keycache_get(w->seg, digest, out)) {
	case KEY_HIT:
		counter_add(w->seg, w->slot_no, CTR_key_hits, 1);
		return 0;
	case KEY_DENIED:
		counter_add(w->seg, w->slot_no, CTR_key_denied, 1);
		return unknown(c);
	case KEY_MISS:
		break;
	}
	counter_add(w->seg, w->slot_no, CTR_key_misses, 1);
	do {
		o = look_up(c, digest, out, &err);
	} while (o == AGAIN && call_time_left(c) > 0);
	switch (o) {
	case FOUND:
		return 0;
	case UNKNOWN:
		return unknown(c);
	case LIMITED:
		return -1;
	case FAILED:
	case AGAIN:
	case LATE:
		break;
	}
	/* A timer may be early by what the loop's clock lags behind. */
	if (o == LATE || call_time_left(c) == 0)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
	/* Never unauthenticated: clients take that as final (D3). */
	return call_fail(c, CODE_UNAVAILABLE, NULL, "the API key could not be checked, try again");
}
