/* Inside of the JSON reader: its state, its tokens, its parts. */
#ifndef PROTO_JSON_READ_H
#define PROTO_JSON_READ_H

#include "proto/json.h"

/* Where the reader is, one frame per level, on the stack; becomes text only
 * when something is wrong. */
struct json_path {
	const struct json_path *up;
	enum { PATH_FIELD, PATH_INDEX, PATH_KEY } kind;
	const char *name;
	struct str key;
	size_t index;
};

/* After json_fail() `path` may point to frames that are gone; what they said is in err. */
struct json_reader {
	const char *start, *p, *end;
	struct arena *a;
	const struct json_path *path;
	unsigned depth;
	struct json_error *err;
};

/* Everything below returns false after json_fail(): pass it on. */

/* json_read_lex.c */
bool json_fail(struct json_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool json_no_memory(struct json_reader *r);
/* The next byte that is not white space, not taken; 0 at the end. */
char json_peek(struct json_reader *r);
/* Takes '{' or '[', one level deeper. */
bool json_open(struct json_reader *r, char bracket);
/* Before each element: *more is false once the closing bracket was taken. */
bool json_more(struct json_reader *r, char close, bool *first, bool *more);
/* A string; points into the text or into the arena. */
bool json_string(struct json_reader *r, struct str *out);
/* An object's key and the colon. */
bool json_key(struct json_reader *r, struct str *out);
/* The text of a number. */
bool json_number(struct json_reader *r, struct str *out);
/* One of null, true, false. */
bool json_word(struct json_reader *r, const char *word);
/* Any value, checked but not kept. */
bool json_skip(struct json_reader *r);

/* json_read_scalar.c: a value of f's type, stored at slot. */
bool json_scalar(struct json_reader *r, const struct pb_field *f, void *slot);
/* A map key of f's type, from its text. */
bool json_map_key(struct json_reader *r, const struct pb_field *f, struct str text, void *slot);

/* json_read.c */
bool json_value(struct json_reader *r, const struct pb_field *f, void *slot);
bool json_array(struct json_reader *r, const struct pb_field *f, ProtobufCMessage *msg);
bool json_map(struct json_reader *r, const struct pb_field *f, ProtobufCMessage *msg);
bool json_object(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg);
/* A message in its JSON form, well-known types included. */
bool json_message(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg);
/* True when a JSON null is a value of this field. */
bool json_takes_null(const struct pb_field *f);

/* json_read_wkt.c */
bool json_well_known(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg);

#endif
