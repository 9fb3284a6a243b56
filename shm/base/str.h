/*
 * Outside text is a pointer and a length: it may hold any byte and is never
 * NUL-terminated unless a function says so. A struct str owns nothing.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

/* A string literal as a struct str. */
#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
/* For printf: printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).n, (s).p

static inline struct str str_of(const char *z)
{
	return (struct str){z, z ? strlen(z) : 0};
}

/* Equal texts of a message often are the same bytes (proto/wire_read.c). */
static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || a.p == b.p || memcmp(a.p, b.p, a.n) == 0);
}

/* Byte-wise order, shorter first on a tie (D74). */
int str_cmp(struct str a, struct str b);
/* ASCII case-insensitive equality, for header names and schemes. */
bool str_case_eq(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
/* Position of byte c, or -1. */
long str_find(struct str s, char c);
/* Takes byte c off the front; false when something else is there. */
static inline bool str_take(struct str *s, char c)
{
	if (s->n == 0 || *s->p != c)
		return false;
	s->p++;
	s->n--;
	return true;
}

/* Without leading and trailing spaces and tabs. */
struct str str_trim(struct str s);
/* Whole string as a decimal number without sign; false on anything else or overflow. */
bool str_u64(struct str s, uint64_t *out);
/* Whole string as a decimal number with an optional sign; false on anything else. */
bool str_i64(struct str s, int64_t *out);
/* True when s is well-formed UTF-8 (no surrogates, no overlong forms, up to U+10FFFF). */
bool str_utf8_ok(struct str s);
/* Number of code points of valid UTF-8. */
size_t str_utf8_len(struct str s);
/* Constant-time equality for secrets: the time depends on the lengths only. */
bool str_secret_eq(struct str a, struct str b);
/* Value of a hex digit in either case, or -1. */
int str_hex_digit(char c);
/* Lower-case hex of n bytes into out (2n + 1 bytes, NUL-terminated). */
void str_hex(const void *bytes, size_t n, char *out);
/* Inverse of str_hex, either case; false unless s is exactly 2n hex digits. */
bool str_unhex(struct str s, void *out, size_t n);
/* Parses 8-4-4-4-12 hex in either case into 16 bytes. */
bool str_uuid(struct str s, uint8_t out[16]);
/* Writes the canonical lower-case text of a UUID: 36 characters and a NUL. */
void str_uuid_text(const uint8_t uuid[16], char out[37]);

#endif
