/* Salts that end with their days, visits, and processes that die in the middle of both. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/base/hash.h"
#include "shm/visitors_priv.h"

enum { DAY = VISIT_DAY_MS, GAP = VISIT_GAP_MS };

static const int64_t noon = 20000LL * DAY + DAY / 2;
static struct visitors *v;
static int fd;

static void setup(void)
{
	fd = visitors_create();
	v = fd < 0 ? NULL : visitors_map(fd);
	cr_assert_not_null(v);
}

static void teardown(void)
{
	visitors_unmap(v);
	close(fd);
}

TestSuite(visitors, .init = setup, .fini = teardown, .timeout = 60);

/* ---- memory ---------------------------------------------------------------------- */

Test(visitors, another_mapping_sees_the_same)
{
	struct visitors *again = visitors_map(fd);
	uint8_t one[SALT_BYTES], two[SALT_BYTES];

	cr_assert_not_null(again);
	cr_assert_eq(visitors_salt(v, 20000, noon, one), SALT_FOUND);
	cr_assert_eq(visitors_salt(again, 20000, noon, two), SALT_FOUND);
	cr_assert_arr_eq(one, two, SALT_BYTES);
	visitors_unmap(again);
}

Test(visitors, another_layout_is_refused)
{
	int other = memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	v->head.version++;
	cr_assert_null(visitors_map(fd));
	cr_assert_eq(errno, EPROTO);
	cr_assert_null(visitors_map(other), "no size");
	cr_assert_eq(ftruncate(other, sizeof(struct visitors)), 0);
	cr_assert_null(visitors_map(other), "no seals");
	cr_assert_null(visitors_map(0), "no memory at all");
	cr_assert_lt(ftruncate(fd, 0), 0, "sealed");
	close(other);
}

/* ---- salts ------------------------------------------------------------------------ */

Test(visitors, day_of_a_time)
{
	cr_assert_eq(visitors_day(0), 0);
	cr_assert_eq(visitors_day(DAY - 1), 0);
	cr_assert_eq(visitors_day(DAY), 1);
	cr_assert_eq(visitors_day(-1), -1);
	cr_assert_eq(visitors_day(-DAY), -1);
}

Test(visitors, one_salt_a_day)
{
	uint8_t today[SALT_BYTES], yesterday[SALT_BYTES], again[SALT_BYTES];
	static const uint8_t none[SALT_BYTES];

	cr_assert_eq(visitors_salt(v, 20000, noon, today), SALT_FOUND);
	cr_assert_eq(visitors_salt(v, 19999, noon, yesterday), SALT_FOUND);
	cr_assert_arr_neq(today, yesterday, SALT_BYTES);
	cr_assert_arr_neq(today, none, SALT_BYTES);
	cr_assert_eq(visitors_salt(v, 20000, noon + DAY, again), SALT_FOUND, "now yesterday's");
	cr_assert_arr_eq(today, again, SALT_BYTES);
}

Test(visitors, days_whose_salt_may_not_exist)
{
	uint8_t salt[SALT_BYTES];
	const int64_t midnight = 20000LL * DAY;

	cr_assert_eq(visitors_salt(v, 20001, noon, salt), SALT_DAY, "tomorrow");
	cr_assert_eq(visitors_salt(v, 19998, noon, salt), SALT_DAY, "before yesterday");
	cr_assert_eq(visitors_salt(v, 19998, midnight - 1, salt), SALT_FOUND);
	cr_assert_eq(visitors_salt(v, 19998, midnight, salt), SALT_DAY, "D+2 00:00");
}

static bool holds(const void *what, size_t n)
{
	return memmem(v, sizeof(*v), what, n) != NULL;
}

Test(visitors, a_salt_is_wiped_when_its_day_cannot_be_used)
{
	const int64_t end = 20002LL * DAY;
	uint8_t salt[SALT_BYTES], later[SALT_BYTES];

	cr_assert_eq(visitors_salt(v, 20000, noon, salt), SALT_FOUND);
	cr_assert(holds(salt, SALT_BYTES));
	cr_assert_eq(visitors_sweep(v, end - 1), end, "the master comes at the very moment");
	cr_assert(holds(salt, SALT_BYTES), "yesterday's until midnight");
	cr_assert_eq(visitors_sweep(v, end), end + 3600000);
	cr_assert_not(holds(salt, 8), "not even a part of it");
	/* A clock that goes back finds another one. */
	cr_assert_eq(visitors_salt(v, 20000, noon, later), SALT_FOUND);
	cr_assert_arr_neq(salt, later, SALT_BYTES);
}

