/* Segment codec: what goes in comes out, and damaged bytes never get far. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include "shm/base/hash.h"
#include "worker/store/batch.h"
#include "worker/store/encode.h"

static struct arena a;

static void setup(void)
{
	arena_init(&a, 512 << 20);
}

static void teardown(void)
{
	arena_free(&a);
}

TestSuite(evseg, .init = setup, .fini = teardown);

static struct value random_value(unsigned r)
{
	static const char *const texts[] = {"", "x", "chrome", "a longer text that repeats itself"};
	struct value v = {.type = (enum value_type)(1 + r % 5)};

	if (v.type == VALUE_STR)
		v.s = str_of(texts[r / 5 % 4]);
	else if (v.type == VALUE_DOUBLE)
		v.d = (double)(int)r / 7;
	else if (v.type == VALUE_BOOL)
		v.i = r / 5 & 1;
	else
		v.i = (int64_t)r * (r & 32 ? -1000003 : 1);
	return v;
}

static struct event *make_events(uint32_t n, uint32_t n_keys)
{
	struct event *events = arena_array(&a, n, sizeof(*events));

	for (uint32_t i = 0; i < n; i++) {
		struct prop *props = arena_array(&a, n_keys + 1, sizeof(*props));
		struct event *ev = &events[i];

		hash_random(ev->id, 16);
		ev->time_ms = 1700000000000 + rand() % 100000 - (i % 97 == 0 ? 5000000000000 : 0);
		ev->kind = arena_printf(&a, "kind%d", rand() % 4);
		ev->distinct_id = arena_printf(&a, "user-%d", rand() % (int)(n + 1));
		ev->has_session = rand() % 3 != 0;
		memset(ev->session, 1 + rand() % 9, 16);
		ev->cookieless = rand() % 10 == 0;
		ev->props = props;
		for (uint32_t k = 0; k < n_keys; k++) {
			if (rand() % 4 == 0)
				continue;
			props[ev->n_props].key = arena_printf(&a, "%skey%u", k % 2 ? "$" : "", k);
			props[ev->n_props].scope = k % 2 ? SCOPE_AUTO : SCOPE_CUSTOM;
			props[ev->n_props++].value = random_value((unsigned)rand());
		}
	}
	return events;
}

static struct str encode(const struct event *events, uint32_t n)
{
	struct encoder *e = encoder_new(&a);
	struct str blob;

	for (uint32_t i = 0; i < n; i++)
		cr_assert(encoder_add(e, &events[i]));
	blob = encoder_finish(e);
	cr_assert(blob.p);
	return blob;
}

static void compare(const struct evseg *s, const struct event *events)
{
	const int64_t *times;
	const uint8_t *ids;
	struct column kind, who, session, bare, col;

	cr_assert(evseg_times(s, &a, &times) && evseg_ids(s, &a, &ids));
	cr_assert(evseg_column(s, evseg_find(s, PART_KIND, 0, STR("")), &a, &kind));
	cr_assert(evseg_column(s, evseg_find(s, PART_DISTINCT, 0, STR("")), &a, &who));
	cr_assert(evseg_column(s, evseg_find(s, PART_SESSION, 0, STR("")), &a, &session));
	cr_assert(evseg_uuids(s, evseg_find(s, PART_SESSION, 0, STR("")), &a, &bare));
	cr_assert_not(evseg_uuids(s, evseg_find(s, PART_KIND, 0, STR("")), &a, &col));
	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t code = column_code(&bare, i);
		const struct event *ev = &events[i];
		const struct value *v = column_value(&session, i);

		cr_assert_eq(times[i], ev->time_ms);
		cr_assert_arr_eq(ids + i * 16, ev->id, 16);
		cr_assert(str_eq(column_value(&kind, i)->s, ev->kind));
		cr_assert(str_eq(column_value(&who, i)->s, ev->distinct_id));
		cr_assert_eq(v != NULL, ev->has_session);
		if (v)
			cr_assert_arr_eq(v->s.p, ev->session, 16);
		cr_assert_eq(code != 0, ev->has_session);
		if (code)
			cr_assert_arr_eq(bare.uuids + (code - 1) * COLUMN_UUID, ev->session, 16);
		for (uint32_t k = 0; k < ev->n_props; k++) {
			const struct evseg_part *part =
				evseg_find(s, PART_PROP, ev->props[k].scope, ev->props[k].key);

			cr_assert(part && evseg_column(s, part, &a, &col));
			cr_assert(value_eq(column_value(&col, i), &ev->props[k].value));
		}
	}
}

Test(evseg, round_trips)
{
	static const uint32_t sizes[][2] = {{3, 0}, {5, 7}, {40, 3}, {300, 20}, {70, 200}};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct event *events = make_events(sizes[i][0], sizes[i][1]);
		struct evseg s;

		events[0].has_session = true;
		cr_assert(evseg_open(&s, encode(events, sizes[i][0]), &a));
		cr_assert_eq(s.n, sizes[i][0]);
		compare(&s, events);
	}
}

Test(evseg, a_key_given_twice_keeps_the_last)
{
	struct prop props[] = {{STR("k"), SCOPE_CUSTOM, {.type = VALUE_INT, .i = 1}},
		{STR("other"), SCOPE_CUSTOM, {.type = VALUE_INT, .i = 5}},
		{STR("k"), SCOPE_CUSTOM, {.type = VALUE_INT, .i = 2}}};
	struct event ev = {.kind = STR("a"), .distinct_id = STR("u"), .props = props, .n_props = 3};
	struct evseg s;
	struct column c;

	cr_assert(evseg_open(&s, encode(&ev, 1), &a));
	cr_assert(evseg_column(&s, evseg_find(&s, PART_PROP, SCOPE_CUSTOM, STR("k")), &a, &c));
	cr_assert_eq(column_value(&c, 0)->i, 2);
}

Test(evseg, sparse_columns_spread)
{
	struct event *events = make_events(2000, 0);
	struct prop rare = {STR("rare"), SCOPE_CUSTOM, {.type = VALUE_BOOL, .i = 1}};
	uint32_t *codes = arena_array(&a, 2000, sizeof(*codes));
	struct evseg s;
	struct column c;

	events[7].props = events[1999].props = &rare;
	events[7].n_props = events[1999].n_props = 1;
	cr_assert(evseg_open(&s, encode(events, 2000), &a));
	cr_assert(evseg_column(&s, evseg_find(&s, PART_PROP, SCOPE_CUSTOM, STR("rare")), &a, &c));
	cr_assert(c.sparse);
	column_spread(&c, codes);
	for (uint32_t i = 0; i < 2000; i++) {
		cr_assert_eq(codes[i], i == 7 || i == 1999);
		cr_assert_eq(column_code(&c, i), codes[i]);
	}
}

Test(evseg, too_many_keys_share_the_overflow)
{
	enum { N = 50, KEYS = 250 };
	struct event *events = arena_array(&a, N, sizeof(*events));
	const struct evseg_spilled *of;
	struct evseg_overflow o;
	struct prop found = {0};
	struct str raw;
	struct evseg s;
	int overflown = 0, n;

	for (uint32_t i = 0; i < N; i++) {
		struct prop *props = arena_array(&a, KEYS, sizeof(*props));

		events[i] = (struct event){
			.kind = STR("a"), .distinct_id = STR("u"), .props = props, .n_props = KEYS};
		for (uint32_t k = 0; k < KEYS; k++)
			props[k] = (struct prop){arena_printf(&a, "k%u", i * KEYS + k),
				SCOPE_CUSTOM, {.type = VALUE_INT, .i = k}};
	}
	cr_assert(evseg_open(&s, encode(events, N), &a));
	cr_assert(evseg_unpack(evseg_find(&s, PART_OVERFLOW, 0, STR("")), &a, &raw));
	cr_assert(evseg_overflow_open(&o, raw));
	for (uint32_t i = 0; i < N; i++) {
		while ((n = evseg_overflow_next(&s, &o, i, &found)) > 0)
			overflown++;
		cr_assert_eq(n, 0);
	}
	cr_assert_eq(overflown, N * KEYS - EVSEG_KEYS_MAX);
	cr_assert_eq(found.value.i, KEYS - 1);
	/* and in any other order, by an index */
	cr_assert(evseg_overflow_index(&s, raw, &a, &of));
	for (uint32_t i = N; i-- > 0;) {
		evseg_overflow_at(&o, raw, &of[i]);
		for (uint32_t k = KEYS - of[i].n; k < KEYS; k++) {
			cr_assert_eq(evseg_overflow_next(&s, &o, i, &found), 1);
			cr_assert(str_eq(found.key, arena_printf(&a, "k%u", i * KEYS + k)));
			overflown--;
		}
		cr_assert_eq(evseg_overflow_next(&s, &o, i, &found), 0);
	}
	cr_assert_eq(overflown, 0);
	cr_assert(evseg_overflow_open(&o, raw));
	cr_assert_eq(evseg_overflow_next(&s, &o, 3, &found), 0, "row 3 has columns");
	cr_assert_eq(evseg_overflow_next(&s, &o, N - 1, &found), 1);
	cr_assert(str_eq(found.key, arena_printf(&a, "k%u", (N - 1) * KEYS)));
}

