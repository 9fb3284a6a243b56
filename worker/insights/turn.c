/* See turn.h. Threads sleep between two tries: they are few, and it is a millisecond. */
#include "worker/insights/turn.h"

#include <poll.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/turns.h"

enum {
	SLICE_MS = 20,
	/* far below FORGOTTEN_MS of shm/turns.c, after which a waiting thread is passed over */
	SLEEP_MS = 1,
	WAIT_MS = 1000 /* whoever has the turns may stand still, waiting for PostgreSQL */
};

/* TURNS_NONE: there was none in time, or nobody waits for the answer. `shared` is never taken
 * back: a scan that has met others has no second thread any more (scan.c). */
static int wait_for_one(struct turn *t, int place, uint64_t now_ms)
{
	uint64_t end_ms = now_ms + WAIT_MS;
	int index = turns_try(t->seg, place, t->slot_no, t->n, now_ms);

	if (index == TURNS_NONE)
		atomic_store_explicit(&t->shared, true, memory_order_relaxed);
	while (index == TURNS_NONE) {
		if (now_ms >= end_ms || t->stop(t->arg)) {
			turns_leave(t->seg, place);
			break;
		}
		poll(NULL, 0, SLEEP_MS);
		now_ms = clock_mono_ms();
		index = turns_try(t->seg, place, t->slot_no, t->n, now_ms);
	}
	return index;
}

void turn_take(struct turn *t)
{
	uint64_t now_ms = clock_mono_ms();
	int place;

	t->index = TURNS_NONE;
	if (!t->seg)
		return;
	place = turns_queue(t->seg, t->slot_no, now_ms);
	/* too many wait: then it computes without a turn rather than not at all */
	if (place != TURNS_NONE)
		t->index = wait_for_one(t, place, now_ms);
	t->since_ms = clock_mono_ms();
	/* whoever holds the turns may go on standing still: not a second again for each slice */
	if (t->index == TURNS_NONE)
		t->since_ms += WAIT_MS;
}

/* The turn is given back before another is asked for, so that who waits, and has waited longer,
 * gets it. Who has none asks in any case. */
void turn_look(struct turn *t)
{
	uint64_t now_ms;

	if (!t->seg)
		return;
	now_ms = clock_mono_ms();
	if (now_ms < t->since_ms + SLICE_MS)
		return;
	t->since_ms = now_ms;
	if (t->index != TURNS_NONE && !turns_wanted(t->seg, now_ms))
		return;
	atomic_store_explicit(&t->shared, true, memory_order_relaxed);
	turn_end(t);
	turn_take(t);
}

void turn_end(struct turn *t)
{
	if (t->seg && t->index != TURNS_NONE)
		turns_end(t->seg, t->index, t->slot_no);
	t->index = TURNS_NONE;
}

/* One for two CPUs, because an insight keeps one busy here and most of another in PostgreSQL. */
int turns_of_host(int64_t option)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), n = option > 0 ? (long)option : cpus / 2;

	return n < 1 ? 1 : n > TURNS_MAX ? TURNS_MAX : (int)n;
}
