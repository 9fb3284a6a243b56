/* Kinds, keys, types and traits (insights-dashboards.md 2.5), and which values they take. */
#include "tests/unit/insight_kit.h"
#include "worker/insights/schema.h"
#include "worker/insights/values.h"
#include "worker/insights/watch.h"

/* The kernel gives memory of the segment back, so it keeps its names elsewhere. */
static struct arena query_a;

static void start(void)
{
	kit_setup();
	arena_init(&query_a, 64 << 20);
}

static void end(void)
{
	arena_free(&query_a);
	kit_teardown();
}

TestSuite(schema, .init = start, .fini = end);

static struct schema schema;
static struct plan plan;

static bool fold(void *k, const struct frame *f)
{
	return schema_fold(k, f, kit_seg);
}

static void setup(const char *kind, const char *const *lines)
{
	compile_schema(&plan, &kit_a);
	cr_assert(schema_init(&schema, str_of(kind), &query_a));
	kit_fold(&plan, lines, fold, &schema);
}

/* "name=count:type@day ..." of what has been seen. */
static const char *list(const struct schema_list *l, uint32_t allowed, uint32_t limit)
{
	const struct schema_entry *e;
	uint32_t n;
	struct buf b;

	cr_assert(schema_pick(l, allowed, limit, &kit_a, &e, &n));
	buf_init(&b, &kit_a);
	for (uint32_t i = 0; i < n; i++) {
		if (e[i].count == 0)
			continue;
		buf_printf(&b, "%s%.*s=%llu:%d@", b.n ? " " : "", STR_ARG(e[i].name),
			(unsigned long long)e[i].count, (int)e[i].type);
		kit_put_time(&b, e[i].last_ms);
	}
	buf_c(&b, '\0');
	return b.p;
}

#define ANY UINT32_MAX

Test(schema, counts_over_segments)
{
	setup("",
		(const char *const[]){"2026-01-02T00:00:00 b u p=x $x=5",
			"2026-01-03T00:00:00 a u p=y", "2026-01-01T00:00:00 a u q=true", NULL,
			"2026-01-01T00:00:00 b u p=z q=false", "2020-01-01T00:00:00 old u late=2.5",
			"2026-01-05T00:00:00 b u", NULL, NULL});
	cr_expect_str_eq(list(&schema.kinds, ANY, 9), "b=3:1@01-05 a=2:1@01-03 old=1:1@01-01");
	cr_expect_str_eq(list(&schema.customs, ANY, 9), "p=3:1@01-03 q=2:4@01-01 late=1:3@01-01");
	cr_expect_str_eq(list(&schema.autos, ANY, 9), "$x=1:2@01-02");
	cr_expect_str_eq(list(&schema.customs, ANY, 1), "p=3:1@01-03");
	cr_expect_str_eq(list(&schema.customs, 1 << SCHEMA_BOOLEAN, 9), "q=2:4@01-01");
	cr_expect_str_eq(list(&schema.customs, 0, 9), "");
}

Test(schema, one_kind)
{
	setup("a", (const char *const[]){"2026-01-02T00:00:00 b u p=x only_b=1",
			   "2026-01-01T00:00:00 a u p=y", NULL,
			   "2026-01-05T00:00:00 b u p=1 only_b=1", NULL, NULL});
	cr_expect_str_eq(list(&schema.kinds, ANY, 9), "b=2:1@01-05 a=1:1@01-01");
	cr_expect_str_eq(list(&schema.customs, ANY, 9), "p=1:1@01-01");
}

/* Of several types the one whose last sighting is the earliest; equal ones by number. */
Test(schema, several_types)
{
	setup("", (const char *const[]){"2026-01-01T00:00:00 a u p=1 q=1 r=true",
			  "2026-01-02T00:00:00 a u p=x q=2.5 r=\"1\"", NULL,
			  "2026-01-03T00:00:00 a u p=2 q=1 r=true t=@5",
			  "2026-01-03T00:00:00 a u r=x", NULL, NULL});
	cr_expect_str_eq(
		list(&schema.customs, ANY, 9), "r=4:1@01-03 p=3:1@01-03 q=3:3@01-03 t=1:5@01-03");
	cr_expect_str_eq(list(&schema.customs, 1 << SCHEMA_INTEGER, 9), "");
}

