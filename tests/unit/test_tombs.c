/* Who is hidden where (tombs), and segments without some of their events (prune). */
#include <criterion/criterion.h>
#include <stdlib.h>
#include "shm/base/hash.h"
#include "worker/store/encode.h"
#include "worker/store/prune.h"
#include "worker/store/tombs.h"

enum { KEYS = 60 };

static struct arena a;

static void setup(void)
{
	arena_init(&a, 512 << 20);
}

static void teardown(void)
{
	arena_free(&a);
}

TestSuite(tombs, .init = setup, .fini = teardown);

Test(tombs, an_id_is_hidden_below_its_place)
{
	struct tombs t;

	tombs_init(&t, &a);
	cr_assert_eq(tombs_find(&t, STR("a"), 1), TOMB_NONE);
	cr_assert(tombs_add(&t, STR("a"), 10, 0));
	cr_assert(tombs_add(&t, STR("b"), 10, 0));
	cr_assert(tombs_add(&t, STR("a"), 20, 1));
	cr_assert(tombs_add(&t, STR("a"), 30, 2));
	cr_assert_eq(t.highest, 30);
	cr_assert_eq(tombs_find(&t, STR("a"), 9), 0);
	cr_assert_eq(tombs_find(&t, STR("a"), 10), 1);
	cr_assert_eq(tombs_find(&t, STR("a"), 29), 2);
	cr_assert_eq(tombs_find(&t, STR("a"), 30), TOMB_NONE);
	cr_assert_eq(tombs_find(&t, STR("b"), 10), TOMB_NONE);
	cr_assert_eq(tombs_find(&t, STR("c"), 0), TOMB_NONE);
}

Test(tombs, many)
{
	struct tombs t;

	tombs_init(&t, &a);
	for (int i = 0; i < 20000; i++)
		cr_assert(tombs_add(&t, arena_printf(&a, "id-%d", i % 7000), i, (uint32_t)i));
	for (int i = 0; i < 20000; i++)
		cr_assert_eq(
			tombs_find(&t, arena_printf(&a, "id-%d", i % 7000), i - 1), (uint32_t)i);
}

Test(tombs, the_arena_has_an_end)
{
	struct arena small;
	struct tombs t;
	int i = 0;

	arena_init(&small, 100000);
	tombs_init(&t, &small);
	while (i < 100000 && tombs_add(&t, arena_printf(&a, "id-%d", i), 1, 0))
		i++;
	cr_assert(i > 10 && i < 100000 && small.over);
	arena_free(&small);
}

static struct str id_of(uint32_t i)
{
	return arena_printf(&a, "user-%u", i % 7);
}

/* Every third event has no session; keys come and go, some are too many for a column. */
static void make(struct event *ev, uint32_t i, bool wide)
{
	struct prop *props = arena_array(&a, KEYS * 4, sizeof(*props));

	*ev = (struct event){.time_ms = 1700000000000 + (i * 7919) % 100000,
		.kind = arena_printf(&a, "kind-%u", i % 4),
		.distinct_id = id_of(i),
		.has_session = i % 3 != 0,
		.cookieless = i % 5 == 0,
		.props = props};
	hash_random(ev->id, 16);
	memset(ev->session, (int)(i % 9) + 1, 16);
	for (uint32_t k = 0; k < (wide ? KEYS * 4u : i % KEYS); k++) {
		struct prop *p = &props[ev->n_props++];

		p->key = arena_printf(&a, "k%u", wide ? i * KEYS * 4 + k : k * 3 + i % 3);
		p->scope = k % 2 ? SCOPE_AUTO : SCOPE_CUSTOM;
		p->value = (struct value){.type = VALUE_INT, .i = (int64_t)i * 1000 + k};
		if (k % 3 == 1)
			p->value = (struct value){
				.type = VALUE_STR, .s = arena_printf(&a, "of %u", i)};
	}
}

static struct str encode(const struct event *events, uint32_t n)
{
	struct encoder *e = encoder_new(&a);

	for (uint32_t i = 0; i < n; i++)
		cr_assert(encoder_add(e, &events[i]));
	return encoder_finish(e);
}

static const struct value *column_at(
	const struct evseg *s, enum part_kind kind, const struct prop *p, uint32_t row)
{
	const struct evseg_part *part =
		evseg_find(s, kind, p ? p->scope : SCOPE_AUTO, p ? p->key : STR(""));
	struct column *c = arena_zalloc(&a, sizeof(*c));

	if (!part)
		return NULL;
	cr_assert(evseg_column(s, part, &a, c));
	return column_value(c, row);
}