/* n events of one key more than `bytes` long each, which no compression makes smaller. */
static struct str encode_large(uint32_t n, uint32_t n_keys, uint32_t bytes, uint8_t excess)
{
	struct event *events = arena_array(&a, n, sizeof(*events));

	for (uint32_t i = 0; i < n; i++) {
		struct prop *props = arena_array(&a, n_keys, sizeof(*props));
		uint8_t *without = arena_alloc(&a, n_keys);

		memset(without, excess, n_keys);
		for (uint32_t k = 0; k < n_keys; k++) {
			char *text = arena_alloc(&a, bytes);

			hash_random(text, bytes);
			props[k] = (struct prop){arena_printf(&a, "k%u", k), SCOPE_CUSTOM,
				{.type = VALUE_STR, .s = {text, bytes}}};
		}
		events[i] = (struct event){.kind = STR("a"),
			.distinct_id = STR("u"),
			.props = props,
			.n_props = n_keys,
			.excess = without};
	}
	struct encoder *e = encoder_new(&a);

	for (uint32_t i = 0; i < n; i++)
		cr_assert(encoder_add(e, &events[i]));
	return encoder_finish(e);
}

/* What a reader would refuse for ever is not written. */
Test(evseg, nothing_is_encoded_that_cannot_be_opened)
{
	enum { HALF = EVSEG_PART_MAX / 2 };
	struct evseg s;

	cr_assert(evseg_open(&s, encode_large(2, 1, HALF - 64, 0), &a));
	cr_assert_null(encode_large(2, 1, HALF, 0).p, "a column");
	cr_assert(evseg_open(&s, encode_large(1, 2, HALF - 64, 1), &a));
	cr_assert_null(encode_large(1, 2, HALF, 1).p, "the overflow part");
	arena_reset(&a);
	cr_assert(evseg_open(&s, encode_large(1, 7, HALF, 0), &a));
	arena_reset(&a);
	cr_assert_null(encode_large(1, 8, HALF, 0).p, "all of it");
	cr_assert_not(a.over);
}

