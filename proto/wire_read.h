/*
 * The binary form of messages. Reading is our own, by the tables that the JSON codec has too:
 * protobuf-c would accept what it must not or die of it (D80), so each byte was looked at
 * twice, and a batch of events spent more on that than on anything else. protobuf-c writes.
 */
#ifndef PROTO_WIRE_READ_H
#define PROTO_WIRE_READ_H

#include "proto/pb.h"
#include "shm/base/arena.h"

struct wire_error {
	bool memory;    /* more than the arena may give: resource_exhausted */
	size_t offset;  /* byte at which reading stopped */
	char path[160]; /* "events[3].kind", proto names; "" for the message */
	char reason[96];
};

/* Reads one message into the arena: framing, depth (PB_MAX_DEPTH), UTF-8 and NUL are checked,
 * unknown fields skipped. Map entries have key and value set and keys occur once (the last
 * one wins, as for every field). Nothing in *out points into `bytes`. 0, or -1 with *err. */
int pb_unpack(const struct pb_msg *m, struct str bytes, struct arena *a, ProtobufCMessage **out,
	struct wire_error *err);
/* Appends the binary form; check out->over. */
void pb_pack(const ProtobufCMessage *msg, struct buf *out);

#endif
