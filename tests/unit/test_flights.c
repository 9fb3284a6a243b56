/* shm/flights.c: who may join what, ends, deaths, and many processes at once. */
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/flights.h"
#include "shm/segment_priv.h"

static struct segment *seg;

static void setup(void)
{
	int fd = segment_create();

	seg = segment_map(fd);
	cr_assert_not_null(seg);
	close(fd);
}

static void teardown(void)
{
	segment_unmap(seg);
}

TestSuite(flights, .init = setup, .fini = teardown);

static enum flight_entry enter(int slot_no, uint8_t question, struct flight_ref *ref)
{
	uint8_t digest[32] = {question};

	digest[31] = 7;
	return flights_enter(seg, slot_no, digest, 5000, 100, ref);
}

static unsigned fixed(int slot_no, uint8_t question)
{
	uint8_t digest[32] = {question};

	digest[31] = 7;
	return flights_fixed(seg, slot_no, digest);
}

static void fix(const struct flight_ref *ref)
{
	atomic_fetch_or(flights_until(ref), FLIGHT_FIXED);
}

Test(flights, are_joined_until_fixed)
{
	struct flight_ref a, b, c;

	cr_assert_eq(enter(0, 1, &a), FLIGHT_STARTED);
	cr_assert_not(flights_joined(&a));
	cr_assert_not(flights_wanted(&a, 100));
	cr_assert_eq(enter(1, 2, &c), FLIGHT_STARTED, "another question");
	cr_assert_eq(enter(1, 1, &b), FLIGHT_JOINED);
	cr_assert(flights_joined(&a) && flights_wanted(&a, 100));
	cr_assert_eq(atomic_load(flights_until(&a)), 5000);
	cr_assert(flights_join(&b, 9000, 101));
	cr_assert(flights_join(&b, 7000, 101));
	cr_assert_eq(atomic_load(flights_until(&a)), 9000, "the latest of all");
	fix(&a);
	cr_assert_not(flights_join(&b, 10000, 102));
	cr_assert_eq(enter(2, 1, &c), FLIGHT_STARTED, "the next one");
	cr_assert_eq(enter(1, 1, &c), FLIGHT_JOINED);
	cr_assert_eq(atomic_load(flights_until(&a)), 9000 | FLIGHT_FIXED);
}

Test(flights, are_counted_once_fixed)
{
	struct flight_ref a, b;

	enter(0, 1, &a);
	cr_assert_eq(fixed(1, 1), 0);
	fix(&a);
	cr_assert_eq(fixed(1, 1), 1);
	cr_assert_eq(fixed(0, 1), 0, "its own");
	cr_assert_eq(fixed(1, 2), 0, "another question");
	enter(2, 1, &b);
	fix(&b);
	cr_assert_eq(fixed(1, 1), 2);
	flights_land(&a, FLIGHT_GONE, 200);
	cr_assert_eq(fixed(1, 1), 1);
}

Test(flights, end_for_those_who_look)
{
	static const enum flight_state ends[] = {
		FLIGHT_GONE, FLIGHT_ANSWERED, FLIGHT_UNSHARED, FLIGHT_NO_MEMORY, FLIGHT_NO_TIME};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct flight_ref a, b;

		cr_assert_eq(enter(0, 1, &a), FLIGHT_STARTED);
		cr_assert_eq(enter(1, 1, &b), FLIGHT_JOINED);
		cr_assert_eq(flights_look(&b, 100), FLIGHT_AIRBORNE);
		fix(&a);
		cr_assert_eq(flights_look(&b, 100), FLIGHT_AIRBORNE);
		flights_land(&a, ends[i], 200);
		cr_assert_eq(flights_look(&b, 200), ends[i]);
		cr_assert_eq(flights_look(&b, 300), ends[i], "again");
	}
}