Test(visitors, an_owned_salt_is_wiped_soon)
{
	const int64_t end = 20002LL * DAY;
	uint8_t salt[SALT_BYTES];

	visitors_salt(v, 20000, noon, salt);
	v->salt[0].owner |= 4711;
	cr_assert_eq(visitors_sweep(v, end), end + 250, "not an hour later");
	visitors_repair(v, 4711);
	cr_assert_eq(visitors_sweep(v, end + 250), end + 3600000);
	cr_assert_not(holds(salt, 8));
}

Test(visitors, a_clock_set_back_over_midnight_loses_nobody)
{
	uint8_t salt[SALT_BYTES], again[SALT_BYTES];

	cr_assert_eq(visitors_salt(v, 20000, 20000LL * DAY, salt), SALT_FOUND);
	visitors_sweep(v, 20000LL * DAY - 5);
	cr_assert_eq(visitors_salt(v, 20000, noon, again), SALT_FOUND);
	cr_assert_arr_eq(salt, again, SALT_BYTES);
	/* But one of next month was an error, and ends. */
	cr_assert_eq(visitors_salt(v, 20030, noon + 30LL * DAY, salt), SALT_FOUND);
	visitors_sweep(v, noon);
	cr_assert_not(holds(salt, 8));
}

Test(visitors, four_days_later_the_place_is_another_days)
{
	uint8_t salt[SALT_BYTES], later[SALT_BYTES];

	cr_assert_eq(visitors_salt(v, 20000, noon, salt), SALT_FOUND);
	cr_assert_eq(visitors_salt(v, 20004, noon + 4LL * DAY, later), SALT_FOUND);
	cr_assert_not(holds(salt, 8), "overwritten although nobody swept");
}

Test(visitors, a_corrupt_salt_stays_until_it_ends)
{
	uint8_t salt[SALT_BYTES];

	cr_assert_eq(visitors_salt(v, 20000, noon, salt), SALT_FOUND);
	v->salt[20000 % SALTS].word[1] ^= 1;
	cr_assert_eq(visitors_salt(v, 20000, noon, salt), SALT_CORRUPT);
	cr_assert_eq(visitors_salt(v, 20000, noon, salt), SALT_CORRUPT);
	visitors_sweep(v, noon + 2LL * DAY);
	cr_assert_eq(visitors_salt(v, 20000, noon, salt), SALT_FOUND);
}

Test(visitors, the_maker_of_a_salt_died)
{
	struct salt_cell *s = &v->salt[20000 % SALTS];
	uint8_t salt[SALT_BYTES];

	s->owner = 4711;
	s->word[0] = s->word[1] = 42;
	cr_assert_eq(visitors_salt(v, 20000, noon, salt), SALT_BUSY);
	cr_assert_eq(visitors_repair(v, 4712), 0, "somebody else died");
	cr_assert_eq(visitors_repair(v, 4711), 1);
	cr_assert_eq(s->word[1], 0);
	cr_assert_eq(visitors_salt(v, 20000, noon, salt), SALT_FOUND);
	/* After the last word it is a salt, although the owner's pid still stands there. */
	s->owner |= 4711;
	cr_assert_eq(visitors_salt(v, 20000, noon, salt), SALT_FOUND);
	cr_assert_eq(visitors_repair(v, 0), 1);
	cr_assert_eq(visitors_salt(v, 20000, noon, salt), SALT_FOUND);
}

/* ---- visits ----------------------------------------------------------------------- */

static struct visit visit_of(uint64_t who, int64_t time_ms)
{
	struct visit visit = {.time_ms = time_ms, .now_ms = noon};

	memcpy(visit.key, &who, sizeof(who));
	hash_uuid4(visit.fresh);
	return visit;
}

static enum visit_found come(uint64_t who, int64_t time_ms, uint8_t session[16])
{
	struct visit visit = visit_of(who, time_ms);
	enum visit_found found = visitors_visit(v, &visit);

	memcpy(session, visit.session, 16);
	return found;
}

