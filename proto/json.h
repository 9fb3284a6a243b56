/*
 * The JSON form of messages (proto3 JSON), straight between bytes and
 * protobuf-c structs by the tables of pb.h.
 */
#ifndef PROTO_JSON_H
#define PROTO_JSON_H

#include "proto/pb.h"
#include "shm/base/arena.h"

struct json_error {
	bool memory;      /* the arena's cap was reached: resource_exhausted */
	size_t offset;    /* byte of the text at which reading stopped */
	char path[160];   /* "events[3].occurTime"; "" for the whole message */
	char reason[160]; /* "must be a string" */
};

/* Reads one message; strict RFC 8259, no duplicate keys at any level, unknown
 * fields skipped (D54). 0, or -1 and *err. Nothing in *out points into text. */
int json_read(const struct pb_msg *m, struct str text, struct arena *a, ProtobufCMessage **out,
	struct json_error *err);

/* Appends the message: every present field, names in lowerCamelCase, 64-bit
 * integers as strings. 0, or -1 when it has no JSON form (a timestamp out of
 * range, an Any of unknown type, nested too deep) or out->over. */
int json_write(const struct pb_msg *m, const ProtobufCMessage *msg, struct buf *out);
/* Appends a JSON string literal; bytes that are not UTF-8 become U+FFFD. */
void json_write_string(struct buf *out, struct str s);

#endif
