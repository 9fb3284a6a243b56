/*
 * Kills writers and readers of one shared segment at random moments and checks
 * what shm/ promises: no torn read, no entry stuck after the master's repair,
 * rate limits that keep their rate. Linked with the product's own objects.
 *
 *   shm_kill [kills] [workers] [seed]        default 1200 kills, 5 workers
 *
 * Each entry's words are made from its digest and from a number that is new in
 * each write, so that a mix of any two writes is seen.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/colcache.h"
#include "shm/ratelimit.h"
#include "shm/segment_priv.h"

enum {
	KEYS = 6000, /* more than fit: eviction is part of the storm */
	WORKERS_MAX = 32,
	RATE = 1000,
	BURST = 100,      /* 0.1 s: the workers may all be off the CPU for a while */
	PAUSE_US = 10000, /* between two kills, at most */
	FEED_EVERY_US = 100000,
	RING = 64 * 1024, /* of the column cache: overwritten all the time */
	BODY_WORDS = RING / 8 / 8,
};

static const struct limit storm_limit = {RATE * 1000, BURST};

/* Shared with the workers; survives them. */
struct tally {
	_Alignas(64) _Atomic uint64_t reads, hits, writes, torn, granted, columns;
};

struct storm {
	struct segment *seg;
	struct tally *tally;
	uint8_t (*digest)[32];
	pid_t pid[WORKERS_MAX];
	int workers;
	uint64_t random, kills, repaired, stuck;
};

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void entry_make(const uint8_t digest[32], uint64_t nonce, struct key_entry *e)
{
	uint64_t words[sizeof(*e) / 8], start;

	memcpy(&start, digest, sizeof(start));
	words[0] = nonce;
	for (size_t i = 1; i < sizeof(*e) / 8; i++)
		words[i] = (start ^ nonce) * (2 * i + 1);
	memcpy(e, words, sizeof(*e));
}

/* Even keys exist, odd ones are denied. */
static void worker_read(struct storm *s, struct tally *t, uint64_t key)
{
	struct key_entry got, want;
	enum key_found found = keycache_get(s->seg, s->digest[key], &got);
	uint64_t nonce;

	atomic_fetch_add_explicit(&t->reads, 1, memory_order_relaxed);
	if (found == KEY_MISS)
		return;
	atomic_fetch_add_explicit(&t->hits, 1, memory_order_relaxed);
	if (found == (key % 2 ? KEY_DENIED : KEY_HIT)) {
		if (found == KEY_DENIED)
			return;
		memcpy(&nonce, &got, sizeof(nonce));
		entry_make(s->digest[key], nonce, &want);
		if (memcmp(&got, &want, sizeof(got)) == 0)
			return;
	}
	atomic_fetch_add(&t->torn, 1);
}

static void worker_write(struct storm *s, int slot, struct tally *t, uint64_t key, uint64_t nonce)
{
	struct key_entry e;

	entry_make(s->digest[key], nonce, &e);
	keycache_put(s->seg, slot, s->digest[key], keycache_epoch(s->seg), key % 2 ? NULL : &e);
	atomic_fetch_add_explicit(&t->writes, 1, memory_order_relaxed);
}

/* The words of a column are made from its number; its length, too, tells which put it was. */
static void worker_columns(struct storm *s, int slot, struct tally *t, uint64_t nonce)
{
	uint64_t body[BODY_WORDS], n = nonce % 64, size = nonce >> 32 & (BODY_WORDS - 1);
	struct colcache_key key;
	struct colcache_place place;
	struct colcache c;

	colcache_open(&c, s->seg, slot, RING);
	key = (struct colcache_key){n + 1, colcache_hash(&c, &n, sizeof(n))};
	if (colcache_find(&c, key, &place) && place.size <= sizeof(body) &&
		colcache_read(&c, place, body)) {
		bool torn = false;

		for (uint64_t i = 0; i < place.size / 8; i++)
			torn |= body[i] != (n ^ place.size) * (2 * i + 1);
		atomic_fetch_add_explicit(&t->columns, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&t->torn, torn, memory_order_relaxed);
	}
	for (uint64_t i = 0; i < size; i++)
		body[i] = (n ^ size * 8) * (2 * i + 1);
	colcache_put(&c, key, (struct str){(const char *)body, size * 8});
}

static _Noreturn void worker_run(struct storm *s, int slot)
{
	struct tally *t = &s->tally[slot];
	uint64_t random = s->random ^ (uint64_t)getpid() * 0x9e3779b97f4a7c15u;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t n = 0;; n++) {
		uint64_t nonce = random_next(&random), key = nonce >> 20;

		/* A few keys are hot, so that processes meet in one entry. */
		key %= n % 2 ? 64 : KEYS;
		if (n % 4 == 0)
			worker_read(s, t, key);
		else
			worker_write(s, slot, t, key, nonce);
		if (n % 16 == 1)
			worker_columns(s, slot, t, nonce);
		if (n % 8 == 0 && ratelimit_take(s->seg, 1, storm_limit, 1, NULL))
			atomic_fetch_add_explicit(&t->granted, 1, memory_order_relaxed);
	}
}

static void worker_spawn(struct storm *s, int slot)
{
	pid_t pid = fork();

	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0)
		worker_run(s, slot);
	s->pid[slot] = pid;
	random_next(&s->random);
}

/* In the master's order: reap, repair, and only then is the slot free again. */
static void worker_kill(struct storm *s, int slot)
{
	kill(s->pid[slot], SIGKILL);
	waitpid(s->pid[slot], NULL, 0);
	s->pid[slot] = 0;
	s->repaired += (uint64_t)keycache_repair(s->seg, slot);
	/* A killed process has written nowhere else, so now and then what it wrote is kept. */
	s->repaired += (uint64_t)colcache_repair(s->seg, slot, s->kills % 4 == 0);
	s->kills++;
}