Test(schema, promoted_keys)
{
	const struct schema_entry *e;
	uint32_t n, unseen = 0;

	setup("",
		(const char *const[]){
			"2026-01-01T00:00:00 a u $browser=A $mobile=true $bot_score=5 $os=\"\" $x=\"\"",
			"2026-01-02T00:00:00 a u $browser=7 $verified_bot=true $city=@5 $y=1", NULL,
			NULL});
	cr_expect_str_eq(list(&schema.autos, ANY, 1), "$browser=2:1@01-02 $x=1:1@01-01");
	cr_assert(schema_pick(&schema.autos, ANY, 0, &kit_a, &e, &n));
	cr_expect_eq(n, 23);
	for (uint32_t i = 0; i < n; i++)
		unseen += e[i].count == 0;
	cr_expect_eq(unseen, 22);
	/* they are text, and go when no text is asked for */
	cr_assert(schema_pick(&schema.autos, 1 << SCHEMA_INTEGER, 9, &kit_a, &e, &n));
	cr_expect_eq(n, 1);
	cr_expect(str_eq(e[0].name, STR("$y")));
}

static void profile(const char *json, int64_t at_ms)
{
	struct arena a;

	arena_init(&a, 1 << 20);
	cr_assert(schema_profile(&schema, str_of(json), at_ms, &a));
	arena_free(&a);
}

Test(schema, traits)
{
	char deep[2000];

	setup("", (const char *const[]){NULL, NULL});
	profile("{\"plan\":\"gold\",\"age\":42,\"n\":{\"x\":1.5,\"y\":{\"z\":true}},\"gone\":null,"
		"\"none\":{},\"tags\":[1,2]}",
		0);
	profile("{\"plan\":5,\"age\":7,\"n.x\":1,\"n\":{\"x\":2}}", 86400000);
	profile("{}", 0);
	cr_expect_str_eq(list(&schema.traits, ANY, 99),
		"age=2:2@01-02 n.x=2:3@01-02 plan=2:1@01-02 n.y.z=1:4@01-01 tags=1:6@01-01");
	/* a path that is too long is left out, what is beside it is not */
	memset(deep, 'k', sizeof(deep));
	memcpy(deep, "{\"", 2);
	strcpy(deep + 1500, "\":1,\"short\":\"x\"}");
	profile(deep, 0);
	cr_expect_str_eq(
		list(&schema.traits, 1 << SCHEMA_STRING, 99), "plan=2:1@01-02 short=1:1@01-01");
}

Test(schema, names_are_bounded)
{
	char name[16];
	const struct schema_entry *e;
	uint32_t n;

	setup("", (const char *const[]){NULL, NULL});
	for (int i = 0; i < SCHEMA_NAMES_MAX + 10; i++) {
		snprintf(name, sizeof(name), "k%d", i);
		cr_assert(schema_note(&schema.customs, str_of(name), SCHEMA_STRING, 1, 0, 0));
	}
	cr_assert(schema_note(&schema.customs, STR("k7"), SCHEMA_STRING, 1, 0, 0));
	cr_assert(schema_pick(&schema.customs, ANY, UINT32_MAX, &kit_a, &e, &n));
	cr_expect_eq(n, SCHEMA_NAMES_MAX);
	cr_expect(str_eq(e[0].name, STR("k7")));
}

/* ---- values ---- */

static bool fold_values(void *k, const struct frame *f)
{
	return values_fold(k, f);
}

static const char *top(struct values *v, uint32_t limit)
{
	const struct str *texts;
	uint32_t n;
	struct buf b;

	cr_assert(values_top(v, limit, &texts, &n));
	buf_init(&b, &kit_a);
	for (uint32_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i ? "," : "", STR_ARG(texts[i]));
	buf_c(&b, '\0');
	return b.p;
}

