/* Segments out of segments: every kept event comes out once, as it was, in its place. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "shm/base/hash.h"
#include "worker/ingest/autokey.h"
#include "worker/ingest/catalog.h"
#include "worker/store/check.h"
#include "worker/store/encode.h"
#include "worker/store/merge.h"
#include "worker/store/ties.h"

enum { DAY_MS = 86400000 };

static struct arena a, scratch;

static void setup(void)
{
	arena_init(&a, (size_t)1 << 30);
	arena_init(&scratch, 512 << 20);
	srand(7);
}

static void teardown(void)
{
	arena_free(&a);
	arena_free(&scratch);
}

TestSuite(seal_merge, .init = setup, .fini = teardown);

/* What random events are like. */
struct world {
	uint32_t n, kinds, keys, days;
	bool long_texts;
};

static struct value random_value(const struct world *w)
{
	struct value v = {.type = w->long_texts ? VALUE_STR : (enum value_type)(1 + rand() % 5)};

	if (v.type == VALUE_STR)
		v.s = w->long_texts ? arena_printf(&a, "%01000d", rand())
				    : arena_printf(&a, "text %d", rand() % 20);
	else if (v.type == VALUE_DOUBLE)
		v.d = (double)rand() / 7;
	else if (v.type == VALUE_BOOL)
		v.i = rand() & 1;
	else
		v.i = rand() - RAND_MAX / 2;
	return v;
}

static struct event *make_events(const struct world *w)
{
	struct event *events = arena_array(&a, w->n, sizeof(*events));

	for (uint32_t i = 0; i < w->n; i++) {
		struct prop *props = arena_array(&a, w->keys + 1, sizeof(*props));
		struct event *ev = &events[i];

		hash_random(ev->id, 16);
		/* few moments, so that the id decides often; days before 1970 too */
		ev->time_ms = (int64_t)(rand() % (int)w->days - 1) * DAY_MS + rand() % 50 * 1000;
		ev->kind = arena_printf(&a, "kind%d", rand() % (int)w->kinds);
		ev->distinct_id = arena_printf(&a, "user-%d", rand() % 300);
		ev->has_session = rand() % 3 != 0;
		memset(ev->session, 1 + rand() % 9, 16);
		ev->cookieless = rand() % 10 == 0;
		ev->props = props;
		for (uint32_t k = 0; k < w->keys; k++) {
			if (rand() % 4 == 0)
				continue;
			props[ev->n_props].key = arena_printf(&a, "%skey%u", k % 2 ? "$" : "", k);
			props[ev->n_props].scope = k % 2 ? SCOPE_AUTO : SCOPE_CUSTOM;
			props[ev->n_props++].value = random_value(w);
		}
	}
	return events;
}

static struct evseg encode(const struct event *events, uint32_t n)
{
	struct encoder *e = encoder_new(&a);
	struct evseg s;

	for (uint32_t i = 0; i < n; i++)
		cr_assert(encoder_add(e, &events[i]));
	cr_assert(evseg_open(&s, encoder_finish(e), &a));
	return s;
}

/* Cuts the events into `pieces` sources and masks every seventh. */
static struct evseg *sources(const struct event *events, uint32_t n, uint32_t pieces, bool *gone)
{
	struct evseg *src = arena_array(&a, pieces, sizeof(*src));

	for (uint32_t i = 0; i < pieces; i++) {
		uint32_t from = n * i / pieces, to = n * (i + 1) / pieces;
		int32_t *refused = arena_array(&a, to - from + 1, sizeof(*refused));
		uint32_t k = 0;

		src[i] = encode(events + from, to - from);
		for (uint32_t e = from; e < to; e++) {
			gone[e] = e % 7 == 3;
			if (gone[e])
				refused[k++] = (int32_t)(e - from);
		}
		cr_assert(evseg_mask(&src[i], refused, k, &a));
	}
	return src;
}

static struct evseg reopen(const struct merge_segment *m)
{
	int32_t *crcs = arena_array(&a, m->n_parts, sizeof(*crcs));
	struct evseg s;

