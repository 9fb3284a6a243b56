/*
 * The binary formats. Numbers are big-endian; time counts from 2000-01-01 on the
 * wire and from 1970-01-01 with us; an array is a header of five words and then
 * its elements, each with its length.
 *
 * Nothing is believed: a result whose lengths do not fit (the schema changed under
 * us) is DB_BUG, never a read past its end.
 */
#include "worker/db/codec.h"

#include <limits.h>
#include <string.h>

#include "shm/base/log.h"

static const int64_t EPOCH_US = 946684800000000; /* 2000-01-01 after 1970-01-01 */
static const int32_t EPOCH_DAYS = 10957;

/* ---- numbers ---- */

static void put_be(uint8_t *out, uint64_t v, int n)
{
	for (int i = n - 1; i >= 0; i--, v >>= 8)
		out[i] = (uint8_t)v;
}

static uint64_t get_be(const uint8_t *in, int n)
{
	uint64_t v = 0;

	for (int i = 0; i < n; i++)
		v = v << 8 | in[i];
	return v;
}

/* An int2 is an int32_t in the structs: what does not fit cannot be sent. */
static bool put_int2(const void *host, uint8_t *wire)
{
	int32_t v;

	memcpy(&v, host, sizeof(v));
	put_be(wire, (uint64_t)(int64_t)v, 2);
	return v >= INT16_MIN && v <= INT16_MAX;
}

static void get_int2(const uint8_t *wire, void *host)
{
	int32_t v = (int16_t)get_be(wire, 2);

	memcpy(host, &v, sizeof(v));
}

static bool put_int4(const void *host, uint8_t *wire)
{
	uint32_t v;

	memcpy(&v, host, sizeof(v));
	put_be(wire, v, 4);
	return true;
}

static void get_int4(const uint8_t *wire, void *host)
{
	uint32_t v = (uint32_t)get_be(wire, 4);

	memcpy(host, &v, sizeof(v));
}

/* Also float8: IEEE 754 in both worlds. */
static bool put_int8(const void *host, uint8_t *wire)
{
	uint64_t v;

	memcpy(&v, host, sizeof(v));
	put_be(wire, v, 8);
	return true;
}

static void get_int8(const uint8_t *wire, void *host)
{
	uint64_t v = get_be(wire, 8);

	memcpy(host, &v, sizeof(v));
}

static bool put_bool(const void *host, uint8_t *wire)
{
	*wire = *(const bool *)host ? 1 : 0;
	return true;
}

static void get_bool(const uint8_t *wire, void *host)
{
	*(bool *)host = *wire != 0;
}

/* The extremes are PostgreSQL's -infinity and infinity and stay what they are. */
static bool put_time(const void *host, uint8_t *wire)
{
	int64_t v;

	memcpy(&v, host, sizeof(v));
	if (v != INT64_MIN && v != INT64_MAX && __builtin_sub_overflow(v, EPOCH_US, &v))
		return false;
	put_be(wire, (uint64_t)v, 8);
	return true;
}

static void get_time(const uint8_t *wire, void *host)
{
	int64_t v = (int64_t)get_be(wire, 8);

	if (v != INT64_MIN && v != INT64_MAX && __builtin_add_overflow(v, EPOCH_US, &v))
		v = INT64_MAX;
	memcpy(host, &v, sizeof(v));
}

static bool put_date(const void *host, uint8_t *wire)
{
	int32_t v;

	memcpy(&v, host, sizeof(v));
	if (v != INT32_MIN && v != INT32_MAX && __builtin_sub_overflow(v, EPOCH_DAYS, &v))
		return false;
	put_be(wire, (uint32_t)v, 4);
	return true;
}

static void get_date(const uint8_t *wire, void *host)
{
	int32_t v = (int32_t)get_be(wire, 4);

	if (v != INT32_MIN && v != INT32_MAX && __builtin_add_overflow(v, EPOCH_DAYS, &v))
		v = INT32_MAX;
	memcpy(host, &v, sizeof(v));
}

static bool put_uuid(const void *host, uint8_t *wire)
{
	memcpy(wire, host, 16);
	return true;
}

static void get_uuid(const uint8_t *wire, void *host)
{
	memcpy(host, wire, 16);
}

/* Types of fixed size. */
struct scalar {
	uint32_t oid;
	int wire;
	size_t host;
	bool (*put)(const void *host, uint8_t *wire);
	void (*get)(const uint8_t *wire, void *host);
};

static const struct scalar scalars[] = {
	[DB_T_INT2] = {21, 2, 4, put_int2, get_int2},
	[DB_T_INT4] = {23, 4, 4, put_int4, get_int4},
	[DB_T_INT8] = {20, 8, 8, put_int8, get_int8},
	[DB_T_FLOAT8] = {701, 8, 8, put_int8, get_int8},
	[DB_T_BOOL] = {16, 1, sizeof(bool), put_bool, get_bool},
	[DB_T_TIME] = {1184, 8, 8, put_time, get_time},
	[DB_T_DATE] = {1082, 4, 4, put_date, get_date},
	[DB_T_UUID] = {2950, 16, 16, put_uuid, get_uuid},
};