static void storm_kills(struct storm *s, uint64_t kills)
{
	uint64_t fed = 0;

	while (s->kills < kills) {
		uint64_t r = random_next(&s->random);
		int slot = (int)(r % (uint64_t)s->workers);

		usleep((useconds_t)(r >> 32) % PAUSE_US);
		if (clock_boot_us() - fed > FEED_EVERY_US) {
			fed = clock_boot_us();
			keycache_feed(s->seg, s->kills / 500);
		}
		worker_kill(s, slot);
		worker_spawn(s, slot);
	}
}

static uint64_t locked_entries(const struct segment *seg)
{
	uint64_t n = 0;

	for (size_t i = 0; i < KEY_SETS * KEY_WAYS; i++)
		n += (atomic_load(&seg->keys[i].word[WORD_LOCK]) & 0xff) != 0;
	for (size_t i = 0; i < DENIED_SETS * KEY_WAYS; i++)
		n += (atomic_load(&seg->denied[i].word[WORD_LOCK]) & 0xff) != 0;
	for (size_t i = 0; i < CACHE_SETS * CACHE_WAYS; i++)
		n += (atomic_load(&seg->cache.entries[i].word[CACHE_LOCK]) & 0xff) != 0;
	for (size_t i = 0; i < CACHE_WRITERS; i++)
		n += atomic_load(&seg->cache.writers[i].owner) != 0;
	return n;
}

/* After the storm every key can be stored and found. */
static uint64_t unusable_keys(struct storm *s)
{
	uint64_t bad = 0;

	keycache_feed(s->seg, 1u << 30);
	for (uint64_t key = 0; key < KEYS; key++) {
		struct key_entry e;

		/* Each time, or a machine that stalls for a second fails the test. */
		keycache_feed(s->seg, 1u << 30);
		worker_write(s, 0, &s->tally[0], key, key);
		bad += keycache_get(s->seg, s->digest[key], &e) == KEY_MISS;
	}
	return bad;
}

static struct tally storm_sum(const struct storm *s)
{
	struct tally sum = {0};

	for (int i = 0; i < s->workers; i++) {
		sum.reads += s->tally[i].reads;
		sum.hits += s->tally[i].hits;
		sum.writes += s->tally[i].writes;
		sum.torn += s->tally[i].torn;
		sum.granted += s->tally[i].granted;
		sum.columns += s->tally[i].columns;
	}
	return sum;
}

static int storm_report(struct storm *s, double seconds)
{
	struct tally sum = storm_sum(s);
	double rate = (double)sum.granted / seconds;
	uint64_t unusable = unusable_keys(s);
	/* A grant whose taker died before counting it is lost: allow for one in a hundred kills. */
	bool limit_ok = (double)sum.granted <= RATE * seconds * 1.01 + BURST &&
			(double)sum.granted >= RATE * seconds * 0.99 - (double)s->kills * 0.01;
	bool ok = sum.torn == 0 && s->stuck == 0 && unusable == 0 && s->repaired > 0 &&
		  sum.hits > 0 && sum.columns > 0 && limit_ok;

	printf("kills=%lu seconds=%.1f reads=%lu hits=%lu writes=%lu columns=%lu torn=%lu stuck=%lu "
	       "repaired=%lu unusable=%lu granted/s=%.1f configured/s=%d burst=%d %s\n",
		(unsigned long)s->kills, seconds, (unsigned long)sum.reads, (unsigned long)sum.hits,
		(unsigned long)sum.writes, (unsigned long)sum.columns, (unsigned long)sum.torn,
		(unsigned long)s->stuck, (unsigned long)s->repaired, (unsigned long)unusable, rate,
		RATE, BURST, ok ? "ok" : "FAILED");
	return ok ? 0 : 1;
}

static void storm_prepare(struct storm *s)
{
	int fd = segment_create();

	s->seg = fd < 0 ? NULL : segment_map(fd);
	s->tally = mmap(NULL, WORKERS_MAX * sizeof(struct tally), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s->digest = calloc(KEYS, sizeof(*s->digest));
	if (!s->seg || s->tally == MAP_FAILED || !s->digest) {
		perror("shm_kill");
		exit(2);
	}
	close(fd);
	for (uint64_t key = 0; key < KEYS; key++)
		hash_sha256(&key, sizeof(key), s->digest[key]);
	keycache_feed(s->seg, 0);
}

static uint64_t argument(int argc, char **argv, int i, uint64_t otherwise)
{
	uint64_t value;

	if (i >= argc)
		return otherwise;
	if (!str_u64(str_of(argv[i]), &value) || value == 0) {
		fprintf(stderr, "usage: shm_kill [kills] [workers] [seed]\n");
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	uint64_t kills = argument(argc, argv, 1, 1200), workers = argument(argc, argv, 2, 5);
	struct storm s = {.random = argument(argc, argv, 3, (uint64_t)time(NULL) << 20 | 1)};
	uint64_t start;
	double seconds;

	s.workers = (int)(workers < WORKERS_MAX ? workers : WORKERS_MAX);
	storm_prepare(&s);
	printf("shm_kill: seed=%lu\n", (unsigned long)s.random);
	fflush(stdout);
	start = clock_boot_ns();
	for (int i = 0; i < s.workers; i++)
		worker_spawn(&s, i);
	storm_kills(&s, kills);
	for (int i = 0; i < s.workers; i++)
		worker_kill(&s, i);
	seconds = (double)(clock_boot_ns() - start) / 1e9;
	s.stuck = locked_entries(s.seg);
	int code = storm_report(&s, seconds);
	free(s.digest);
	return code;
}