	for (uint32_t i = 0; i < m->n_parts; i++)
		crcs[i] = (int32_t)evseg_part_crc(&m->parts[i], 7);
	cr_assert(evseg_of_parts(&s, 7, m->n, m->parts, m->n_parts, crcs));
	return s;
}

static const struct event *find(const struct event *events, uint32_t n, const uint8_t *id)
{
	for (uint32_t i = 0; i < n; i++)
		if (memcmp(events[i].id, id, 16) == 0)
			return &events[i];
	return NULL;
}

static const struct value *cell(const struct evseg *s, enum part_kind kind, enum prop_scope scope,
	struct str key, uint32_t row)
{
	const struct evseg_part *part = evseg_find(s, kind, scope, key);
	struct column c;

	if (!part)
		return NULL;
	cr_assert(evseg_column(s, part, &scratch, &c));
	return column_value(&c, row);
}

/* One event is as it was, with nothing added. */
static void compare(const struct evseg *s, uint32_t row, const struct event *ev)
{
	uint32_t props = 0;
	const struct value *v;

	cr_assert(str_eq(cell(s, PART_KIND, 0, STR(""), row)->s, ev->kind));
	cr_assert(str_eq(cell(s, PART_DISTINCT, 0, STR(""), row)->s, ev->distinct_id));
	cr_assert_eq(cell(s, PART_COOKIELESS, 0, STR(""), row) != NULL, ev->cookieless);
	v = cell(s, PART_SESSION, 0, STR(""), row);
	cr_assert_eq(v != NULL, ev->has_session);
	if (v)
		cr_assert_arr_eq(v->s.p, ev->session, 16);
	for (uint32_t k = 0; k < ev->n_props; k++) {
		v = cell(s, PART_PROP, ev->props[k].scope, ev->props[k].key, row);
		cr_assert(v && value_eq(v, &ev->props[k].value));
	}
	for (uint32_t i = 0; i < s->n_parts; i++)
		props += s->parts[i].kind == PART_PROP &&
			 cell(s, PART_PROP, s->parts[i].scope, s->parts[i].key, row) != NULL;
	cr_assert_eq(props, ev->n_props);
}

/* Order, day, bounds and kind of one segment, and its events. Returns its number of events. */
static uint32_t check_segment(
	const struct merge_segment *m, const struct event *events, uint32_t n, const bool *gone)
{
	struct evseg s = reopen(m);
	const int64_t *times;
	const uint8_t *ids;

	cr_assert(evseg_times(&s, &a, &times) && evseg_ids(&s, &a, &ids));
	cr_assert_eq(times[0], m->tmin);
	cr_assert_eq(times[s.n - 1], m->tmax);
	for (uint32_t i = 0; i < s.n; i++) {
		const struct event *ev = find(events, n, ids + i * 16);

		arena_reset(&scratch);
		cr_assert(ev && !gone[ev - events]);
		cr_assert_eq(times[i], ev->time_ms);
		cr_assert_eq((ev->time_ms - m->day * (int64_t)DAY_MS) / DAY_MS, 0);
		cr_assert_geq(ev->time_ms, m->day * (int64_t)DAY_MS);
		cr_assert(m->kind.n == 0 || str_eq(m->kind, ev->kind));
		if (i > 0)
			cr_assert(times[i - 1] < times[i] ||
				  (times[i - 1] == times[i] &&
					  memcmp(ids + (i - 1) * 16, ids + i * 16, 16) < 0));
		if (s.n < 1000 || i % 397 == 0)
			compare(&s, i, ev);
	}
	return s.n;
}

/* Whether two events have a time, and a person or a session, in common. */
static bool tie(const struct event *x, const struct event *y)
{
	return x->time_ms == y->time_ms &&
	       (str_eq(x->distinct_id, y->distinct_id) ||
		       (x->has_session && y->has_session &&
			       memcmp(x->session, y->session, 16) == 0));
}

/* Where the events went. */
struct gone_to {
	int segment; /* -1: nowhere */
	bool tied;
};