Test(visitors, the_table_of_the_contract)
{
	uint8_t first[16], next[16];

	cr_assert_eq(come(1, noon, first), VISIT_NEW, "none");
	cr_assert_eq(first[6] >> 4, 4, "a random UUID");
	cr_assert_eq(come(1, noon + GAP, next), VISIT_KNOWN, "the gap is inclusive");
	cr_assert_arr_eq(first, next, 16);
	cr_assert_eq(come(1, noon, next), VISIT_KNOWN, "the other side of it, too");
	cr_assert_arr_eq(first, next, 16);
	/* The event at noon has not rewound the watermark, noon + GAP. */
	cr_assert_eq(come(1, noon - 1, next), VISIT_STALE);
	cr_assert_eq(come(1, noon + 2 * GAP, next), VISIT_KNOWN, "nor has the stale one");
	cr_assert_arr_eq(first, next, 16);
	cr_assert_eq(come(1, noon + 3 * GAP + 1, next), VISIT_NEW);
	cr_assert_arr_neq(first, next, 16);
	cr_assert_eq(come(2, noon, first), VISIT_NEW, "somebody else");
}

Test(visitors, a_full_set_keeps_those_who_are_there)
{
	uint8_t session[16], again[16];
	struct visit visit;

	for (uint64_t i = 0; i < VISIT_WAYS; i++)
		cr_assert_eq(come(7 + i * VISIT_SETS, noon, session), VISIT_NEW);
	cr_assert_eq(come(7 + 100 * VISIT_SETS, noon, again), VISIT_FULL);
	cr_assert_eq(come(7 + 8 * VISIT_SETS, noon, again), VISIT_KNOWN);
	cr_assert_arr_eq(session, again, 16);
	cr_assert_eq(come(8, noon, again), VISIT_NEW, "the next set has room");
	/* Half an hour later nobody there is on a visit. */
	visit = visit_of(7 + 100 * VISIT_SETS, noon + GAP + 1);
	visit.now_ms = noon + GAP + 1;
	cr_assert_eq(visitors_visit(v, &visit), VISIT_NEW);
}

Test(visitors, visits_are_forgotten)
{
	uint8_t first[16], next[16];
	uint64_t who = 0x1122334455667788;

	come(who, noon, first);
	visitors_sweep(v, noon + VISIT_KEPT_MS);
	cr_assert_eq(come(who, noon, next), VISIT_KNOWN);
	visitors_sweep(v, noon + VISIT_KEPT_MS + 1);
	cr_assert_not(holds(first, 16));
	cr_assert_not(holds(&who, 8));
	cr_assert_eq(come(who, noon, next), VISIT_NEW);
	/* Of a day whose salt is gone nobody can come back, however late the last one came. */
	visitors_sweep(v, 20002LL * DAY);
	cr_assert_not(holds(next, 16));
}

Test(visitors, wiped)
{
	uint8_t session[16], salt[SALT_BYTES];

	come(77, noon, session);
	visitors_salt(v, 20000, noon, salt);
	visitors_wipe(v);
	cr_assert_not(holds(session, 8) || holds(salt, 8));
}

Test(visitors, the_writer_of_a_visit_died)
{
	struct visit_set *s = &v->set[9];
	uint8_t first[16], other[16], next[16];

	come(9, noon, first);
	come(9 + VISIT_SETS, noon, other);
	/* In mid-write of the first place. */
	s->owner |= (1ULL << OWNER_WAY_SHIFT) | 4711;
	s->way[0].session[1] = 0;
	cr_assert_eq(come(9 + VISIT_SETS, noon, next), VISIT_BUSY);
	cr_assert_eq(visitors_repair(v, 4711), 1);
	cr_assert_eq(come(9, noon, next), VISIT_NEW, "half a visit is none");
	cr_assert_eq(come(9 + VISIT_SETS, noon, next), VISIT_KNOWN, "its neighbour is well");
	cr_assert_arr_eq(next, other, 16);
	/* Between two places: nothing is lost. */
	s->owner |= 4711;
	cr_assert_eq(visitors_repair(v, 0), 1);
	cr_assert_eq(come(9 + VISIT_SETS, noon, next), VISIT_KNOWN);
	cr_assert_arr_eq(next, other, 16);
}

/* ---- many processes --------------------------------------------------------------- */

enum { PROCESSES = 4, ROUNDS = 20000, VISITORS = 64 };

struct shared {
	_Atomic uint32_t begun[VISITORS], torn, busy;
	_Atomic uint64_t session[VISITORS];
};

static struct shared *share(void)
{
	void *p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert(p != MAP_FAILED);
	return p;
}

/* All meet the same visitors; VISITORS of them stand in two sets. */
static uint64_t visitor(unsigned i)
{
	return 5 + i % 2 + (uint64_t)(i / 2 % 4) * VISIT_SETS + ((uint64_t)(i / 8) << 40);
}