Test(flights, are_wanted_while_somebody_looks)
{
	struct flight_ref a, b;

	enter(0, 1, &a);
	enter(1, 1, &b);
	cr_assert(flights_wanted(&a, 100 + 500));
	cr_assert_not(flights_wanted(&a, 100 + 501));
	flights_look(&b, 1000);
	cr_assert(flights_wanted(&a, 1300));
	fix(&a);
	/* whoever came too late waits for another one */
	cr_assert_not(flights_join(&b, 1, 2000));
	cr_assert_not(flights_wanted(&a, 2000));
	cr_assert(flights_joined(&a));
}

/* Results make room for others, those that landed first before the rest. */
Test(flights, are_so_many_at_most)
{
	struct flight_ref a[FLIGHTS_MAX], b[FLIGHTS_MAX], more;

	for (int i = 0; i < FLIGHTS_MAX; i++) {
		cr_assert_eq(enter(0, (uint8_t)i, &a[i]), FLIGHT_STARTED);
		cr_assert_eq(enter(1, (uint8_t)i, &b[i]), FLIGHT_JOINED);
	}
	fix(&a[0]);
	cr_assert_eq(enter(0, 0, &more), FLIGHT_NONE);
	cr_assert_null(more.seg);
	for (int i = 0; i < FLIGHTS_MAX; i++)
		flights_land(&a[i], FLIGHT_ANSWERED, (uint64_t)(1000 + (i + 100) % FLIGHTS_MAX));
	for (int i = 0; i < FLIGHTS_MAX; i++)
		cr_assert_eq(flights_look(&b[i], 2000), FLIGHT_ANSWERED);
	cr_assert_eq(enter(0, 0, &more), FLIGHT_STARTED);
	for (int i = 0; i < FLIGHTS_MAX; i++)
		cr_assert_eq(flights_look(&b[i], 2000),
			i == FLIGHTS_MAX - 100 ? FLIGHT_GONE : FLIGHT_ANSWERED);
	cr_assert_eq(enter(2, 0, &more), FLIGHT_JOINED);
}

Test(flights, of_the_dead_are_gone)
{
	struct flight_ref mine, theirs, landed, b, c, d;

	enter(0, 1, &mine);
	enter(3, 2, &theirs);
	enter(3, 3, &landed);
	enter(1, 1, &b);
	enter(1, 2, &c);
	enter(1, 3, &d);
	flights_land(&landed, FLIGHT_ANSWERED, 200);
	cr_assert_eq(flights_repair(seg, 3, false), 1);
	cr_assert_eq(flights_look(&c, 300), FLIGHT_GONE);
	cr_assert_eq(flights_look(&b, 300), FLIGHT_AIRBORNE);
	cr_assert_eq(flights_look(&d, 300), FLIGHT_ANSWERED, "it left in order");
	cr_assert(flights_lost(&theirs) && !flights_lost(&mine));
	cr_assert_eq(enter(1, 2, &c), FLIGHT_STARTED);
	/* what wrote anywhere leaves nothing to be believed */
	cr_assert_eq(flights_repair(seg, 3, true), 1, "what had landed");
	cr_assert_eq(flights_look(&b, 300), FLIGHT_GONE);
	cr_assert_eq(flights_look(&d, 300), FLIGHT_GONE);
	cr_assert(flights_lost(&mine));
	flights_land(&mine, FLIGHT_ANSWERED, 400);
	cr_assert_eq(flights_look(&b, 500), FLIGHT_GONE, "it was too late");
}

/* Who fills a place would write over the flight of whoever got it meanwhile. */
Test(flights, being_filled_are_left_to_who_fills_them)
{
	uint64_t filling = (uint64_t)1 << 16 | 3 << 8 | FLIGHT_FILLING;
	struct flight_ref next;

	atomic_store(&seg->flights[0].word, filling);
	flights_repair(seg, 5, true);
	cr_assert_eq(atomic_load(&seg->flights[0].word), filling);
	cr_assert_eq(enter(1, 1, &next), FLIGHT_STARTED);
	cr_assert_eq(next.place, 1);
	cr_assert_eq(flights_repair(seg, 2, false), 1, "its own end");
	cr_assert_eq(enter(1, 2, &next), FLIGHT_STARTED);
	cr_assert_eq(next.place, 0);
}

/* ---- many processes ---- */