static struct gone_to *locate(
	const struct merge_segment *out, uint32_t n, const struct event *events, uint32_t n_events)
{
	struct gone_to *to = arena_array(&a, n_events, sizeof(*to));

	for (uint32_t i = 0; i < n_events; i++)
		to[i].segment = -1;
	for (uint32_t i = 0; i < n; i++) {
		struct evseg s = reopen(&out[i]);
		const uint8_t *ids;
		struct ties t;

		cr_assert_null(check_parts(&s, &a));
		cr_assert(evseg_ids(&s, &a, &ids) && ties_read(&s, &a, &t));
		cr_assert_eq(t.n > 0, evseg_find(&s, PART_TIES, SCOPE_AUTO, STR("")) != NULL);
		for (uint32_t r = 0; r < s.n; r++)
			to[find(events, n_events, ids + r * 16) - events].segment = (int)i;
		for (uint32_t k = 0; k < t.n; k++) {
			cr_assert_arr_eq(t.ids + k * 16, ids + t.rows[k] * 16, 16);
			to[find(events, n_events, t.ids + k * 16) - events].tied = true;
		}
	}
	return to;
}

/* Those have a tie that meet an event of another segment. Returns how many. */
static uint32_t check_ties(
	const struct merge_segment *out, uint32_t n, const struct event *events, uint32_t n_events)
{
	const struct gone_to *to = locate(out, n, events, n_events);
	uint32_t tied = 0;

	for (uint32_t i = 0; i < n_events; i++) {
		bool want = false;

		for (uint32_t k = 0; k < n_events && to[i].segment >= 0; k++)
			want |= to[k].segment >= 0 && to[k].segment != to[i].segment &&
				tie(&events[i], &events[k]);
		cr_assert_eq(to[i].tied, want);
		tied += want;
	}
	return tied;
}

static uint32_t round_trip(const struct world *w, uint32_t pieces)
{
	struct event *events = make_events(w);
	bool *gone = arena_array(&a, w->n, sizeof(*gone));
	struct evseg *src = sources(events, w->n, pieces, gone);
	struct merge_segment *out;
	uint32_t n, total = 0, want = 0;

	cr_assert_eq(merge_segments(src, pieces, &a, &scratch, &out, &n), MERGE_OK);
	for (uint32_t i = 0; i < n; i++)
		total += check_segment(&out[i], events, w->n, gone);
	for (uint32_t i = 0; i < w->n; i++)
		want += !gone[i];
	/* ids differ, and each row was found: equal numbers mean each event once */
	cr_assert_eq(total, want);
	if (w->n < 1000)
		check_ties(out, n, events, w->n);
	return n;
}

Test(seal_merge, every_event_comes_out_once)
{
	static const struct world worlds[] = {{1, 1, 3, 1, false}, {2, 2, 0, 2, false},
		{50, 5, 6, 3, false}, {700, 3, 9, 4, false}, {400, 40, 30, 2, false}};

	for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++)
		for (uint32_t pieces = 1; pieces <= 4 && pieces <= worlds[i].n; pieces++)
			round_trip(&worlds[i], pieces);
}

/* What two sealings made, merged by kind: what was tied stays so, and what comes to lie in
 * other segments than what it meets, is tied from then on. */
Test(seal_merge, ties_last)
{
	enum { N = 600, HALF = N / 2 };
	struct event *events = make_events(&(struct world){N, 3, 2, 1, false});
	struct merge_segment *runs[2], *last[3];
	struct gone_to *before[2], *after;
	struct evseg src[2], pair[2];
	uint32_t n[2], n_last, tied = 0;

	for (uint32_t i = 0; i < 2; i++) {
		src[i] = encode(events + i * HALF, HALF);
		cr_assert_eq(merge_segments(&src[i], 1, &a, &scratch, &runs[i], &n[i]), MERGE_OK);
		cr_assert_eq(n[i], 3);
		cr_assert_gt(check_ties(runs[i], 3, events + i * HALF, HALF), 0);
		before[i] = locate(runs[i], 3, events + i * HALF, HALF);
	}
	for (uint32_t k = 0; k < 3; k++) {
		for (uint32_t i = 0; i < 2; i++)
			for (uint32_t j = 0; j < 3; j++)
				if (str_eq(runs[i][j].kind, arena_printf(&a, "kind%u", k)))
					pair[i] = reopen(&runs[i][j]);
		cr_assert_eq(merge_segments(pair, 2, &a, &scratch, &last[k], &n_last), MERGE_OK);
		cr_assert_eq(n_last, 1);
		after = locate(last[k], 1, events, N);
		for (uint32_t i = 0; i < N; i++)
			if (after[i].segment == 0) {
				cr_assert_eq(after[i].tied, before[i / HALF][i % HALF].tied);
				tied += after[i].tied;
			}
	}
	cr_assert_gt(tied, 0);
}

