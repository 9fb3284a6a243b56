/* See turns.h. A waiting thread says now and then that it still waits: of who does not, nobody
 * takes notice, so that a place needs no repair to be harmless. */
#include "shm/turns.h"

#include "shm/segment_priv.h"

/* Ten times as long as threads sleep between two tries (worker/insights/turn.c), and more. */
enum { FORGOTTEN_MS = 50 };

static uint32_t mark(int slot_no)
{
	return (uint32_t)slot_no + 1;
}

static uint64_t get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void set(_Atomic uint64_t *word, uint64_t v)
{
	atomic_store_explicit(word, v, memory_order_relaxed);
}

static bool waits(const struct turn_place *p, uint64_t now_ms)
{
	return atomic_load_explicit(&p->owner, memory_order_relaxed) &&
	       get(&p->seen_ms) + FORGOTTEN_MS >= now_ms;
}

int turns_queue(struct segment *seg, int slot_no, uint64_t now_ms)
{
	for (int i = 0; i < TURNS_WAITING; i++) {
		struct turn_place *p = &seg->turns.place[i];
		uint32_t none = 0;

		if (!atomic_compare_exchange_strong(&p->owner, &none, mark(slot_no)))
			continue;
		set(&p->since_ms, now_ms);
		set(&p->seen_ms, now_ms);
		return i;
	}
	return TURNS_NONE;
}

static bool is_first(const struct turns *t, int place, uint64_t now_ms)
{
	uint64_t since_ms = get(&t->place[place].since_ms);

	for (int i = 0; i < TURNS_WAITING; i++) {
		uint64_t other_ms = get(&t->place[i].since_ms);

		if (i != place && waits(&t->place[i], now_ms) &&
			(other_ms < since_ms || (other_ms == since_ms && i < place)))
			return false;
	}
	return true;
}

int turns_try(struct segment *seg, int place, int slot_no, int n, uint64_t now_ms)
{
	struct turns *t = &seg->turns;

	set(&t->place[place].seen_ms, now_ms);
	if (!is_first(t, place, now_ms))
		return TURNS_NONE;
	for (int i = 0; i < n && i < TURNS_MAX; i++) {
		uint32_t none = 0;

		if (atomic_compare_exchange_strong(&t->holder[i], &none, mark(slot_no))) {
			turns_leave(seg, place);
			return i;
		}
	}
	return TURNS_NONE;
}

void turns_leave(struct segment *seg, int place)
{
	set(&seg->turns.place[place].seen_ms, 0);
	atomic_store(&seg->turns.place[place].owner, 0);
}

void turns_end(struct segment *seg, int turn, int slot_no)
{
	uint32_t mine = mark(slot_no);

	atomic_compare_exchange_strong(&seg->turns.holder[turn], &mine, 0);
}

bool turns_wanted(const struct segment *seg, uint64_t now_ms)
{
	for (int i = 0; i < TURNS_WAITING; i++)
		if (waits(&seg->turns.place[i], now_ms))
			return true;
	return false;
}

int turns_repair(struct segment *seg, int slot_no)
{
	int freed = 0;

	for (int i = 0; i < TURNS_MAX; i++) {
		uint32_t theirs = mark(slot_no);

		freed += atomic_compare_exchange_strong(&seg->turns.holder[i], &theirs, 0);
	}
	for (int i = 0; i < TURNS_WAITING; i++) {
		uint32_t theirs = mark(slot_no);

		freed += atomic_compare_exchange_strong(&seg->turns.place[i].owner, &theirs, 0);
	}
	return freed;
}