Test(evseg, every_flipped_bit_is_noticed)
{
	struct event *events = make_events(20, 4);
	struct str blob = encode(events, 20);
	char *copy = arena_str(&a, blob);
	struct evseg s;

	for (size_t i = 0; i < blob.n; i++) {
		copy[i] = (char)(copy[i] ^ 1 << i % 8);
		cr_assert_not(evseg_open(&s, (struct str){copy, blob.n}, &a), "byte %zu", i);
		copy[i] = blob.p[i];
		cr_assert_not(evseg_open(&s, (struct str){copy, i}, &a));
	}
	cr_assert(evseg_open(&s, (struct str){copy, blob.n}, &a));
}

Test(evseg, masks)
{
	struct event *events = make_events(5, 0);
	int32_t refused[] = {1, 4}, bad[] = {5};
	struct evseg s;

	cr_assert(evseg_open(&s, encode(events, 5), &a));
	cr_assert(evseg_mask(&s, refused, 2, &a));
	cr_assert(!s.masked[0] && s.masked[1] && s.masked[4]);
	cr_assert_not(evseg_mask(&s, bad, 1, &a));
}

Test(evseg, memory_is_bounded)
{
	struct event *events = make_events(1000, 5);
	struct str blob = encode(events, 1000);
	struct arena small;
	struct evseg s;
	struct batch b;
	struct batch_need need = {.distinct = true, .ids = true};

	for (size_t cap = 0; cap < 100000; cap += 1000) {
		arena_init(&small, cap);
		if (evseg_open(&s, blob, &small) && batch_load(&b, &s, &need, &small))
			cr_assert_eq(b.n, 1000);
		else
			cr_assert(small.over, "cap %zu", cap);
		arena_free(&small);
	}
}