Test(seal_merge, ties_that_are_broken_are_refused)
{
	static const char *const bodies[] = {"\0", "\1\0", "\1\5iiiiiiiiiiiiiiii",
		"\1\0iiiiiiiiiiiiiiiix", "\2\1iiiiiiiiiiiiiiii\0iiiiiiiiiiiiiiii",
		"\2\1iiiiiiiiiiiiiiii\4iiiiiiiiiiiiiiii", "\377\377\377\377\17\0iiiiiiiiiiiiiiii"};
	static const size_t sizes[] = {1, 2, 18, 19, 35, 35, 22};
	struct evseg_part part = {.kind = PART_TIES};
	struct evseg s = {.n = 5, .parts = &part, .n_parts = 1, .id = 7};
	struct ties t;

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		part.stored = (struct str){bodies[i], sizes[i]};
		part.raw_n = (uint32_t)sizes[i];
		cr_assert_not(ties_read(&s, &a, &t), "%zu", i);
	}
	part.stored = (struct str){"\2\1iiiiiiiiiiiiiiii\3jjjjjjjjjjjjjjjj", 35};
	part.raw_n = 35;
	cr_assert(ties_read(&s, &a, &t));
	cr_assert(t.n == 2 && t.rows[0] == 1 && t.rows[1] == 4 && t.ids[16] == 'j');
}

Test(seal_merge, rare_kinds_share_a_segment_and_common_ones_do_not)
{
	/* one kind a day: its own segment, however small */
	cr_assert_eq(round_trip(&(struct world){40, 1, 2, 3, false}, 2), 3);
	/* several rare ones: one segment a day */
	cr_assert_eq(round_trip(&(struct world){80, 9, 2, 3, false}, 2), 3);
	/* two common ones */
	cr_assert_eq(round_trip(&(struct world){MERGE_SHARED_BELOW * 5, 2, 0, 1, false}, 3), 2);
}

Test(seal_merge, what_is_too_big_is_cut)
{
	/* 27 MB in all, which is more than a reader may need: several, none over the bound */
	cr_assert_geq(round_trip(&(struct world){3500, 1, 12, 1, true}, 3), 2);
	/* 4.8 MB in one column */
	cr_assert_eq(round_trip(&(struct world){7500, 1, 1, 1, true}, 2), 2);
}

Test(seal_merge, at_most_65536_events)
{
	enum { N = 70000 };
	struct event ev = {.kind = STR("k"), .distinct_id = STR("u")};
	struct encoder *e[2] = {encoder_new(&a), encoder_new(&a)};
	struct merge_segment *out;
	struct evseg src[2];
	uint32_t n;

	for (uint32_t i = 0; i < N; i++) {
		ev.time_ms = (N - i) / 7;
		for (int k = 0; k < 4; k++)
			ev.id[k] = (uint8_t)(i >> 8 * k);
		cr_assert(encoder_add(e[i % 2], &ev));
	}
	for (int i = 0; i < 2; i++)
		cr_assert(evseg_open(&src[i], encoder_finish(e[i]), &a));
	cr_assert_eq(merge_segments(src, 2, &a, &scratch, &out, &n), MERGE_OK);
	cr_assert_eq(n, 2);
	cr_assert_eq(out[0].n + out[1].n, N);
	cr_assert_leq(out[0].tmax, out[1].tmin);
	cr_assert_eq(out[1].tmax, N / 7);
	reopen(&out[0]);
	reopen(&out[1]);
}

