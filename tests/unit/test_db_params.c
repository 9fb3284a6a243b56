/*
 * Binary parameters and rows without a server: what is bound is put into a result as
 * it would come back, and must read back equal. Then the same bytes cut and changed.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/db/codec.h"

struct all {
	struct str text, bytes, json;
	int32_t i2, i4, day;
	int64_t i8, at;
	double f8;
	bool yes;
	const uint8_t *id;
	struct db_texts texts, blobs;
	struct db_int4s i4s, days;
	struct db_int8s i8s, times;
	struct db_float8s f8s;
	struct db_bools bools;
	struct db_uuids ids;
};

/* As all, but with the uuid inline, as rows have it. */
struct row {
	struct str text, bytes, json;
	int32_t i2, i4, day;
	int64_t i8, at;
	double f8;
	bool yes;
	uint8_t id[16];
	struct db_texts texts, blobs;
	struct db_int4s i4s, days;
	struct db_int8s i8s, times;
	struct db_float8s f8s;
	struct db_bools bools;
	struct db_uuids ids;
};

#define FIELDS(S)                                                            \
	{"text", DB_T_TEXT, false, offsetof(struct S, text), 0},             \
		{"bytes", DB_T_TEXT, false, offsetof(struct S, bytes), 0},   \
		{"json", DB_T_JSONB, false, offsetof(struct S, json), 0},    \
		{"i2", DB_T_INT2, false, offsetof(struct S, i2), 0},         \
		{"i4", DB_T_INT4, false, offsetof(struct S, i4), 0},         \
		{"day", DB_T_DATE, false, offsetof(struct S, day), 0},       \
		{"i8", DB_T_INT8, false, offsetof(struct S, i8), 0},         \
		{"at", DB_T_TIME, false, offsetof(struct S, at), 0},         \
		{"f8", DB_T_FLOAT8, false, offsetof(struct S, f8), 0},       \
		{"yes", DB_T_BOOL, false, offsetof(struct S, yes), 0},       \
		{"id", DB_T_UUID, false, offsetof(struct S, id), 0},         \
		{"texts", DB_T_TEXTS, false, offsetof(struct S, texts), 0},  \
		{"blobs", DB_T_BYTEAS, false, offsetof(struct S, blobs), 0}, \
		{"i4s", DB_T_INT4S, false, offsetof(struct S, i4s), 0},      \
		{"days", DB_T_DATES, false, offsetof(struct S, days), 0},    \
		{"i8s", DB_T_INT8S, false, offsetof(struct S, i8s), 0},      \
		{"times", DB_T_TIMES, false, offsetof(struct S, times), 0},  \
		{"f8s", DB_T_FLOAT8S, false, offsetof(struct S, f8s), 0},    \
		{"bools", DB_T_BOOLS, false, offsetof(struct S, bools), 0},  \
		{"ids", DB_T_UUIDS, false, offsetof(struct S, ids), 0},

static const struct db_field params[] = {FIELDS(all)};
static const struct db_field columns[] = {FIELDS(row)};
enum { N = sizeof(params) / sizeof(params[0]) };
static const struct query query = {.label = "all",
	.params = params,
	.columns = columns,
	.n_params = N,
	.n_columns = N,
	.row_size = sizeof(struct row)};

static const uint8_t uuids[32] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 255};
static const int32_t i4s[] = {0, -1, INT32_MAX, INT32_MIN};
static const int64_t i8s[] = {0, -1, INT64_MAX, INT64_MIN, 1700000000123456};
static const double f8s[] = {0, -1.5, 1e300};
static const bool bools[] = {true, false, true};

static struct all sample(void)
{
	static struct str texts[3], blobs[1];