enum { PROCESSES = 6, QUESTIONS = 3, KILLS = 150 };

/* Answers are the number of things that were acknowledged when the snapshot was taken; they
 * lie where the column cache would have them. */
struct crowd {
	_Atomic uint64_t acknowledged, joined, started, stale, foreign;
	struct {
		_Atomic uint64_t word, seen;
	} answers[FLIGHTS_MAX];
};

static void lead(struct crowd *crowd, struct flight_ref *ref)
{
	uint64_t word = ref->word, seen;
	int place = ref->place;

	fix(ref);
	seen = atomic_load(&crowd->acknowledged);
	sched_yield();
	/* as two flights may put theirs at the same place, should a process be slow */
	atomic_store(&crowd->answers[place].word, 0);
	atomic_store(&crowd->answers[place].seen, seen);
	atomic_store(&crowd->answers[place].word, word);
	flights_land(ref, FLIGHT_ANSWERED, clock_mono_ms());
	atomic_fetch_add(&crowd->started, 1);
}

static void follow(struct crowd *crowd, const struct flight_ref *ref, uint64_t known)
{
	enum flight_state state;
	uint64_t seen;

	while ((state = flights_look(ref, clock_mono_ms())) == FLIGHT_AIRBORNE)
		sched_yield();
	if (state != FLIGHT_ANSWERED)
		return;
	if (atomic_load(&crowd->answers[ref->place].word) != ref->word)
		return;
	seen = atomic_load(&crowd->answers[ref->place].seen);
	if (atomic_load(&crowd->answers[ref->place].word) != ref->word)
		return;
	if (seen < known)
		atomic_fetch_add(&crowd->stale, 1);
	atomic_fetch_add(&crowd->joined, 1);
}

static _Noreturn void ask(struct crowd *crowd, int slot_no)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned n = (unsigned)slot_no;; n++) {
		uint8_t digest[32] = {(uint8_t)(n % QUESTIONS)};
		uint64_t known = atomic_fetch_add(&crowd->acknowledged, 1) + 1;
		struct flight_ref ref;

		switch (flights_enter(seg, slot_no, digest, 1, clock_mono_ms(), &ref)) {
		case FLIGHT_STARTED:
			sched_yield();
			lead(crowd, &ref);
			break;
		case FLIGHT_JOINED:
			follow(crowd, &ref, known);
			break;
		case FLIGHT_NONE:
		default:
			atomic_fetch_add(&crowd->foreign, 1);
		}
	}
}

/* While workers are killed at any instruction, nobody ever gets an answer that lacks what was
 * acknowledged before they asked (D21), nobody waits for ever, and no place is lost. */
Test(flights, never_show_less_than_was_acknowledged, .timeout = 60)
{
	struct crowd *crowd = mmap(
		NULL, sizeof(*crowd), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[PROCESSES];

	cr_assert_neq(crowd, MAP_FAILED);
	for (int i = 0; i < PROCESSES; i++)
		if ((pid[i] = fork()) == 0)
			ask(crowd, i);
	for (int n = 0; n < KILLS; n++) {
		int dead = n % PROCESSES;

		usleep(3000);
		kill(pid[dead], SIGKILL);
		waitpid(pid[dead], NULL, 0);
		flights_repair(seg, dead, n % 4 == 0);
		if ((pid[dead] = fork()) == 0)
			ask(crowd, dead);
	}
	for (int i = 0; i < PROCESSES; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
		flights_repair(seg, i, false);
	}
	cr_assert_eq(crowd->stale, 0);
	cr_assert_eq(crowd->foreign, 0, "there was always room");
	cr_assert(crowd->joined > 100 && crowd->started > 100, "%llu joined, %llu started",
		(unsigned long long)crowd->joined, (unsigned long long)crowd->started);
	for (int i = 0; i < FLIGHTS_MAX; i++) {
		uint64_t state = atomic_load(&seg->flights[i].word) & 0xff;

		cr_assert(state != FLIGHT_FILLING && state != FLIGHT_AIRBORNE, "place %d", i);
	}
	munmap(crowd, sizeof(*crowd));
}
