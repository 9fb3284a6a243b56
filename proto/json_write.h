/* Inside of the JSON writer. */
#ifndef PROTO_JSON_WRITE_H
#define PROTO_JSON_WRITE_H

#include "proto/json.h"

/* Twice what the reader takes: an Any may hold a message of its own. */
enum { JSON_WRITE_DEPTH = 200 };

struct json_writer {
	struct buf *out;
	unsigned depth;
};

/* All return false when the message has no JSON form. */

/* json_write.c */
void json_write_scalar(struct buf *out, const struct pb_field *f, const void *slot);
bool json_write_array(struct json_writer *w, const struct pb_field *f, const ProtobufCMessage *msg);
bool json_write_map(struct json_writer *w, const struct pb_field *f, const ProtobufCMessage *msg);
/* The members of an object without its braces. */
bool json_write_fields(
	struct json_writer *w, const struct pb_msg *m, const ProtobufCMessage *msg, bool first);
bool json_write_message(struct json_writer *w, const struct pb_msg *m, const ProtobufCMessage *msg);
/* One level deeper, if there is one left. */
bool json_write_deeper(struct json_writer *w);

/* json_write_wkt.c */
bool json_write_wkt(struct json_writer *w, const struct pb_msg *m, const ProtobufCMessage *msg);

#endif