	texts[0] = STR("a");
	texts[1] = (struct str){NULL, 0};
	texts[2] = STR("");
	blobs[0] = (struct str){"\0\1\2", 3};
	return (struct all){.text = STR("h\xc3\xa9llo"),
		.bytes = {"\0x", 2},
		.json = STR("{\"a\":1}"),
		.i2 = -32768,
		.i4 = 70000,
		.day = 20000,
		.i8 = -5,
		.at = 1700000000123456,
		.f8 = 0.1,
		.yes = true,
		.id = uuids,
		.texts = {texts, 3},
		.blobs = {blobs, 1},
		.i4s = {i4s, 4},
		.days = {i4s, 1},
		.i8s = {i8s, 5},
		.times = {i8s, 5},
		.f8s = {f8s, 3},
		.bools = {bools, 3},
		.ids = {uuids, 2}};
}

/* A result of one row with the given values, as the server would send them back. */
static PGresult *reply(const struct db_param *p, int n)
{
	PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc *attrs = calloc((size_t)n, sizeof(*attrs));

	for (int i = 0; i < n; i++) {
		attrs[i].name = (char *)(uintptr_t) "c";
		attrs[i].format = 1;
	}
	cr_assert(PQsetResultAttrs(res, n, attrs));
	for (int i = 0; i < n; i++)
		cr_assert(PQsetvalue(res, 0, i, (char *)(uintptr_t)p[i].p, p[i].p ? p[i].n : -1));
	free(attrs);
	return res;
}

Test(db_params, everything_comes_back)
{
	struct all in = sample();
	struct row out;
	struct bound bound;
	struct arena a;
	PGresult *res;

	arena_init(&a, 1 << 20);
	cr_assert(codec_bind(&query, &in, &bound, &a) == DB_OK);
	res = reply(bound.p, N);
	cr_assert(codec_row(&query, res, 0, &out, &a) == DB_OK);
	PQclear(res);
	cr_expect(str_eq(out.text, in.text) && out.text.p[out.text.n] == '\0');
	cr_expect(str_eq(out.bytes, in.bytes) && str_eq(out.json, in.json));
	cr_expect(out.i2 == in.i2 && out.i4 == in.i4 && out.day == in.day && out.i8 == in.i8);
	cr_expect(out.at == in.at && out.yes && memcmp(&out.f8, &in.f8, 8) == 0);
	cr_expect(memcmp(out.id, uuids, 16) == 0);
	cr_assert(out.texts.n == 3 && out.blobs.n == 1 && out.i4s.n == 4 && out.days.n == 1);
	cr_assert(out.i8s.n == 5 && out.times.n == 5 && out.f8s.n == 3 && out.bools.n == 3);
	cr_expect(str_eq(out.texts.v[0], STR("a")) && !out.texts.v[1].p);
	cr_expect(out.texts.v[2].p && out.texts.v[2].n == 0);
	cr_expect(str_eq(out.blobs.v[0], in.blobs.v[0]));
	cr_expect(memcmp(out.i4s.v, i4s, sizeof(i4s)) == 0 && out.days.v[0] == 0);
	cr_expect(memcmp(out.i8s.v, i8s, sizeof(i8s)) == 0);
	cr_expect(memcmp(out.times.v, i8s, sizeof(i8s)) == 0);
	cr_expect(memcmp(out.f8s.v, f8s, sizeof(f8s)) == 0);
	cr_expect(memcmp(out.bools.v, bools, sizeof(bools)) == 0);
	cr_expect(out.ids.n == 2 && memcmp(out.ids.v, uuids, 32) == 0);
	arena_free(&a);
}

Test(db_params, empty_means_empty_where_null_is_not_allowed)
{
	struct all in = {.id = uuids};
	struct bound bound;
	struct row out;
	struct arena a;
	PGresult *res;

	arena_init(&a, 1 << 20);
	cr_assert(codec_bind(&query, &in, &bound, &a) == DB_OK);
	for (int i = 0; i < N; i++)
		cr_expect(bound.p[i].p, "%s became NULL", params[i].name);
	res = reply(bound.p, N);
	cr_assert(codec_row(&query, res, 0, &out, &a) == DB_OK);
	cr_expect(out.text.p && out.text.n == 0 && out.texts.n == 0 && out.ids.n == 0);
	PQclear(res);
	arena_free(&a);
}