static const char *values_of(
	const char *key, const char *kind, const char *from, const char *const *lines)
{
	struct values v;
	const char *out;

	cr_assert(compile_values(
		&plan, str_of(key), false, str_of(kind), kit_time(str_of(from)), &kit_a));
	values_init(&v, 64 << 20, &kit_a);
	kit_fold(&plan, lines, fold_values, &v);
	out = top(&v, 100);
	values_free(&v);
	return out;
}

Test(schema, values_by_frequency)
{
	const char *const lines[] = {"2026-01-02T00:00:00 a u p=x $mobile=true",
		"2026-01-02T00:00:00 a u p=7 $mobile=false", "2026-01-02T00:00:00 a u p=b",
		"2026-01-02T00:00:00 b u p=2.0", NULL, "2026-01-03T00:00:00 a u p=b $mobile=true",
		"2026-01-03T00:00:00 b cookieless-1 p=\"7\"", "2026-01-03T00:00:00 b u p=\"\"",
		"2025-01-03T00:00:00 b u p=old", "2026-01-03T00:00:00 b u p=\"7\"", NULL, NULL};

	cr_expect_str_eq(values_of("p", "", "2026-01-01T00:00:00", lines), "7,b,2,x");
	cr_expect_str_eq(values_of("p", "a", "2026-01-01T00:00:00", lines), "b,7,x");
	cr_expect_str_eq(values_of("p", "none", "2026-01-01T00:00:00", lines), "");
	cr_expect_str_eq(values_of("p", "", "2025-01-01T00:00:00", lines), "7,b,2,old,x");
	cr_expect_str_eq(values_of("$mobile", "", "2026-01-01T00:00:00", lines), "true,false");
	cr_expect_str_eq(values_of("absent", "", "2026-01-01T00:00:00", lines), "");
}

/* More different values than there is room for: the frequent ones stay, and of those that
 * occur once the first by text. */
Test(schema, values_are_bounded)
{
	struct values v;
	char text[32];

	values_init(&v, 1 << 20, &kit_a);
	for (unsigned i = 0; i < 200000; i++) {
		snprintf(text, sizeof(text), "v%06u", (i * 7919U) % 200000U);
		cr_assert(values_add(&v, str_of(text), 1));
		if (i % 50 == 0)
			cr_assert(values_add(&v, STR("often"), 1));
		if (i % 100 == 0)
			cr_assert(values_add(&v, STR("sometimes"), 1));
	}
	cr_expect_leq(v.room.held, (size_t)1 << 20);
	cr_expect_lt(v.texts.n, 100000);
	cr_expect_str_eq(top(&v, 5), "often,sometimes,v000000,v000001,v000002");
	/* too long for a picker; that no room is made for it shows in the order of the rest */
	char *big = arena_zalloc(&kit_a, VALUES_TEXT_MAX + 2);

	memset(big, 'x', VALUES_TEXT_MAX + 1);
	cr_assert(values_add(&v, str_of(big), 100000000));
	cr_expect_str_eq(top(&v, 1), "often");
	values_free(&v);
}

static bool is_over(void *arg)
{
	(void)arg;
	return true;
}

/* A million of them take a while to rank (D40). */
Test(schema, values_that_nobody_waits_for)
{
	const struct str *texts;
	struct values v;
	char text[32];
	uint32_t n;

	values_init(&v, 64 << 20, &kit_a);
	for (unsigned i = 0; i < 100000; i++) {
		snprintf(text, sizeof(text), "v%06u", (i * 7919U) % 200000U);
		cr_assert(values_add(&v, str_of(text), 1));
	}
	cr_expect(values_top(&v, 5, &texts, &n));
	watch_begin(is_over, NULL);
	cr_expect_not(values_top(&v, 5, &texts, &n));
	watch_end();
	values_free(&v);
}
