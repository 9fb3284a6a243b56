/* shm/keycache.c: hits, denials, epochs, the feed, eviction, repair. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shm/base/hash.h"
#include "shm/segment_priv.h"

static int64_t boot_ns;
static struct segment *seg;

/* Found before libc's: the boot clock moves only when a test says so. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (id != CLOCK_BOOTTIME || boot_ns == 0)
		return (int)syscall(SYS_clock_gettime, id, ts);
	ts->tv_sec = boot_ns / 1000000000;
	ts->tv_nsec = boot_ns % 1000000000;
	return 0;
}

static void pass_ms(int64_t ms)
{
	boot_ns += ms * 1000000;
}

static void setup(void)
{
	int fd = segment_create();

	boot_ns = 3600 * 1000000000ll;
	seg = segment_map(fd);
	cr_assert_not_null(seg);
	close(fd);
	keycache_feed(seg, 7);
}

static void teardown(void)
{
	segment_unmap(seg);
	boot_ns = 0;
}

TestSuite(keycache, .init = setup, .fini = teardown);

static void digest_of(uint64_t n, uint8_t digest[32])
{
	hash_sha256(&n, sizeof(n), digest);
}

static void put(uint64_t n, bool good)
{
	struct key_entry e = {.project = (int32_t)n, .kind = 1};
	uint8_t digest[32];

	digest_of(n, digest);
	snprintf(e.key_id, sizeof(e.key_id), "key%lu", (unsigned long)n);
	keycache_put(seg, 3, digest, keycache_epoch(seg), good ? &e : NULL);
}

static enum key_found look(uint64_t n, struct key_entry *out)
{
	uint8_t digest[32];

	digest_of(n, digest);
	return keycache_get(seg, digest, out);
}

Test(keycache, hit_and_denied)
{
	struct key_entry e;

	cr_expect_eq(look(1, &e), KEY_MISS);
	put(1, true);
	put(2, false);
	cr_expect_eq(look(1, &e), KEY_HIT);
	cr_expect_eq(e.project, 1);
	cr_expect_str_eq(e.key_id, "key1");
	cr_expect_eq(look(2, &e), KEY_DENIED);
	cr_expect_eq(look(3, &e), KEY_MISS);
}

Test(keycache, expiry)
{
	struct key_entry e;

	put(1, true);
	put(2, false);
	pass_ms(4900);
	keycache_feed(seg, 7);
	cr_expect_eq(look(2, &e), KEY_DENIED);
	pass_ms(200);
	keycache_feed(seg, 7);
	cr_expect_eq(look(2, &e), KEY_MISS);
	cr_expect_eq(look(1, &e), KEY_HIT);
	pass_ms(25000);
	keycache_feed(seg, 7);
	cr_expect_eq(look(1, &e), KEY_MISS);
}

Test(keycache, epoch)
{
	struct key_entry e = {.project = 5};
	uint64_t before = keycache_epoch(seg);
	uint8_t digest[32];

	put(1, true);
	keycache_bump(seg);
	cr_expect_eq(look(1, &e), KEY_MISS);
	/* A lookup that began before the bump must not be stored as current. */
	digest_of(1, digest);
	keycache_put(seg, 3, digest, before, &e);
	cr_expect_eq(look(1, &e), KEY_MISS);
	put(1, true);
	cr_expect_eq(look(1, &e), KEY_HIT);
}

Test(keycache, feed)
{
	struct key_entry e;

	put(1, true);
	pass_ms(900);
	cr_expect_eq(look(1, &e), KEY_HIT);
	pass_ms(200);
	cr_expect_eq(look(1, &e), KEY_MISS, "the feed is stale");
	keycache_feed(seg, 7);
	cr_expect_eq(look(1, &e), KEY_HIT, "and fresh again");
	keycache_feed(seg, 8);
	cr_expect_eq(look(1, &e), KEY_MISS, "another host revoked a key");
	put(1, true);
	keycache_feed_since(seg, 8, 5);
	cr_expect_eq(look(1, &e), KEY_HIT, "an old poll does not make it older");
	keycache_retire(seg);
	keycache_feed(seg, 8);
	cr_expect_eq(look(1, &e), KEY_MISS, "retired for good");
}

