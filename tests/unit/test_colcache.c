/* shm/colcache.c: finding, overwriting, shares, deaths, and two processes at once. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/colcache.h"
#include "shm/segment_priv.h"

enum { RING = 64 * 1024, SHARE = RING / 8, BODY_MAX = SHARE };

static struct segment *seg;
static struct colcache c;

static void setup(void)
{
	int fd = segment_create();

	seg = segment_map(fd);
	cr_assert_not_null(seg);
	close(fd);
	colcache_open(&c, seg, 3, RING);
	cr_assert_eq(c.ring, RING);
}

static void teardown(void)
{
	segment_unmap(seg);
}

TestSuite(colcache, .init = setup, .fini = teardown);

static struct colcache_key key_of(uint64_t n)
{
	return (struct colcache_key){n + 1, colcache_hash(&c, &n, sizeof(n))};
}

/* Each byte is of its key, its length and its place; the first 8 say which. */
static struct str body_make(char *p, uint64_t n, size_t size)
{
	uint64_t state = n * 0x9e3779b97f4a7c15u + size;

	for (size_t i = 0; i < size; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		p[i] = (char)state;
	}
	return (struct str){p, size};
}

static bool put(struct colcache *by, uint64_t n, size_t size)
{
	char body[BODY_MAX + 64];

	return colcache_put(by, key_of(n), body_make(body, n, size));
}

/* -1: a miss, 0: other bytes than were put, 1: they are right. */
static int right(uint64_t n, size_t *size)
{
	static _Thread_local uint64_t got[BODY_MAX / 8 + 8];
	struct colcache_place place;
	char want[BODY_MAX + 64];

	if (!colcache_find(&c, key_of(n), &place) || place.size > BODY_MAX ||
		!colcache_read(&c, place, got))
		return -1;
	*size = place.size;
	body_make(want, n, place.size);
	return memcmp(want, got, place.size) == 0;
}

static bool has(uint64_t n, size_t size)
{
	size_t got;

	return right(n, &got) == 1 && got == size;
}

