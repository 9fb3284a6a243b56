/* The names of a segment: counted as the events have them, the same when packed. */
#include "tests/unit/insight_kit.h"
#include "worker/store/names.h"

static struct arena a, scratch;

static void start(void)
{
	kit_setup();
	arena_init(&a, 64 << 20);
	arena_init(&scratch, 64 << 20);
}

static void finish(void)
{
	arena_free(&scratch);
	arena_free(&a);
	kit_teardown();
}

TestSuite(names, .init = start, .fini = finish);

/* What a sink was told: "kind/name:type=n@last" sorted by nothing, as it came. */
struct told {
	struct names_sink sink;
	struct buf b;
	unsigned left; /* then it ends */
};

static bool tell(struct names_sink *sink, const struct name_seen *seen)
{
	struct told *t = (struct told *)sink;

	if (t->left-- == 0)
		return false;
	buf_printf(&t->b, "%s%c%.*s/%.*s:%d=%llu@%lld", t->b.n ? " " : "", "kac"[seen->list],
		STR_ARG(seen->kind), STR_ARG(seen->name), (int)seen -> type,
		(unsigned long long)seen -> n, (long long)(seen->last_ms / 1000 % 100));
	return true;
}

static struct told told_init(unsigned left)
{
	struct told t = {.sink = {tell}, .left = left};

	buf_init(&t.b, &a);
	return t;
}

static const char *text_of(struct told *t)
{
	buf_c(&t->b, '\0');
	return t->b.p;
}

/* The segment of events in the kit's notation. */
static struct evseg segment(const char *const *lines, const int32_t *refused, uint32_t n_refused)
{
	struct encoder *e = encoder_new(&kit_a);
	struct evseg seg;

	for (; *lines; lines++)
		kit_event(e, *lines);
	cr_assert(evseg_open(&seg, encoder_finish(e), &kit_a));
	cr_assert(evseg_mask(&seg, refused, n_refused, &kit_a));
	return seg;
}

static const char *const mixed[] = {"2026-01-01T00:00:01 b u p=x $browser=Fox $x=5",
	"2026-01-01T00:00:09 a u p=7 $mobile=true", "2026-01-01T00:00:05 b u p=y q=true",
	"2026-01-01T00:00:03 a u p=z q=2.5 w=@1700000000000", NULL};
static const char said[] =
	"kb/b:1=2@5 ka/a:1=2@9 ab/$browser:1=1@1 ab/$x:2=1@1 cb/p:1=2@5 ca/p:2=1@9 ca/p:1=1@3 "
	"cb/q:4=1@5 ca/q:3=1@3 ca/w:5=1@3";

Test(names, counts_by_kind_and_type)
{
	struct evseg seg = segment(mixed, NULL, 0);
	struct told direct = told_init(99), read = told_init(99);
	struct str packed;

	cr_assert(names_pack(&seg, &a, &scratch, &packed));
	cr_assert(names_read(packed, &read.sink, &scratch));
	cr_expect_str_eq(text_of(&read), said);
	cr_assert(names_all(&seg, &direct.sink, &scratch));
	cr_expect_eq(direct.b.n, sizeof(said) - 1, "the same, in the order of the columns");
}

Test(names, masked_events_are_not_there)
{
	struct evseg seg = segment(mixed, (const int32_t[]){1, 3}, 2);
	struct told t = told_init(99);
	struct str packed;

	cr_assert(names_pack(&seg, &a, &scratch, &packed));
	cr_assert(names_read(packed, &t.sink, &scratch));
	cr_expect_str_eq(
		text_of(&t), "kb/b:1=2@5 ab/$browser:1=1@1 ab/$x:2=1@1 cb/p:1=2@5 cb/q:4=1@5");
}

Test(names, an_empty_text_of_a_promoted_key_is_none)
{
	struct evseg seg = segment((const char *const[]){"2026-01-01T00:00:01 k u $browser= p=",
					   "2026-01-01T00:00:02 k u $os=5", NULL},
		NULL, 0);
	struct told t = told_init(99);
	struct str packed;

	cr_assert(names_pack(&seg, &a, &scratch, &packed));
	cr_assert(names_read(packed, &t.sink, &scratch));
	cr_expect_str_eq(text_of(&t), "kk/k:1=2@2 ak/$os:1=1@2 ck/p:1=1@1");
}

Test(names, a_sink_may_end_it)
{
	struct evseg seg = segment(mixed, NULL, 0);
	struct str packed;

	cr_assert(names_pack(&seg, &a, &scratch, &packed));
	for (unsigned left = 0; left <= 10; left++) {
		struct told one = told_init(left), two = told_init(left);

		cr_expect_eq(names_read(packed, &one.sink, &scratch), left == 10);
		cr_expect_eq(names_all(&seg, &two.sink, &scratch), left == 10);
	}
}

Test(names, damaged_bytes_are_refused)
{
	struct evseg seg = segment(mixed, NULL, 0);
	struct str packed, copy;
	char *bytes;

	cr_assert(names_pack(&seg, &a, &scratch, &packed));
	bytes = arena_str(&a, packed);
	copy = (struct str){bytes, packed.n};
	for (size_t i = 0; i < packed.n; i++) {
		struct told t = told_init(99);

		bytes[i] ^= 0x20;
		cr_expect_not(names_read(copy, &t.sink, &scratch), "byte %zu", i);
		bytes[i] ^= 0x20;
		t = told_init(99);
		cr_expect_not(
			names_read((struct str){bytes, i}, &t.sink, &scratch), "cut at %zu", i);
	}
}

/* With a good checksum: bounds are what is left. */
Test(names, nothing_is_believed)
{
	struct evseg seg = segment(mixed, NULL, 0);
	struct str packed;
	char *bytes;

	cr_assert(names_pack(&seg, &a, &scratch, &packed));
	bytes = arena_str(&a, packed);
	srand(5);
	for (int round = 0; round < 20000; round++) {
		struct told t = told_init(1000);
		size_t n = packed.n - 4, at = (size_t)rand() % n;
		uint32_t crc;
		char was = bytes[at];

		bytes[at] = (char)rand();
		crc = hash_crc32c(0, bytes, n);
		for (int i = 0; i < 4; i++)
			bytes[n + (size_t)i] = (char)(crc >> 8 * i);
		(void)names_read((struct str){bytes, packed.n}, &t.sink, &scratch);
		bytes[at] = was;
		arena_reset(&scratch);
	}
}
