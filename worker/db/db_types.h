/*
 * How values travel between C and PostgreSQL's binary format. The generated
 * tables of struct db_field describe the structs of build/gen/q.h.
 *
 *   text, bytea, json, jsonb   struct str; rows: p == NULL is SQL NULL, and the
 *                              bytes are followed by a NUL that n does not count
 *   timestamptz                int64_t microseconds since the Unix epoch
 *   date                       int32_t days since the Unix epoch
 *   uuid                       16 bytes
 *   arrays                     {v, n}; one dimension. In text[] and bytea[] an
 *                              element with p == NULL is SQL NULL, elsewhere
 *                              elements are never NULL
 *
 * Arguments: a nullable scalar is a pointer; of a nullable string or array
 * p/v == NULL is SQL NULL. Where NULL is not allowed, p/v == NULL means empty.
 */
#ifndef DB_DB_TYPES_H
#define DB_DB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/base/str.h"

enum { DB_PARAMS_MAX = 40 };

struct db_texts {
	const struct str *v;
	int n;
};
struct db_int4s {
	const int32_t *v;
	int n;
};
struct db_int8s {
	const int64_t *v;
	int n;
};
struct db_float8s {
	const double *v;
	int n;
};
struct db_bools {
	const bool *v;
	int n;
};
struct db_uuids {
	const uint8_t *v; /* n times 16 bytes */
	int n;
};

enum db_type {
	DB_T_TEXT,
	DB_T_JSONB,
	DB_T_INT2,
	DB_T_INT4,
	DB_T_INT8,
	DB_T_FLOAT8,
	DB_T_BOOL,
	DB_T_TIME,
	DB_T_DATE,
	DB_T_UUID,
	/* arrays come last: codec.c compares with this one */
	DB_T_TEXTS,
	DB_T_BYTEAS,
	DB_T_INT4S,
	DB_T_INT8S,
	DB_T_FLOAT8S,
	DB_T_BOOLS,
	DB_T_DATES,
	DB_T_TIMES,
	DB_T_UUIDS
};

/* A parameter or a column: where its value is in the generated struct. */
struct db_field {
	const char *name;
	enum db_type type;
	bool nullable;
	size_t offset;
	size_t null_offset; /* rows: of the bool name_null; 0 = there is none */
};

#endif
