/* Numbers of distinct ids: who gets which, in which blocks, and what is stored of them. */
#include <criterion/criterion.h>

#include "shm/base/hash.h"
#include "worker/store/dense.h"
#include "worker/store/encode.h"
#include "worker/store/merge.h"

static const uint8_t key[DIGEST_KEY_BYTES] = {1, 2, 3};
static uint32_t greatest;
static struct arena a, scratch;

static void setup(void)
{
	arena_init(&a, (size_t)1 << 30);
	arena_init(&scratch, 256 << 20);
}

static void teardown(void)
{
	arena_free(&a);
	arena_free(&scratch);
}

TestSuite(dense, .init = setup, .fini = teardown);

static struct str id_of(uint32_t no)
{
	return arena_printf(&a, "user-%u", no);
}

/* A segment whose events have the ids [from, from + n), each `times` times, and with every
 * one of them a cookieless visitor's. */
static struct evseg segment(uint32_t from, uint32_t n, uint32_t times, bool cookieless)
{
	struct encoder *e = encoder_new(&a);
	struct evseg s;

	for (uint32_t i = 0; i < n * times; i++) {
		struct event ev = {.time_ms = i, .kind = STR("view")};

		hash_random(ev.id, 16);
		ev.distinct_id = id_of(from + i % n);
		cr_assert(encoder_add(e, &ev));
		ev.distinct_id = arena_printf(&a, "cookieless-%u", i);
		hash_random(ev.id, 16);
		cr_assert(!cookieless || encoder_add(e, &ev));
	}
	cr_assert(evseg_open(&s, encoder_finish(e), &a));
	return s;
}

/* Digests of [from, from + n). */
static uint64_t *digests(uint32_t from, uint32_t n)
{
	uint64_t *v = arena_array(&a, n, sizeof(*v));

	for (uint32_t i = 0; i < n; i++)
		v[i] = digest_of(key, id_of(from + i));
	return v;
}

static struct dense new (void)
{
	struct dense d;

	dense_init(&d, key, &a, &scratch);
	return d;
}

/* The same segment with its numbers, or as it was when it gets none. */
static struct evseg with_numbers(const struct dense *d, const struct evseg *s, const uint32_t *rows)
{
	struct evseg_part *parts = arena_array(&a, s->n_parts + 1, sizeof(*parts));
	struct evseg out = *s;

	memcpy(parts, s->parts, s->n_parts * sizeof(*parts));
	dense_part(d, rows, s->n, &parts[s->n_parts]);
	out.n_parts += parts[s->n_parts].stored.p != NULL;
	out.parts = parts;
	return out;
}

Test(dense, known_ids_keep_theirs_and_new_ones_are_next)
{
	struct evseg s = segment(40, 100, 3, true), numbered;
	struct dense d = new ();
	const uint32_t *numbers;
	uint32_t *rows;

	cr_assert(dense_collect(&d, &s, &rows));
	cr_assert_eq(d.unknown, 100);
	cr_assert(dense_meet(&d, 1, digests(0, 50), 50));
	cr_assert(dense_meet(&d, 51, digests(50, 10), 10));
	cr_assert_eq(d.unknown, 80);
	cr_assert(dense_give(&d));
	cr_assert_eq(d.n_fresh, 80);
	cr_assert_eq(d.next, 141);
	numbered = with_numbers(&d, &s, rows);
	cr_assert(numbers_read(&numbered, &a, &numbers, &greatest));
	for (uint32_t i = 0; i < s.n; i++) /* ids 0 to 139 are in the order of their numbers */
		cr_assert_eq(numbers[i], i % 2 ? 0 : 1 + 40 + i / 2 % 100);
}

Test(dense, retired_numbers_are_not_given_again)
{
	struct evseg s = segment(0, 3, 1, false);
	uint64_t *before = digests(0, 3);
	struct dense d = new ();
	uint32_t *rows;

	before[1] = 0;
	cr_assert(dense_collect(&d, &s, &rows));
	cr_assert(dense_meet(&d, 1, before, 3));
	cr_assert(dense_give(&d));
	cr_assert_eq(d.n_fresh, 1);
	cr_assert_eq(d.fresh[0], digests(1, 1)[0]);
	cr_assert_eq(d.numbers[rows[1] - 1], 4);
}

Test(dense, blocks_have_no_gaps_and_a_size)
{
	struct evseg s = segment(0, 3 * DENSE_BLOCK, 1, false);
	uint32_t *rows;

	/* what the last block has room for, and whole ones after it */
	for (uint32_t last = 0; last <= DENSE_BLOCK; last += DENSE_BLOCK / 4) {
		struct dense d = new ();
		struct dense_piece p;
		uint32_t at = 0, next = last + 1, given = 0;

		cr_assert(dense_collect(&d, &s, &rows));
		if (last)
			cr_assert(dense_meet(&d, 1, digests(1000000, last), last));
		cr_assert(dense_give(&d));
		while (dense_piece(&d, &at, &p)) {
			bool grows = given == 0 && last > 0 && last < DENSE_BLOCK;

			cr_assert_eq(p.first, grows ? 1 : next);
			cr_assert_leq(p.n + (grows ? last : 0), DENSE_BLOCK);
			cr_assert_eq(p.digests, d.fresh + given);
			given += p.n;
			next += p.n;
		}
		cr_assert_eq(given, 3 * DENSE_BLOCK);
		cr_assert_eq(next, d.next);
	}
}