Test(colcache, gives_back_what_was_put)
{
	static const size_t sizes[] = {1, 7, 8, 9, 63, 64, 65, 1000, SHARE};
	struct colcache_place place;

	cr_expect_not(colcache_find(&c, key_of(0), &place));
	for (uint64_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		cr_expect(put(&c, i, sizes[i]), "%zu", sizes[i]);
	for (uint64_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		cr_expect(has(i, sizes[i]), "%zu", sizes[i]);
	cr_expect_not(put(&c, 100, SHARE + 1), "one column may not take more than a share");
}

Test(colcache, knows_what_a_segment_does_not_have)
{
	struct colcache_place place = {1, 1};

	cr_expect(put(&c, 5, 0));
	cr_expect(colcache_find(&c, key_of(5), &place));
	cr_expect_eq(place.size, 0);
	cr_expect_not(colcache_find(&c, key_of(6), &place));
}

Test(colcache, asks_for_id_and_tag)
{
	struct colcache_place place;
	struct colcache_key key = key_of(5);

	put(&c, 5, 100);
	key.id++;
	cr_expect_not(colcache_find(&c, key, &place));
	key = key_of(5);
	key.tag += CACHE_SETS;
	cr_expect_not(colcache_find(&c, key, &place));
	cr_expect_not(colcache_find(&c, (struct colcache_key){0, 0}, &place));
}

/* Also of those that lie at the ring's begin, or have no bytes. */
Test(colcache, an_empty_way_is_taken_first)
{
	struct colcache_key key[CACHE_WAYS];
	struct colcache_place place;

	for (int i = 0; i < CACHE_WAYS; i++) {
		key[i] = key_of(0);
		key[i].tag += (uint64_t)i * CACHE_SETS;
		cr_expect(colcache_put(&c, key[i], i == 0 ? STR("") : STR("of one set")));
	}
	for (int i = 0; i < CACHE_WAYS; i++)
		cr_expect(colcache_find(&c, key[i], &place), "%d", i);
}

Test(colcache, what_is_overwritten_is_a_miss)
{
	struct colcache other;
	struct colcache_place place;
	char out[SHARE];

	for (uint64_t i = 0; i < 8; i++)
		cr_expect(put(&c, i, SHARE));
	cr_assert(colcache_find(&c, key_of(0), &place));
	cr_expect(colcache_stays(&c, place, 0));
	cr_expect_not(colcache_stays(&c, place, 1));
	/* somebody writes there between the look and the copy */
	colcache_open(&other, seg, 4, RING);
	cr_expect(put(&other, 8, 64));
	cr_expect_not(colcache_read(&c, place, out));
	cr_expect_not(colcache_find(&c, key_of(0), &place));
	for (uint64_t i = 1; i < 8; i++)
		cr_expect(has(i, SHARE));
	cr_expect(has(8, 64));
}

Test(colcache, nothing_wraps_inside)
{
	for (uint64_t i = 0; i < 7; i++)
		put(&c, i, SHARE);
	put(&c, 7, SHARE - 64);
	colcache_open(&c, seg, 3, RING);
	cr_expect(put(&c, 8, 128), "64 bytes are left at the end");
	cr_expect(has(8, 128));
	cr_expect_eq(atomic_load(&seg->cache.head), RING + 128);
	cr_expect_not(has(0, SHARE));
	cr_expect(has(1, SHARE));
}

Test(colcache, one_query_throws_out_a_share)
{
	struct colcache next;

	for (uint64_t i = 0; i < 64; i++)
		cr_expect(put(&c, i, SHARE / 8));
	cr_expect_eq(colcache_room(&c), SHARE);
	for (uint64_t i = 64; i < 72; i++)
		cr_expect(put(&c, i, SHARE / 8));
	cr_expect_eq(colcache_room(&c), 0);
	cr_expect_not(put(&c, 72, 1));
	cr_expect(put(&c, 3, SHARE / 8) == false, "gone, and no room to put it again");
	cr_expect(has(8, SHARE / 8));
	colcache_open(&next, seg, 3, RING);
	cr_expect(put(&next, 72, 1));
}

Test(colcache, the_first_decides_the_size)
{
	struct colcache other;

	colcache_open(&other, seg, 4, 2 * RING);
	cr_expect_eq(other.ring, RING);
	colcache_open(&other, seg, 4, 0);
	cr_expect_eq(other.ring, 0);
	atomic_store(&seg->cache.ring, (uint64_t)CACHE_RING_MAX + 64);
	colcache_open(&other, seg, 4, RING);
	cr_expect_eq(other.ring, 0, "what cannot be is not believed");
}

Test(colcache, after_a_death_nothing_is_believed)
{
	struct colcache_place place;
	struct colcache old = c;
	char out[128];

	put(&c, 1, 100);
	cr_expect(colcache_find(&c, key_of(1), &place));
	cr_expect_eq(colcache_repair(seg, 7, false), 0);
	cr_expect(has(1, 100), "whoever left has written what it should");
	colcache_repair(seg, 7, true);
	cr_expect_not(colcache_read(&c, place, out), "not even what was found before");
	colcache_open(&c, seg, 3, RING);
	cr_expect_not(colcache_find(&c, key_of(1), &place));
	put(&old, 2, 100); /* which began before it */
	cr_expect_not(colcache_find(&c, key_of(2), &place));
	put(&c, 1, 100);
	cr_expect(has(1, 100));
}

/* Where a writer stands still, the ring does. */
Test(colcache, a_slow_writer_is_not_overtaken)
{
	struct cache_writer *w = &seg->cache.writers[9];
	struct colcache_place place;

	put(&c, 0, 64);
	atomic_store(&w->owner, 8);
	atomic_store(&w->from, 64 + 1);
	for (uint64_t i = 1; i < 8; i++)
		cr_expect(put(&c, i, SHARE));
	cr_expect(put(&c, 8, SHARE - 64));
	cr_expect(put(&c, 9, 64), "up to there");
	cr_expect_not(put(&c, 10, 64));
	cr_expect_eq(colcache_repair(seg, 6, true), 0);
	colcache_open(&c, seg, 3, RING);
	cr_expect_not(put(&c, 10, 64));
	cr_expect_eq(colcache_repair(seg, 7, true), 1);
	colcache_open(&c, seg, 3, RING);
	cr_expect(put(&c, 10, 64));
	cr_expect(colcache_find(&c, key_of(10), &place));
}

Test(colcache, an_entry_of_the_dead_is_wiped)
{
	struct cache_writer *w = &seg->cache.writers[0];
	struct cache_entry *e;
	struct colcache_place place;

	put(&c, 1, 100);
	e = &seg->cache.entries[key_of(1).tag % CACHE_SETS * CACHE_WAYS];
	atomic_store(&w->owner, 8);
	atomic_store(&w->entry, (uint64_t)(e - seg->cache.entries) + 1);
	atomic_store(&e->word[CACHE_LOCK], atomic_load(&e->word[CACHE_LOCK]) | 8);
	cr_expect_not(colcache_find(&c, key_of(1), &place));
	cr_expect_not(put(&c, 1, 100), "somebody is at it");
	cr_expect_eq(colcache_repair(seg, 7, false), 1);
	cr_expect_not(colcache_find(&c, key_of(1), &place));
	cr_expect(put(&c, 1, 100));
	cr_expect(has(1, 100));
}

Test(colcache, all_records_taken_is_no_put)
{
	for (int i = 0; i < CACHE_WRITERS; i++)
		atomic_store(&seg->cache.writers[i].owner, 5);
	cr_expect_not(put(&c, 1, 100));
	cr_expect_eq(colcache_repair(seg, 4, false), CACHE_WRITERS);
	cr_expect(put(&c, 1, 100));
}

struct tally {
	_Atomic uint64_t hits, torn, puts;
};

/* In a ring of 64 KB: what is found is often overwritten while it is copied. */
static _Noreturn void hammer(int slot, struct tally *t)
{
	uint64_t random = (uint64_t)getpid() * 0x9e3779b97f4a7c15u;
	struct colcache query;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		uint64_t n;
		size_t size;
		int got;

		random = hash_64(&random, sizeof(random));
		n = random % 32;
		colcache_open(&c, seg, slot, RING);
		query = c;
		got = right(n, &size);
		t->hits += got == 1;
		t->torn += got == 0;
		t->puts += put(&query, n, random >> 32 & (BODY_MAX - 1));
	}
}

Test(colcache, processes_at_once_never_read_what_is_torn, .timeout = 60)
{
	enum { PROCESSES = 4, ROUNDS = 150 };
	struct tally *t = (struct tally *)&seg->counters[0]; /* shared, and of no other use here */
	uint64_t held = 0, random = 1;
	pid_t pid[PROCESSES];

	for (int i = 0; i < PROCESSES; i++)
		if ((pid[i] = fork()) == 0)
			hammer(i, t);
	for (int i = 0; i < ROUNDS; i++) {
		int dead;

		random = hash_64(&random, sizeof(random));
		dead = (int)(random % PROCESSES);
		usleep(1000 + (useconds_t)(random >> 40) % 15000);
		kill(pid[dead], SIGKILL);
		waitpid(pid[dead], NULL, 0);
		held += (uint64_t)colcache_repair(seg, dead, i % 8 == 0);
		if ((pid[dead] = fork()) == 0)
			hammer(dead, t);
	}
	for (int i = 0; i < PROCESSES; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
		held += (uint64_t)colcache_repair(seg, i, true);
	}
	cr_log_info("hits=%lu torn=%lu puts=%lu held=%lu", (unsigned long)t->hits,
		(unsigned long)t->torn, (unsigned long)t->puts, (unsigned long)held);
	cr_expect_eq(t->torn, 0);
	cr_expect_gt(t->hits, 1000);
	cr_expect_gt(t->puts, 1000);
	cr_expect_gt(held, 0, "some died in mid-write");
	for (int i = 0; i < CACHE_WRITERS; i++)
		cr_expect_eq(atomic_load(&seg->cache.writers[i].owner), 0);
	colcache_open(&c, seg, 0, RING);
	cr_expect(put(&c, 1000, 500));
	cr_expect(has(1000, 500));
}