Test(keycache, never_fed)
{
	int fd = segment_create();
	struct segment *fresh = segment_map(fd);
	struct key_entry e = {0};
	uint8_t digest[32] = {0};

	close(fd);
	keycache_put(fresh, 0, digest, keycache_epoch(fresh), &e);
	cr_expect_eq(keycache_get(fresh, digest, &e), KEY_MISS);
	segment_unmap(fresh);
}

/* An untouched cell has the digest 0, which must not be a hit for anybody. */
Test(keycache, zero_digest)
{
	struct key_entry e;
	uint8_t digest[32] = {0};

	cr_expect_eq(keycache_get(seg, digest, &e), KEY_MISS);
}

Test(keycache, guessing_does_not_flush)
{
	struct key_entry e;
	int before = 0, kept = 0, denied = 0;

	for (uint64_t n = 0; n < 1000; n++)
		put(n, true);
	/* Not always 1000: now and then nine of them meet in one set. */
	for (uint64_t n = 0; n < 1000; n++)
		before += look(n, &e) == KEY_HIT;
	for (uint64_t n = 10000; n < 30000; n++)
		put(n, false);
	for (uint64_t n = 0; n < 1000; n++)
		kept += look(n, &e) == KEY_HIT && e.project == (int32_t)n;
	for (uint64_t n = 10000; n < 30000; n++)
		denied += look(n, &e) == KEY_DENIED;
	cr_expect(before > 980);
	cr_expect_eq(kept, before);
	cr_expect(denied > 900 && denied <= 1024, "%d", denied);
}

Test(keycache, newest_win_when_full)
{
	struct key_entry e;
	int recent = 0;

	for (uint64_t n = 0; n < 20000; n++) {
		boot_ns += 2000;
		put(n, true);
	}
	for (uint64_t n = 19000; n < 20000; n++)
		recent += look(n, &e) == KEY_HIT;
	cr_expect(recent > 950, "%d", recent);
}

Test(keycache, rewrite_uses_the_same_entry)
{
	int used = 0;

	for (int i = 0; i < 100; i++)
		put(1, true);
	for (size_t i = 0; i < KEY_SETS * KEY_WAYS; i++)
		used += atomic_load(&seg->keys[i].word[WORD_LOCK]) != 0;
	cr_expect_eq(used, 1);
}

static _Atomic uint64_t *used_word(void)
{
	for (size_t i = 0; i < KEY_SETS * KEY_WAYS; i++)
		if (atomic_load(&seg->keys[i].word[WORD_LOCK]) != 0)
			return seg->keys[i].word;
	return NULL;
}

/* As a writer in slot 9 leaves it when it is killed in mid-write. */
Test(keycache, repair)
{
	struct key_entry e;
	_Atomic uint64_t *entry;
	uint64_t lock;

	put(1, true);
	entry = used_word();
	cr_assert_not_null(entry);
	lock = atomic_load(entry);
	atomic_store(entry, lock | 10);
	cr_expect_eq(look(1, &e), KEY_MISS);
	put(1, true);
	cr_expect_eq(look(1, &e), KEY_MISS, "nobody but the master takes it");
	cr_expect_eq(keycache_repair(seg, 3), 0);
	cr_expect_eq(keycache_repair(seg, 9), 1);
	cr_expect_eq(keycache_repair(seg, 9), 0);
	cr_expect_eq(atomic_load(entry), lock + 0x100);
	for (int i = WORD_DIGEST; i < KEY_WORDS; i++)
		cr_assert_eq(atomic_load(&entry[i]), 0);
	put(1, true);
	cr_expect_eq(look(1, &e), KEY_HIT);
}

Test(keycache, repair_denied_of_the_last_slot)
{
	atomic_store(&seg->denied[77].word[WORD_LOCK], 5 << 8 | SLOTS_MAX);
	cr_expect_eq(keycache_repair(seg, SLOTS_MAX - 1), 1);
	cr_expect_eq(atomic_load(&seg->denied[77].word[WORD_LOCK]), 6 << 8);
}
