/*
 * The binary form of messages. protobuf-c decodes and encodes; what it would
 * accept though it must not, or die of, is found before (D80).
 */
#ifndef PROTO_WIRE_SCAN_H
#define PROTO_WIRE_SCAN_H

#include "proto/pb.h"
#include "shm/base/arena.h"

struct wire_error {
	bool memory;    /* more than the arena may give: resource_exhausted */
	size_t offset;  /* byte at which reading stopped */
	char path[160]; /* "events[3].kind", proto names; "" for the message */
	char reason[96];
};

/* Checks the bytes of one message: framing, depth, UTF-8, NUL. *need gets an
 * upper bound of the memory that unpacking will take; more than `limit` fails. */
int wire_scan(const struct pb_msg *m, struct str bytes, size_t limit, size_t *need,
	struct wire_error *err);
/* Scans, then unpacks into the arena. Map entries have key and value set and
 * keys occur once (the last one wins, as for every field). 0 or -1. */
int pb_unpack(const struct pb_msg *m, struct str bytes, struct arena *a, ProtobufCMessage **out,
	struct wire_error *err);
/* Appends the binary form; check out->over. */
void pb_pack(const ProtobufCMessage *msg, struct buf *out);

#endif
