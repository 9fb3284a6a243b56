/* See issuer.h. */
#include "worker/identity/issuer.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/base/clock.h"
#include "shm/base/list.h"
#include "shm/base/log.h"
#include "worker/coro.h"
#include "worker/loop.h"
#include "worker/offload.h"
#include "worker/worker.h"

enum {
	/* How long documents are used after their time while no newer ones are to be had. */
	STALE_MS = 24 * 3600 * 1000,
	/* A provider that is down is asked again after this, not by every call. */
	FAILED_MS = 3000,
	/* Tokens with made-up keys must not become a flood of fetches. */
	NEWER_MS = 10000,
	/* A fetch that found no free thread in this time has failed. */
	QUEUE_MS = 10000
};

struct issuer {
	struct worker *w;
	const char *url;
	struct discovery *doc;   /* the newest; NULL before the first */
	uint64_t fresh_until_ms; /* CLOCK_MONOTONIC, as all of these */
	uint64_t failed_ms;      /* when the last fetch failed; 0: it did not */
	uint64_t newer_ms;       /* when issuer_get_newer() last fetched */
	bool fetching;
	struct list waiters;
	struct loop_chore chore;
};

/* A call that waits for the fetch; lives on its own stack. */
struct waiter {
	struct list node;
	struct loop_chore chore;
	struct loop_timer timer; /* the call's own deadline */
	struct coro *co;
	bool late;
};

/* One fetch; lives on the stack of its coroutine. */
struct fetch {
	const struct options *opt;
	const char *url;
	struct discovery *doc;
	char error[OUTBOUND_ERROR];
};

static void on_thread(void *arg)
{
	struct fetch *f = arg;

	f->doc = discovery_fetch(f->opt, f->url, f->error);
}

static void resume(struct loop_chore *ch)
{
	coro_resume(list_item(ch, struct waiter, chore)->co);
}

static void too_late(struct loop_timer *t)
{
	struct waiter *wt = list_item(t, struct waiter, timer);

	list_del(&wt->node);
	wt->late = true;
	coro_resume(wt->co);
}

/* Waiters run at the end of the turn, on the loop's stack: not below ours. Nobody holds the
 * documents that are replaced: calls keep them only until they park. */
static void settle(struct issuer *is, struct discovery *doc, const char *error)
{
	uint64_t now = clock_mono_ms();
	struct list *node;

	is->fetching = false;
	is->failed_ms = doc ? 0 : now;
	if (doc) {
		discovery_free(is->doc);
		is->doc = doc;
		is->fresh_until_ms = now + (uint64_t)doc->lifetime_s * 1000;
	} else {
		log_warn("identity provider failed issuer=%s error=%s", is->url, error);
	}
	while ((node = list_pop(&is->waiters))) {
		struct waiter *wt = list_item(node, struct waiter, node);

		loop_timer_stop(is->w->loop, &wt->timer);
		loop_chore(is->w->loop, &wt->chore);
	}
}

/* On a coroutine of its own: a call that leaves at its deadline must not take the fetch with it,
 * for others may wait. */
static void fetch(void *arg)
{
	struct issuer *is = arg;
	struct fetch f = {.opt = is->w->opt, .url = is->url};
	int rc =
		offload_run(is->w->offload, OFFLOAD_OUT, clock_mono_ms() + QUEUE_MS, on_thread, &f);

	settle(is, f.doc, rc < 0 ? "no thread was free" : f.error);
}

/* From the loop's stack: a coroutine started below a call would take its breadcrumb. */
static void start(struct loop_chore *ch)
{
	struct issuer *is = list_item(ch, struct issuer, chore);

	if (!coro_start(fetch, is))
		settle(is, NULL, "no stack was free");
}

/* Until the fetch that is under way, or is started here, has ended. The call is resumed once:
 * settle() stops the timer before it queues the chore, and too_late() leaves the list. */
static int wait_for_fetch(struct call *c, struct issuer *is)
{
	struct waiter me = {
		.chore = {.run = resume}, .timer = {.fire = too_late}, .co = coro_self()};

	list_add(&is->waiters, &me.node);
	loop_timer_set(c->w->loop, &me.timer, call_time_left(c));
	if (!is->fetching) {
		is->fetching = true;
		loop_chore(c->w->loop, &is->chore);
	}
	call_park(c);
	if (me.late)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
	return 0;
}

static const struct discovery *unavailable(struct call *c)
{
	(void)call_fail(
		c, CODE_UNAVAILABLE, NULL, "the identity provider cannot be reached, try again");
	return NULL;
}

/* What there is, unless it is too old to be believed at all. */
static const struct discovery *current(struct call *c, const struct issuer *is)
{
	if (is->doc && clock_mono_ms() < is->fresh_until_ms + STALE_MS)
		return is->doc;
	return unavailable(c);
}

static bool failed_just_now(const struct issuer *is)
{
	return is->failed_ms && clock_mono_ms() < is->failed_ms + FAILED_MS;
}

const struct discovery *issuer_get(struct call *c, struct issuer *is)
{
	if (is->doc && clock_mono_ms() < is->fresh_until_ms)
		return is->doc;
	if (!failed_just_now(is) && wait_for_fetch(c, is) != 0)
		return NULL;
	return current(c, is);
}

/* A fetch that is under way is joined at any time: what it brings is newer than what lacked the
 * key. */
const struct discovery *issuer_get_newer(struct call *c, struct issuer *is)
{
	uint64_t now = clock_mono_ms();

	if (is->newer_ms && now < is->newer_ms + NEWER_MS && !is->fetching)
		return is->failed_ms ? unavailable(c) : current(c, is);
	if (!is->fetching)
		is->newer_ms = now;
	if (wait_for_fetch(c, is) != 0)
		return NULL;
	/* Without an answer nobody knows whether the key exists. */
	return is->failed_ms ? unavailable(c) : current(c, is);
}

struct issuer *issuer_new(struct worker *w, const char *url)
{
	struct issuer *is = calloc(1, sizeof(*is));

	if (!is)
		return NULL;
	is->w = w;
	is->url = url;
	is->chore.run = start;
	list_init(&is->waiters);
	return is;
}

void issuer_free(struct issuer *is)
{
	if (is)
		discovery_free(is->doc);
	free(is);
}
