/* Helpers of the codec tests: messages by name, from and to JSON and bytes. */
#ifndef UNIT_CODEC_H
#define UNIT_CODEC_H

#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/json.h"
#include "proto/pb.h"
#include "proto/wire_read.h"

static struct arena arena;

static inline const struct pb_msg *type_of(const char *name)
{
	const struct pb_msg *m = pb_msg_find(str_of(name));

	cr_assert(m, "%s", name);
	return m;
}

/* Reads n bytes of JSON from memory of exactly that size, so that a sanitizer
 * sees any step beyond. */
static inline ProtobufCMessage *read_n(
	const char *type, const char *json, size_t n, struct json_error *err)
{
	char *copy = malloc(n ? n : 1);
	ProtobufCMessage *msg = NULL;

	cr_assert(copy);
	memcpy(copy, json, n);
	arena_init(&arena, (size_t)32 << 20);
	if (json_read(type_of(type), (struct str){copy, n}, &arena, &msg, err) < 0)
		msg = NULL;
	free(copy);
	return msg;
}

static inline ProtobufCMessage *read_ok(const char *type, const char *json)
{
	struct json_error err = {0};
	ProtobufCMessage *msg = read_n(type, json, strlen(json), &err);

	cr_assert(msg, "%.200s: %s %s", json, err.path, err.reason);
	return msg;
}

/* NULL out path or reason: not looked at. */
static inline void read_fails(
	const char *type, const char *json, const char *path, const char *reason)
{
	struct json_error err = {0};
	ProtobufCMessage *msg = read_n(type, json, strlen(json), &err);

	cr_expect_not(msg, "%.200s was read", json);
	if (!msg && path)
		cr_expect_str_eq(err.path, path, "%.200s: path %s", json, err.path);
	if (!msg && reason)
		cr_expect(strstr(err.reason, reason), "%.200s: reason %s", json, err.reason);
	arena_free(&arena);
}

static inline const char *write_json(const char *type, const ProtobufCMessage *msg)
{
	struct buf b;

	buf_init(&b, &arena);
	if (json_write(type_of(type), msg, &b) < 0)
		return NULL;
	buf_c(&b, 0);
	return b.p;
}

/* json reads, and is written back as want (NULL: the same). */
static inline void round_trip(const char *type, const char *json, const char *want)
{
	const char *got = write_json(type, read_ok(type, json));

	cr_expect(got, "%s", json);
	if (got)
		cr_expect_str_eq(got, want ? want : json, "%s: %s", json, got);
	arena_free(&arena);
}

#endif