/* Element of an array type; DB_T_TEXT for those of strings. */
static const enum db_type elements[] = {
	[DB_T_TEXTS] = DB_T_TEXT,
	[DB_T_BYTEAS] = DB_T_TEXT,
	[DB_T_INT4S] = DB_T_INT4,
	[DB_T_INT8S] = DB_T_INT8,
	[DB_T_FLOAT8S] = DB_T_FLOAT8,
	[DB_T_BOOLS] = DB_T_BOOL,
	[DB_T_DATES] = DB_T_DATE,
	[DB_T_TIMES] = DB_T_TIME,
	[DB_T_UUIDS] = DB_T_UUID,
};

/* All {v, n} structs of db_types.h have this shape. */
struct any_array {
	const void *v;
	int n;
};

/* Dimensions, whether an element is NULL, type of the elements; then, unless it is empty and has
 * no dimension, length and first index of the one. */
enum { ARRAY_HEAD = 20, ARRAY_EMPTY = 12 };

/* ---- parameters ---- */

static enum db_kind bind_string(
	const struct db_field *f, struct str s, struct db_param *p, struct arena *a)
{
	char *copy;

	if (!s.p && f->nullable)
		return DB_OK;
	/* lengths are int for libpq; jsonb takes one byte more */
	if (s.n > INT_MAX - 1)
		return DB_MEMORY;
	*p = (struct db_param){s.p ? s.p : "", s.p ? (int)s.n : 0};
	if (f->type != DB_T_JSONB)
		return DB_OK;
	copy = arena_alloc(a, s.n + 1);
	if (!copy)
		return DB_MEMORY;
	copy[0] = 1; /* version of jsonb's wire format */
	if (p->n)
		memcpy(copy + 1, s.p, s.n);
	*p = (struct db_param){copy, (int)s.n + 1};
	return DB_OK;
}

static size_t array_size(const struct any_array *in, enum db_type element)
{
	const struct str *texts = in->v;
	size_t size = ARRAY_HEAD;

	if (element != DB_T_TEXT)
		return size + (size_t)in->n * (4 + (size_t)scalars[element].wire);
	for (int i = 0; i < in->n; i++)
		if (__builtin_add_overflow(size, 4 + (texts[i].p ? texts[i].n : 0), &size))
			return SIZE_MAX;
	return size;
}

static bool put_elements(const struct any_array *in, enum db_type element, uint8_t *out)
{
	for (int i = 0; i < in->n; i++) {
		const struct scalar *s = &scalars[element];
		const struct str *text = (const struct str *)in->v + i;

		if (element != DB_T_TEXT) {
			put_be(out, (uint64_t)s->wire, 4);
			if (!s->put((const char *)in->v + s->host * (size_t)i, out + 4))
				return false;
			out += 4 + s->wire;
		} else {
			put_be(out, text->p ? text->n : UINT32_MAX, 4);
			if (text->p)
				memcpy(out + 4, text->p, text->n);
			out += 4 + (text->p ? text->n : 0);
		}
	}
	return true;
}

static bool has_null(const struct any_array *in, enum db_type element)
{
	const struct str *texts = in->v;

	for (int i = 0; element == DB_T_TEXT && i < in->n; i++)
		if (!texts[i].p)
			return true;
	return false;
}

static enum db_kind bind_array(
	const struct db_field *f, const void *field, struct db_param *p, struct arena *a)
{
	enum db_type element = elements[f->type];
	uint32_t oid = f->type == DB_T_TEXTS    ? 25
		       : f->type == DB_T_BYTEAS ? 17
						: scalars[element].oid;
	struct any_array in;
	size_t size;
	uint8_t *out;

	memcpy(&in, field, sizeof(in));
	if (!in.v && f->nullable)
		return DB_OK;
	if (!in.v || in.n <= 0)
		in = (struct any_array){NULL, 0};
	size = in.n ? array_size(&in, element) : ARRAY_EMPTY;
	if (size > INT_MAX)
		return DB_MEMORY;
	out = arena_alloc(a, size);
	if (!out)
		return DB_MEMORY;
	*p = (struct db_param){out, (int)size};
	put_be(out, in.n ? 1 : 0, 4);
	put_be(out + 4, has_null(&in, element), 4);
	put_be(out + 8, oid, 4);
	if (!in.n)
		return DB_OK;
	put_be(out + 12, (uint64_t)in.n, 4);
	put_be(out + 16, 1, 4);
	return put_elements(&in, element, out + ARRAY_HEAD) ? DB_OK : DB_BUG;
}

static enum db_kind bind_scalar(
	const struct db_field *f, const void *field, struct db_param *p, uint8_t *room)
{
	const struct scalar *s = &scalars[f->type];

	/* A uuid is a pointer in any case, others when they may be NULL. */
	if (f->nullable || f->type == DB_T_UUID)
		memcpy(&field, field, sizeof(field));
	if (!field)
		return f->nullable ? DB_OK : DB_BUG;
	*p = (struct db_param){room, s->wire};
	return s->put(field, room) ? DB_OK : DB_BUG;
}