Test(dense, blocks_that_do_not_follow_are_refused)
{
	struct dense d = new ();

	cr_assert_not(dense_meet(&d, 2, digests(0, 4), 4));
	cr_assert(dense_meet(&d, 1, digests(0, 4), 4));
	cr_assert_not(dense_meet(&d, 4, digests(4, 4), 4));
	cr_assert_not(dense_meet(&d, 6, digests(4, 4), 4));
	cr_assert_not(dense_meet(&d, 5, digests(4, 4), 0));
	cr_assert(dense_meet(&d, 5, digests(4, 4), 4));
}

Test(dense, numbers_end)
{
	struct evseg s = segment(0, 10, 1, false), few = segment(0, 4, 2, false), none;
	uint64_t *most = arena_zalloc(&a, (size_t)NUMBERS_MAX * 8);
	uint32_t *rows, *few_rows;
	const uint32_t *numbers;
	struct dense d = new ();

	cr_assert(dense_collect(&d, &s, &rows));
	cr_assert(dense_collect(&d, &few, &few_rows));
	cr_assert(dense_meet(&d, 1, most, NUMBERS_MAX - 4));
	cr_assert_not(dense_meet(&d, NUMBERS_MAX - 3, most, 5));
	cr_assert(dense_give(&d));
	cr_assert_eq(d.n_fresh, 4);
	cr_assert_eq(d.next, NUMBERS_MAX + 1);
	cr_assert_eq(d.unknown, 6);
	none = with_numbers(&d, &s, rows);
	cr_assert_not(numbers_read(&none, &a, &numbers, &greatest));
	few = with_numbers(&d, &few, few_rows);
	cr_assert(numbers_read(&few, &a, &numbers, &greatest));
	cr_assert_eq(numbers[7], NUMBERS_MAX);
}

Test(dense, merges_take_numbers_over)
{
	struct evseg x = segment(0, 30, 2, true), y = segment(20, 30, 1, false);
	struct evseg both = segment(0, 50, 1, true), more = segment(0, 51, 1, false);
	struct dense first = new (), d = new ();
	uint32_t *rows[2], *again, *unknown;

	cr_assert(dense_collect(&first, &x, &rows[0]));
	cr_assert(dense_collect(&first, &y, &rows[1]));
	cr_assert(dense_give(&first));
	x = with_numbers(&first, &x, rows[0]);
	dense_know(&d, &x);
	dense_know(&d, &y); /* has none */
	cr_assert_eq(d.ids.n, 30);
	y = with_numbers(&first, &y, rows[1]);
	dense_know(&d, &y);
	cr_assert(dense_collect(&d, &both, &again));
	cr_assert_eq(d.unknown, 0);
	for (uint32_t i = 0; i < 50; i++)
		cr_assert_eq(d.numbers[again[2 * i] - 1], i + 1);
	cr_assert(dense_collect(&d, &more, &unknown));
	cr_assert_eq(d.unknown, 1);
}

Test(dense, a_merge_itself_makes_no_numbers)
{
	struct evseg src[2] = {segment(0, 50, 1, false), segment(30, 50, 1, false)};
	struct merge_segment *out;
	struct dense d = new ();
	uint32_t *rows, n;

	cr_assert(dense_collect(&d, &src[0], &rows));
	cr_assert(dense_give(&d));
	src[0] = with_numbers(&d, &src[0], rows);
	cr_assert_eq(merge_segments(src, 2, &a, &scratch, &out, &n), MERGE_OK);
	cr_assert_eq(n, 1);
	cr_assert_eq(out[0].n, 100);
	cr_assert_eq(out[0].n_parts, src[1].n_parts);
	for (uint32_t i = 0; i < out[0].n_parts; i++)
		cr_assert_neq(out[0].parts[i].kind, PART_NUMBER);
}

Test(dense, little_memory_is_no_error)
{
	struct evseg s = segment(0, 5000, 1, false), none;
	uint32_t *rows;

	for (size_t cap = 0; cap < 400000; cap += 20000) {
		struct dense d;
		struct arena small;

		arena_init(&small, cap);
		dense_init(&d, key, &small, &scratch);
		if (dense_collect(&d, &s, &rows) && dense_give(&d)) {
			none = with_numbers(&d, &s, rows);
			cr_assert_eq(none.n_parts == s.n_parts, small.over);
		} else {
			cr_assert(small.over);
		}
		arena_free(&small);
	}
}