Test(seal_merge, all_masked_is_nothing)
{
	struct world w = {5, 2, 1, 2, false};
	struct event *events = make_events(&w);
	int32_t all[] = {0, 1, 2, 3, 4};
	struct evseg src = encode(events, 5);
	struct merge_segment *out;
	uint32_t n = 9;

	cr_assert(evseg_mask(&src, all, 5, &a));
	cr_assert_eq(merge_segments(&src, 1, &a, &scratch, &out, &n), MERGE_OK);
	cr_assert_eq(n, 0);
}

/* More keys than columns: what was in the overflow part stays there, nothing joins it. */
Test(seal_merge, overflow_is_kept)
{
	enum { N = 50, KEYS = 250 };
	struct event *events = arena_array(&a, N, sizeof(*events));
	struct merge_segment *out;
	struct evseg src, s;
	struct evseg_overflow o, old;
	struct str raw, before;
	const uint8_t *ids, *ids_before;
	uint32_t n, total = 0;

	for (uint32_t i = 0; i < N; i++) {
		struct prop *props = arena_array(&a, KEYS, sizeof(*props));

		hash_random(events[i].id, 16);
		events[i].kind = STR("k");
		events[i].distinct_id = STR("u");
		events[i].time_ms = (int64_t)i % 4 * 1000;
		events[i].props = props;
		events[i].n_props = KEYS;
		for (uint32_t k = 0; k < KEYS; k++)
			props[k] = (struct prop){arena_printf(&a, "k%u", i * KEYS + k),
				SCOPE_CUSTOM, {.type = VALUE_INT, .i = k}};
	}
	src = encode(events, N);
	cr_assert_eq(merge_segments(&src, 1, &a, &scratch, &out, &n), MERGE_OK);
	cr_assert_eq(n, 1);
	s = reopen(&out[0]);
	cr_assert(evseg_unpack(evseg_find(&s, PART_OVERFLOW, 0, STR("")), &a, &raw));
	cr_assert(evseg_unpack(evseg_find(&src, PART_OVERFLOW, 0, STR("")), &a, &before));
	cr_assert(evseg_ids(&s, &a, &ids) && evseg_ids(&src, &a, &ids_before));
	cr_assert(evseg_overflow_open(&o, raw));
	for (uint32_t i = 0; i < N; i++) {
		const struct event *ev = find(events, N, ids + i * 16);
		uint32_t row = (uint32_t)(ev - events);
		struct prop now, was;

		cr_assert(evseg_overflow_open(&old, before));
		for (; evseg_overflow_next(&s, &o, i, &now) > 0; total++) {
			cr_assert_eq(evseg_overflow_next(&src, &old, row, &was), 1);
			cr_assert(str_eq(now.key, was.key) && value_eq(&now.value, &was.value));
		}
		cr_assert_eq(evseg_overflow_next(&src, &old, row, &was), 0);
	}
	cr_assert_eq(total, N * KEYS - EVSEG_KEYS_MAX);
}

Test(seal_merge, fits_counts_keys)
{
	enum { KEYS = EVSEG_KEYS_MAX * 2 / 5 };
	struct evseg src[3];

	for (uint32_t i = 0; i < 3; i++) {
		struct prop *props = arena_array(&a, KEYS, sizeof(*props));
		struct event ev = {.kind = STR("k"), .distinct_id = STR("u"), .props = props};

		for (ev.n_props = 0; ev.n_props < KEYS; ev.n_props++)
			props[ev.n_props] =
				(struct prop){arena_printf(&a, "k%u", i * KEYS + ev.n_props),
					SCOPE_CUSTOM, {.type = VALUE_INT, .i = 1}};
		src[i] = encode(&ev, 1);
	}
	cr_assert_eq(merge_fits(src, 3, &a), 2);
	src[2] = src[1];
	cr_assert_eq(merge_fits(src, 3, &a), 3);
	cr_assert_eq(merge_fits(src, 1, &a), 1);
}

/* Events with all keys of a list, then one with all that the server adds. */
static struct evseg full_list(enum prop_scope scope)
{
	enum { AT_ONCE = 250, N = CATALOG_KEYS_MAX / AT_ONCE };
	struct event *events = arena_array(&a, N + 1, sizeof(*events));

