/* Texts of numbers in shared memory: learned, kept, believed only where they are right. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "shm/segment_priv.h"
#include "worker/insights/id_texts.h"

enum { NUMBERS = 3 * ID_TEXTS_BLOCK + 5, RING = 4 << 20 };

static struct arena a, scratch;
static struct segment *seg;
static struct colcache cache;
static struct people_base *base;
static struct people people;

/* Some are long, some short, all differ. */
static struct str text_of(uint32_t number, char *out)
{
	int n = sprintf(out, "%u", number);

	while (number % 7 == 0 && n < 300)
		out[n++] = 'x';
	return (struct str){out, (size_t)n};
}

static void make_base(uint32_t without)
{
	uint64_t *digests = arena_array(&a, NUMBERS, sizeof(*digests));
	char text[512];

	base = people_base_new(64 << 20);
	cr_assert(base);
	cr_assert(people_base_describe(
		base, &(struct people_state){.server = STR("s"), .project = 7, .key = {1, 2, 3}}));
	for (uint32_t no = 1; no <= NUMBERS; no++)
		digests[no - 1] = no == without ? 0 : digest_of(base->state.key, text_of(no, text));
	cr_assert(people_base_numbers(base, 1, digests, NUMBERS));
	cr_assert(people_base_ready(base));
	people_init_digests(&people, &a);
	people_use(&people, base);
}

static void setup(void)
{
	int fd = segment_create();

	arena_init(&a, 64 << 20);
	arena_init(&scratch, 64 << 20);
	seg = segment_map(fd);
	cr_assert_not_null(seg);
	close(fd);
	colcache_open(&cache, seg, 3, RING);
	make_base(0);
}

static void teardown(void)
{
	people_base_free(base);
	segment_unmap(seg);
	arena_free(&a);
	arena_free(&scratch);
}

TestSuite(id_texts, .init = setup, .fini = teardown);

/* How many of the numbers are known, all of them rightly. */
static uint32_t known(const struct id_texts *t)
{
	uint32_t n = 0;
	char text[512];

	for (uint32_t block = 0; block <= NUMBERS / ID_TEXTS_BLOCK; block++) {
		const struct str *v = id_texts_block(t, block, &scratch);

		for (uint32_t i = 0; v && i < ID_TEXTS_BLOCK; i++) {
			uint32_t no = block * ID_TEXTS_BLOCK + i;

			if (v[i].n == 0)
				continue;
			cr_assert(str_eq(v[i], text_of(no, text)), "%u", no);
			cr_assert(id_texts_right(t, no, v[i]));
			n++;
		}
		arena_reset(&scratch);
	}
	return n;
}

/* Numbers that are `rest` modulo `step`. */
static void learn(uint32_t step, uint32_t rest)
{
	struct id_texts t;
	char text[512];

	id_texts_init(&t, &cache, &people, &a);
	for (uint32_t no = 1; no <= NUMBERS; no++)
		if (no % step == rest)
			cr_assert(id_texts_learn(&t, no, text_of(no, text)));
	id_texts_keep(&t, &scratch);
}

Test(id_texts, are_kept_and_added_to)
{
	struct id_texts t;

	id_texts_init(&t, &cache, &people, &a);
	cr_assert(!id_texts_any(&t));
	cr_assert_eq(known(&t), 0);
	learn(1, 1); /* of nobody */
	cr_assert(id_texts_any(&t));
	cr_assert_eq(known(&t), 0);
	learn(5, 2);
	cr_assert_eq(known(&t), (NUMBERS - 2) / 5 + 1);
	learn(5, 2);
	learn(5, 4);
	cr_assert_eq(known(&t), (NUMBERS - 2) / 5 + 1 + (NUMBERS - 4) / 5 + 1);
	learn(1, 0);
	cr_assert_eq(known(&t), NUMBERS);
}