Test(dense, broken_segments_have_none)
{
	struct evseg s = segment(0, 5, 1, false), without = s;
	struct evseg_part *parts = arena_array(&a, s.n_parts, sizeof(*parts));
	struct dense d = new ();
	uint32_t *rows, n = 0;

	for (uint32_t i = 0; i < s.n_parts; i++)
		if (s.parts[i].kind != PART_DISTINCT)
			parts[n++] = s.parts[i];
	without.parts = parts;
	without.n_parts = n;
	cr_assert_not(dense_collect(&d, &without, &rows));
	dense_know(&d, &without);
	cr_assert_eq(d.ids.n, 0);
}

/* ---- the part ---- */

static bool read_back(struct str raw, uint32_t n, const uint32_t **numbers)
{
	struct evseg_part *part = arena_zalloc(&a, sizeof(*part));
	struct evseg s = {.n = n, .parts = part, .n_parts = 1};

	part->kind = PART_NUMBER;
	cr_assert(evseg_pack(part, raw, &a, &scratch));
	return numbers_read(&s, &a, numbers, &greatest);
}

Test(dense, every_width)
{
	static const uint32_t worst[] = {0, 255, 256, 65535, 65536, NUMBERS_MAX};
	static const unsigned width[] = {1, 1, 2, 2, 3, 3};
	uint32_t in[1000];

	for (size_t k = 0; k < sizeof(worst) / sizeof(worst[0]); k++) {
		const uint32_t *out;
		struct buf raw;

		for (uint32_t i = 0; i < 1000; i++)
			in[i] = worst[k] ? (i * 7919u) % (worst[k] + 1) : 0;
		in[999] = worst[k];
		buf_init(&raw, &a);
		numbers_encode(&raw, in, 1000);
		cr_assert_eq(raw.n, 1 + 1000 * width[k]);
		cr_assert(read_back((struct str){raw.p, raw.n}, 1000, &out));
		cr_assert_arr_eq(out, in, sizeof(in));
		for (uint32_t n = 1; n < 10; n++) { /* some at a time, and what is left */
			struct buf few;

			buf_init(&few, &a);
			numbers_encode(&few, in + 1000 - n, n);
			cr_assert(read_back((struct str){few.p, few.n}, n, &out));
			cr_assert_arr_eq(out, in + 1000 - n, n * sizeof(*in));
		}
		cr_assert_not(read_back((struct str){raw.p, raw.n}, 999, &out));
		cr_assert_not(read_back((struct str){raw.p, raw.n - 1}, 1000, &out));
		raw.p[0] = (char)(width[k] + 1);
		cr_assert_not(read_back((struct str){raw.p, raw.n}, 1000, &out));
	}
}

Test(dense, numbers_that_cannot_be)
{
	const uint32_t too_much[] = {1, NUMBERS_MAX + 1};
	const uint32_t *out;
	struct buf raw;

	buf_init(&raw, &a);
	numbers_encode(&raw, too_much, 2);
	cr_assert_not(read_back((struct str){raw.p, raw.n}, 2, &out));
	cr_assert_not(read_back(STR("\0\1\2"), 2, &out));
	cr_assert_not(read_back(STR("\5\1\1\1\1\1\1\1\1\1\1"), 2, &out));
	cr_assert_not(read_back(STR(""), 2, &out));
}

/* ---- digests ---- */

Test(dense, digests_and_places)
{
	struct digests t;
	uint64_t *v = digests(0, 5000);
	uint32_t no[5000];

	digests_init(&t, &a);
	cr_assert_eq(digests_find(&t, v[0]), DIGESTS_FULL);
	for (uint32_t i = 0; i < 2000; i++)
		cr_assert_eq(digests_add(&t, v[i]), i);
	v[2500] = 0;
	cr_assert(digests_append(&t, v + 2000, 3000));
	for (uint32_t i = 0; i < 2000; i++)
		cr_assert_eq(digests_add(&t, v[i]), i);
	digests_find_all(&t, v, 5000, no);
	for (uint32_t i = 0; i < 5000; i++)
		cr_assert_eq(no[i], i == 2500 ? DIGESTS_FULL : i);
	cr_assert_eq(digests_find(&t, 12345), DIGESTS_FULL);
	cr_assert_neq(digest_of(key, STR("x")), digest_of((const uint8_t[16]){1, 2, 4}, STR("x")));
}

Test(dense, kinds_are_those_of_its_events)
{
	struct encoder *e = encoder_new(&a);
	struct str *kinds;
	struct evseg s;
	uint32_t n;

	for (uint32_t i = 0; i < 100; i++) {
		struct event ev = {.time_ms = i, .distinct_id = STR("x")};

		hash_random(ev.id, 16);
		ev.kind = arena_printf(&a, "k%u", i % 7);
		cr_assert(encoder_add(e, &ev));
	}
	cr_assert(evseg_open(&s, encoder_finish(e), &a));
	cr_assert(evseg_kinds(&s, &a, &kinds, &n));
	cr_assert_eq(n, 7);
	for (uint32_t i = 0; i < 7; i++)
		cr_assert(str_eq(kinds[i], arena_printf(&a, "k%u", i)));
}