	for (uint32_t i = 0; i <= N; i++) {
		struct prop *props = arena_array(&a, AT_ONCE, sizeof(*props));

		hash_random(events[i].id, 16);
		events[i].kind = STR("k");
		events[i].distinct_id = STR("u");
		events[i].props = props;
		events[i].n_props = i < N ? AT_ONCE : AUTO_COUNT;
		for (uint32_t k = 0; k < events[i].n_props; k++)
			props[k] = (struct prop){i < N ? arena_printf(&a, "k%u", i * AT_ONCE + k)
						       : autokey_name((enum auto_key)k),
				i < N ? scope : SCOPE_AUTO, {.type = VALUE_INT, .i = k}};
	}
	return encode(events, N + 1);
}

Test(seal_merge, all_that_the_catalogue_admits_has_columns)
{
	struct evseg src[4], s;
	struct merge_segment *out;
	uint32_t n, columns = 0;

	for (uint32_t i = 0; i < 4; i++)
		src[i] = full_list(i % 2 ? SCOPE_CUSTOM : SCOPE_AUTO);
	cr_assert_eq(merge_fits(src, 4, &a), 4);
	cr_assert_eq(merge_segments(src, 4, &a, &scratch, &out, &n), MERGE_OK);
	cr_assert_eq(n, 1);
	s = reopen(&out[0]);
	for (uint32_t i = 0; i < s.n_parts; i++) {
		cr_assert_neq(s.parts[i].kind, PART_OVERFLOW);
		columns += s.parts[i].kind == PART_PROP;
	}
	cr_assert_eq(columns, 2 * CATALOG_KEYS_MAX + AUTO_COUNT);
}

Test(seal_merge, memory_is_bounded)
{
	struct world w = {300, 4, 8, 2, false};
	struct event *events = make_events(&w);
	bool *gone = arena_array(&a, w.n, sizeof(*gone));
	struct evseg *src = sources(events, w.n, 3, gone);
	enum merge_end end = MERGE_MEMORY;
	struct merge_segment *out;
	struct arena x, y;
	uint32_t n;

	for (size_t cap = 0; cap < 2000000 && end != MERGE_OK; cap += 5000) {
		arena_init(&x, cap);
		arena_init(&y, cap);
		end = merge_segments(src, 3, &x, &y, &out, &n);
		cr_assert(end == MERGE_OK || end == MERGE_MEMORY);
		arena_free(&x);
		arena_free(&y);
	}
	cr_assert_eq(end, MERGE_OK);
}

Test(seal_merge, flipped_bits_of_a_part_are_noticed)
{
	struct world w = {60, 1, 3, 1, false};
	struct event *events = make_events(&w);
	struct evseg src = encode(events, w.n), s;
	struct merge_segment *out;
	uint32_t n;
	int32_t crc;

	cr_assert_eq(merge_segments(&src, 1, &a, &scratch, &out, &n), MERGE_OK);
	for (uint32_t i = 0; i < out[0].n_parts; i++) {
		struct evseg_part part = out[0].parts[i];
		char *copy = arena_str(&a, part.stored);

		crc = (int32_t)evseg_part_crc(&part, 7);
		part.stored.p = copy;
		for (size_t k = 0; k < part.stored.n; k++) {
			copy[k] = (char)(copy[k] ^ 1 << k % 8);
			cr_assert_not(evseg_of_parts(&s, 7, w.n, &part, 1, &crc));
			copy[k] = out[0].parts[i].stored.p[k];
		}
		cr_assert(evseg_of_parts(&s, 7, w.n, &part, 1, &crc));
		part.scope = part.scope == SCOPE_AUTO ? SCOPE_CUSTOM : SCOPE_AUTO;
		cr_assert_not(evseg_of_parts(&s, 7, w.n, &part, 1, &crc));
		part.scope = out[0].parts[i].scope;
		cr_assert(evseg_of_parts(&s, 7, w.n, &part, 1, &crc));
		cr_assert_not(evseg_of_parts(&s, 8, w.n, &part, 1, &crc));
	}
}