enum db_kind codec_bind(const struct query *q, const void *args, struct bound *out, struct arena *a)
{
	must(q->n_params <= DB_PARAMS_MAX);
	for (int i = 0; i < q->n_params; i++) {
		const struct db_field *f = &q->params[i];
		const char *field = (const char *)args + f->offset;
		enum db_kind kind;

		out->p[i] = (struct db_param){NULL, 0};
		if (f->type == DB_T_TEXT || f->type == DB_T_JSONB) {
			struct str s;

			memcpy(&s, field, sizeof(s));
			kind = bind_string(f, s, &out->p[i], a);
		} else if (f->type >= DB_T_TEXTS) {
			kind = bind_array(f, field, &out->p[i], a);
		} else {
			kind = bind_scalar(f, field, &out->p[i], out->scalars[i]);
		}
		if (kind == DB_BUG)
			log_err("bad argument query=%s param=%s", q->label, f->name);
		if (kind != DB_OK)
			return kind;
	}
	return DB_OK;
}

/* ---- rows ---- */

static enum db_kind read_string(const uint8_t *p, size_t n, struct str *out, struct arena *a)
{
	char *copy = arena_str(a, (struct str){(const char *)p, n});

	*out = (struct str){copy, copy ? n : 0};
	return copy ? DB_OK : DB_MEMORY;
}

/* One element at *at; moves past it. Strings may be NULL, scalars not. */
static enum db_kind read_element(
	enum db_type element, const uint8_t **at, const uint8_t *end, char *out, struct arena *a)
{
	const struct scalar *s = &scalars[element];
	const uint8_t *p = *at;
	int32_t n;

	if (end - p < 4)
		return DB_BUG;
	n = (int32_t)get_be(p, 4);
	p += 4;
	if (n == -1 && element == DB_T_TEXT) {
		*at = p;
		memset(out, 0, sizeof(struct str));
		return DB_OK;
	}
	if (n < 0 || n > end - p || (element != DB_T_TEXT && n != s->wire))
		return DB_BUG;
	*at = p + n;
	if (element == DB_T_TEXT)
		return read_string(p, (size_t)n, (struct str *)(void *)out, a);
	s->get(p, out);
	return DB_OK;
}

static enum db_kind read_array(
	enum db_type type, const uint8_t *p, size_t size, void *out, struct arena *a)
{
	enum db_type element = elements[type];
	size_t host = element == DB_T_TEXT ? sizeof(struct str) : scalars[element].host;
	const uint8_t *end = p + size;
	struct any_array array = {NULL, 0};
	char *v;

	memcpy(out, &array, sizeof(array));
	if (size < ARRAY_EMPTY || get_be(p, 4) > 1)
		return DB_BUG;
	if (get_be(p, 4) == 0)
		return DB_OK;
	/* Every element takes four bytes at least, so n cannot ask for more than was sent. */
	if (size < ARRAY_HEAD || get_be(p + 12, 4) > (size - ARRAY_HEAD) / 4)
		return DB_BUG;
	array.n = (int)get_be(p + 12, 4);
	v = arena_array(a, (size_t)array.n, host);
	if (!v)
		return DB_MEMORY;
	array.v = v;
	p += ARRAY_HEAD;
	for (int i = 0; i < array.n; i++) {
		enum db_kind kind = read_element(element, &p, end, v + host * (size_t)i, a);

		if (kind != DB_OK)
			return kind;
	}
	memcpy(out, &array, sizeof(array));
	return DB_OK;
}

static enum db_kind read_value(
	const struct db_field *f, const uint8_t *p, size_t n, char *out, struct arena *a)
{
	if (f->type == DB_T_JSONB && (n < 1 || p[0] != 1))
		return DB_BUG;
	if (f->type == DB_T_JSONB)
		return read_string(p + 1, n - 1, (struct str *)(void *)out, a);
	if (f->type == DB_T_TEXT)
		return read_string(p, n, (struct str *)(void *)out, a);
	if (f->type >= DB_T_TEXTS)
		return read_array(f->type, p, n, out, a);
	if (n != (size_t)scalars[f->type].wire)
		return DB_BUG;
	scalars[f->type].get(p, out);
	return DB_OK;
}

enum db_kind codec_row(
	const struct query *q, const PGresult *res, int row, void *out, struct arena *a)
{
	memset(out, 0, q->row_size);
	if (PQnfields(res) != q->n_columns) {
		log_err("wrong number of columns query=%s", q->label);
		return DB_BUG;
	}
	for (int i = 0; i < q->n_columns; i++) {
		const struct db_field *f = &q->columns[i];
		enum db_kind kind = f->nullable ? DB_OK : DB_BUG;

		if (!PQgetisnull(res, row, i))
			kind = read_value(f, (const uint8_t *)PQgetvalue(res, row, i),
				(size_t)PQgetlength(res, row, i), (char *)out + f->offset, a);
		else if (f->null_offset)
			*((bool *)out + f->null_offset) = true;
		if (kind == DB_BUG)
			log_err("bad value query=%s column=%s", q->label, f->name);
		if (kind != DB_OK)
			return kind;
	}
	return DB_OK;
}