static _Noreturn void race(struct shared *all, unsigned seed)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		unsigned i = (unsigned)rand_r(&seed) % 8;
		struct visit visit = visit_of(visitor(i), noon + rand_r(&seed) % GAP);
		enum visit_found found = visitors_visit(v, &visit);
		uint64_t session, was = 0;

		memcpy(&session, visit.session, 8);
		all->busy += found == VISIT_BUSY;
		all->begun[i] += found == VISIT_NEW;
		if (found == VISIT_NEW || found == VISIT_KNOWN)
			all->torn +=
				!atomic_compare_exchange_strong(&all->session[i], &was, session) &&
				was != session;
	}
	_exit(0);
}

Test(visitors, no_two_processes_begin_the_same_session)
{
	struct shared *all = share();
	uint8_t session[16];

	for (unsigned p = 0; p < PROCESSES; p++)
		if (fork() == 0)
			race(all, p + 1);
	while (wait(NULL) > 0)
		;
	cr_assert_eq(all->torn, 0, "%u sessions differ", all->torn);
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(all->begun[i], 1, "visitor %u began %u", i, all->begun[i]);
	/* No update was lost: the newest event of each is within the last promille of the gap. */
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(come(visitor(i), noon + 2 * GAP - GAP / 100, session), VISIT_KNOWN);
	printf("visitors: %u of %u were told to come again\n", all->busy, PROCESSES * ROUNDS);
}

Test(visitors, one_salt_for_all_who_ask_at_once)
{
	struct shared *all = share();

	for (int64_t day = 0; day < 50; day++) {
		for (unsigned p = 0; p < PROCESSES; p++) {
			uint8_t salt[SALT_BYTES];
			uint64_t word, was = 0;

			if (fork() != 0)
				continue;
			while (visitors_salt(v, day, day * DAY, salt) != SALT_FOUND)
				;
			memcpy(&word, salt, 8);
			all->torn +=
				!atomic_compare_exchange_strong(&all->session[day], &was, word) &&
				was != word;
			_exit(0);
		}
		while (wait(NULL) > 0)
			;
	}
	cr_assert_eq(all->torn, 0);
}

/* A session tells whose it is, so that a mix of two is seen. */
static void mark(struct visit *visit, uint64_t nonce)
{
	uint64_t who, words[2];

	memcpy(&who, visit->key, 8);
	words[0] = nonce;
	words[1] = hash_64((uint64_t[]){who, nonce}, 16);
	memcpy(visit->fresh, words, 16);
}

static bool marked(const struct visit *visit)
{
	uint64_t who, words[2];

	memcpy(&who, visit->key, 8);
	memcpy(words, visit->session, 16);
	return words[1] == hash_64((uint64_t[]){who, words[0]}, 16);
}

static _Noreturn void storm(struct shared *all, unsigned seed)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t n = 1;; n++) {
		/* Far apart: nearly each one begins a session. */
		struct visit visit = {.time_ms = noon + (int64_t)n * 2 * GAP, .now_ms = noon};
		uint64_t who = visitor((unsigned)rand_r(&seed) % 16);
		enum visit_found found;

		memcpy(visit.key, &who, 8);
		mark(&visit, n << 32 | seed);
		found = visitors_visit(v, &visit);
		all->torn += (found == VISIT_NEW || found == VISIT_KNOWN) && !marked(&visit);
	}
}

Test(visitors, killed_in_mid_write)
{
	struct shared *all = share();
	pid_t pid[PROCESSES];
	unsigned mended = 0;
	uint8_t session[16];

	for (unsigned p = 0; p < PROCESSES; p++)
		if ((pid[p] = fork()) == 0)
			storm(all, p + 1);
	for (unsigned n = 0; n < 500; n++) {
		unsigned p = n % PROCESSES;

		usleep(n * 7 % 3000);
		kill(pid[p], SIGKILL);
		waitpid(pid[p], NULL, 0);
		mended += (unsigned)visitors_repair(v, pid[p]);
		if ((pid[p] = fork()) == 0)
			storm(all, n + 100);
	}
	for (unsigned p = 0; p < PROCESSES; p++) {
		kill(pid[p], SIGKILL);
		waitpid(pid[p], NULL, 0);
		mended += (unsigned)visitors_repair(v, pid[p]);
	}
	printf("visitors: 500 kills, %u in mid-write\n", mended);
	cr_assert_gt(mended, 0, "the kills never hit a write");
	cr_assert_eq(all->torn, 0);
	cr_assert_eq(visitors_repair(v, 0), 0, "nobody is left inside");
	for (unsigned i = 0; i < 16; i++)
		cr_assert_neq(come(visitor(i), noon, session), VISIT_BUSY);
}
