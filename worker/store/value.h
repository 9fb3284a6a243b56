/*
 * One property value with its type, as clients sent it, and the two views that
 * filters and aggregations take of it (insights-dashboards.md 1.1, D70).
 */
#ifndef STORE_VALUE_H
#define STORE_VALUE_H

#include "shm/base/arena.h"
#include "shm/base/str.h"

/* The numbers are stored in segments: append only. */
enum value_type {
	VALUE_NONE = 0,
	VALUE_STR = 1,
	VALUE_INT = 2,
	VALUE_DOUBLE = 3,
	VALUE_BOOL = 4,
	VALUE_TIME = 5, /* milliseconds since the epoch */
	VALUE_UUID = 6  /* 16 bytes in s; only inside segments */
};

struct value {
	enum value_type type;
	union {
		struct str s;
		int64_t i; /* VALUE_INT, VALUE_BOOL (0 or 1), VALUE_TIME */
		double d;
	};
};

enum { VALUE_TEXT_MAX = 48 }; /* longest text of a value that is not a string */

/* Where a property lives; the numbers are stored in segments. */
enum prop_scope { SCOPE_AUTO = 0, SCOPE_CUSTOM = 1 };

/* How a name is read: the 26 keys of insights-dashboards.md 4.3 have their own
 * rules, every other key is as its value is. */
enum key_class { KEY_PLAIN, KEY_STRING, KEY_MOBILE, KEY_VERIFIED_BOT, KEY_BOT_SCORE };

enum key_class value_key_class(struct str key);
/* The i-th of those keys, in byte order; NULL behind the last. */
const char *value_promoted_key(size_t i);
/* The text P of a value under a key of that class; VALUE_NONE is a missing one.
 * `scratch` has VALUE_TEXT_MAX bytes and may back the answer. */
struct str value_text(const struct value *v, enum key_class class, char *scratch);
/* The text of a value that is promoted, "" when there is nothing to show; false when
 * the value keeps its own type (3.2). `scratch` as above. */
bool value_promoted(const struct value *v, enum key_class class, char *scratch, struct str *text);
/* RFC 3339 in UTC, fraction without trailing zeros; `scratch` as above. */
struct str value_rfc3339(int64_t ms, char *scratch);
/* The numeric view; false when there is none. */
bool value_number(const struct value *v, enum key_class class, double *out);
/* For our own tables: equal values have equal hashes. */
uint64_t value_hash(const struct value *v);
/* Type and content equal (doubles by their bits). */
bool value_eq(const struct value *a, const struct value *b);

#endif