struct maybe {
	struct str text;
	const int32_t *i4;
	const uint8_t *id;
	struct db_int4s i4s;
};
struct maybe_row {
	struct str text;
	int32_t i4;
	bool i4_null;
};
static const struct db_field maybe_params[] = {
	{"text", DB_T_TEXT, true, offsetof(struct maybe, text), 0},
	{"i4", DB_T_INT4, true, offsetof(struct maybe, i4), 0},
	{"id", DB_T_UUID, true, offsetof(struct maybe, id), 0},
	{"i4s", DB_T_INT4S, true, offsetof(struct maybe, i4s), 0},
};
static const struct db_field maybe_columns[] = {
	{"text", DB_T_TEXT, true, offsetof(struct maybe_row, text), 0},
	{"i4", DB_T_INT4, true, offsetof(struct maybe_row, i4),
		offsetof(struct maybe_row, i4_null)},
};

Test(db_params, nulls)
{
	struct query q = {.label = "maybe",
		.params = maybe_params,
		.n_params = 4,
		.columns = maybe_columns,
		.n_columns = 2,
		.row_size = sizeof(struct maybe_row)};
	struct maybe in = {.i4 = NULL};
	struct maybe_row out;
	struct bound bound;
	struct arena a;
	PGresult *res;

	arena_init(&a, 1 << 20);
	cr_assert(codec_bind(&q, &in, &bound, &a) == DB_OK);
	for (int i = 0; i < 4; i++)
		cr_expect(!bound.p[i].p);
	res = reply(bound.p, 2);
	cr_assert(codec_row(&q, res, 0, &out, &a) == DB_OK);
	cr_expect(!out.text.p && out.i4_null);
	/* The same where NULL must not be. */
	q.columns = columns;
	cr_expect(codec_row(&q, res, 0, &(struct row){.i2 = 0}, &a) == DB_BUG);
	q.n_columns = 1;
	cr_expect(codec_row(&q, res, 0, &(struct row){.i2 = 0}, &a) == DB_BUG);
	PQclear(res);
	arena_free(&a);
}

Test(db_params, what_cannot_be_sent)
{
	struct all in = sample();
	struct bound bound;
	struct arena a;

	arena_init(&a, 1 << 20);
	in.i2 = 32768;
	cr_expect(codec_bind(&query, &in, &bound, &a) == DB_BUG);
	in = sample();
	in.at = INT64_MIN + 1;
	cr_expect(codec_bind(&query, &in, &bound, &a) == DB_BUG);
	in = sample();
	in.id = NULL;
	cr_expect(codec_bind(&query, &in, &bound, &a) == DB_BUG);
	arena_free(&a);
	arena_init(&a, 64);
	in = sample();
	cr_expect(codec_bind(&query, &in, &bound, &a) == DB_MEMORY);
	arena_free(&a);
}

/* Values of every column cut short, grown and flipped: refused or read, never past the end
 * (the sanitizers watch). */
Test(db_params, broken_values)
{
	struct all in = sample();
	struct bound bound;
	struct arena a, rows;

	srandom(7);
	arena_init(&a, 1 << 20);
	cr_assert(codec_bind(&query, &in, &bound, &a) == DB_OK);
	for (int round = 0; round < 3000; round++) {
		struct db_param p[N];
		struct row out;
		PGresult *res;
		int at = (int)(random() % N);
		char bytes[256];

		memcpy(p, bound.p, sizeof(p));
		cr_assert(p[at].n < 200);
		memcpy(bytes, p[at].p, (size_t)p[at].n);
		if (p[at].n > 0 && random() % 2)
			bytes[random() % p[at].n] = (char)random();
		if (random() % 2)
			p[at].n = (int)(random() % (p[at].n + 1));
		p[at].p = bytes;
		res = reply(p, N);
		arena_init(&rows, 1 << 16);
		(void)codec_row(&query, res, 0, &out, &rows);
		arena_free(&rows);
		PQclear(res);
	}
	arena_free(&a);
}