Test(id_texts, are_of_one_project)
{
	struct id_texts t;

	learn(1, 0);
	base->state.project++;
	id_texts_init(&t, &cache, &people, &a);
	cr_assert(!id_texts_any(&t));
	base->state.project--;
	cr_assert(id_texts_any(&t));
	base->state.key[9]++;
	cr_assert(!id_texts_any(&t));
}

Test(id_texts, who_was_erased_is_not_believed_and_goes)
{
	struct id_texts t;
	char text[512];

	learn(3, 0);
	people_base_free(base);
	make_base(9);
	id_texts_init(&t, &cache, &people, &a);
	cr_assert(!id_texts_right(&t, 9, text_of(9, text)));
	cr_assert(!id_texts_right(&t, 0, text_of(0, text)));
	cr_assert(!id_texts_right(&t, NUMBERS + 1, text_of(1, text)));
	cr_assert(!id_texts_right(&t, 10, text_of(11, text)));
	cr_assert(id_texts_right(&t, 10, text_of(10, text)));
	cr_assert_eq(id_texts_block(&t, 0, &scratch)[9].n, 1);
	learn(3, 1);
	cr_assert_eq(id_texts_block(&t, 0, &scratch)[9].n, 0);
	cr_assert_eq(id_texts_block(&t, 0, &scratch)[12].n, 2);
}

/* As after a database was restored, and its numbers are others'. */
Test(id_texts, wrong_ones_are_replaced)
{
	struct id_texts t;
	char text[512];

	id_texts_init(&t, &cache, &people, &a);
	cr_assert(id_texts_learn(&t, 5, STR("somebody else")));
	id_texts_keep(&t, &scratch);
	cr_assert(!id_texts_right(&t, 5, id_texts_block(&t, 0, &scratch)[5]));
	learn(NUMBERS, 5);
	cr_assert(str_eq(id_texts_block(&t, 0, &scratch)[5], text_of(5, text)));
}

Test(id_texts, what_is_no_block_is_none)
{
	struct id_texts t;
	struct colcache_key key = {0};
	char *body = arena_zalloc(&a, ID_TEXTS_BLOCK * 2 + 8);

	id_texts_init(&t, &cache, &people, &a);
	learn(1, 0);
	cr_assert(id_texts_block(&t, 1, &scratch));
	/* the only entry that is of block 1 */
	for (uint32_t i = 0; i < CACHE_SETS * CACHE_WAYS; i++) {
		const struct cache_entry *e = &seg->cache.entries[i];

		if (e->word[CACHE_LOCK] && e->word[CACHE_ID] == 1)
			key = (struct colcache_key){1, e->word[CACHE_TAG]};
	}
	for (size_t size = 0; size < 4; size++) {
		cr_assert(colcache_replace(&cache, key, (struct str){body, size * 1000}));
		cr_assert_null(id_texts_block(&t, 1, &scratch));
	}
	memset(body, 1, 2);
	cr_assert(colcache_replace(&cache, key, (struct str){body, ID_TEXTS_BLOCK * 2 + 8}));
	cr_assert_null(id_texts_block(&t, 1, &scratch));
	body[1] = 0;
	body[0] = 8;
	cr_assert(colcache_replace(&cache, key, (struct str){body, ID_TEXTS_BLOCK * 2 + 8}));
	cr_assert_eq(id_texts_block(&t, 1, &scratch)[0].n, 8);
}

/* Without a cache, or where texts would take too much of it, there are none. */
Test(id_texts, need_room)
{
	struct colcache none = {.ring = 0};
	struct id_texts t;

	id_texts_init(&t, NULL, &people, &a);
	cr_assert(!id_texts_any(&t));
	cr_assert(id_texts_learn(&t, 5, STR("five")));
	id_texts_keep(&t, &scratch);
	id_texts_init(&t, &none, &people, &a);
	cr_assert(!id_texts_any(&t));
	cr_assert_null(id_texts_block(&t, 0, &scratch));
	cache.ring /= 4;
	id_texts_init(&t, &cache, &people, &a);
	cr_assert_null(t.cache);
}