static void same(const struct evseg *s, uint32_t row, const struct event *ev)
{
	const struct value *session = column_at(s, PART_SESSION, NULL, row);
	const struct evseg_part *part = evseg_find(s, PART_OVERFLOW, SCOPE_AUTO, STR(""));
	struct prop found[KEYS * 4];
	struct evseg_overflow o;
	const int64_t *times;
	const uint8_t *ids;
	struct str raw;
	int n = 0;

	cr_assert(evseg_times(s, &a, &times) && evseg_ids(s, &a, &ids));
	cr_assert_eq(times[row], ev->time_ms);
	cr_assert_arr_eq(ids + row * 16, ev->id, 16);
	cr_assert(str_eq(column_at(s, PART_KIND, NULL, row)->s, ev->kind));
	cr_assert(str_eq(column_at(s, PART_DISTINCT, NULL, row)->s, ev->distinct_id));
	cr_assert_eq(session != NULL, ev->has_session);
	if (session)
		cr_assert_arr_eq(session->s.p, ev->session, 16);
	cr_assert_eq(column_at(s, PART_COOKIELESS, NULL, row) != NULL, ev->cookieless);
	if (part) {
		cr_assert(evseg_unpack(part, &a, &raw));
		cr_assert(evseg_overflow_open(&o, raw));
		while (n < KEYS * 4 && evseg_overflow_next(s, &o, row, &found[n]) > 0)
			n++;
	}
	for (uint32_t k = 0; k < ev->n_props; k++) {
		const struct value *v = column_at(s, PART_PROP, &ev->props[k], row);

		for (int i = 0; i < n && !v; i++)
			if (str_eq(found[i].key, ev->props[k].key))
				v = &found[i].value;
		cr_assert(v && value_eq(v, &ev->props[k].value), "row %u key %u", row, k);
	}
}

static bool holds(struct str blob, struct str text)
{
	struct evseg s;
	struct str raw;

	cr_assert(evseg_open(&s, blob, &a));
	for (uint32_t i = 0; i < s.n_parts; i++) {
		cr_assert(evseg_unpack(&s.parts[i], &a, &raw));
		if (memmem(raw.p, raw.n, text.p, text.n))
			return true;
	}
	return false;
}

static void rewrite_and_compare(uint32_t n, bool wide)
{
	struct event *events = arena_array(&a, n, sizeof(*events));
	int32_t refused[] = {1, 5};
	const uint32_t *owners;
	uint8_t *drop = arena_zalloc(&a, n);
	struct pruned out;
	struct evseg s, left;
	struct tombs t;
	uint32_t row = 0;

	for (uint32_t i = 0; i < n; i++)
		make(&events[i], i, wide);
	cr_assert(evseg_open(&s, encode(events, n), &a) && evseg_mask(&s, refused, 2, &a));
	tombs_init(&t, &a);
	cr_assert(tombs_add(&t, STR("user-3"), 100, 0) && tombs_add(&t, STR("user-4"), 90, 1));
	cr_assert(tombs_owners(&t, &s, 100, &a, &owners) && !owners);
	cr_assert(tombs_owners(&t, &s, 95, &a, &owners) && owners);
	for (uint32_t i = 0; i < n; i++) {
		drop[i] = owners[i] != TOMB_NONE;
		cr_assert_eq(drop[i], i % 7 == 3);
	}
	cr_assert(prune_events(&s, drop, &a, &out));
	cr_assert(evseg_open(&left, out.blob, &a));
	cr_assert_eq(left.n, out.n);
	for (uint32_t i = 0; i < n; i++) {
		if (drop[i] || i == 1 || i == 5)
			continue;
		cr_assert(events[i].time_ms >= out.tmin && events[i].time_ms <= out.tmax);
		same(&left, row++, &events[i]);
	}
	cr_assert_eq(row, out.n);
	cr_assert(holds(encode(events, n), STR("user-3")));
	cr_assert_not(holds(out.blob, STR("user-3")));
	cr_assert(holds(out.blob, STR("user-4")));
	/* the mask: hidden ones and refused ones */
	cr_assert(tombs_mask(&t, &s, 95, &a));
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(s.masked[i], i % 7 == 3 || i == 1 || i == 5);
}

Test(tombs, what_is_left_of_a_segment)
{
	rewrite_and_compare(20, false);
	rewrite_and_compare(300, false);
}

Test(tombs, what_is_left_of_a_wide_segment)
{
	rewrite_and_compare(40, true);
}

Test(tombs, nothing_is_left)
{
	struct event ev;
	uint8_t drop = 1;
	struct pruned out;
	struct evseg s;

	make(&ev, 8, false);
	cr_assert(evseg_open(&s, encode(&ev, 1), &a));
	cr_assert(prune_events(&s, &drop, &a, &out));
	cr_assert_eq(out.n, 0);
	cr_assert_null(out.blob.p);
}

Test(tombs, too_little_memory)
{
	struct event *events = arena_array(&a, 300, sizeof(*events));
	uint8_t *drop = arena_zalloc(&a, 300);
	struct pruned out;
	struct arena small;
	struct evseg s;

	for (uint32_t i = 0; i < 300; i++)
		make(&events[i], i, false);
	cr_assert(evseg_open(&s, encode(events, 300), &a));
	arena_init(&small, 200000);
	cr_assert_not(prune_events(&s, drop, &small, &out));
	cr_assert(small.over);
	arena_free(&small);
}
