/*
 * Reaching into protobuf-c structs by table: where a field's value lies, how
 * large it is, whether it is set. Shared by the codecs and by validation.
 */
#ifndef PROTO_ACCESS_H
#define PROTO_ACCESS_H

#include "proto/pb.h"
#include "shm/base/arena.h"

/* How deep messages, objects and arrays may nest in what clients send (D80). */
enum { PB_MAX_DEPTH = 100 };

static inline void *pb_slot(ProtobufCMessage *m, uint32_t offset)
{
	return (char *)m + offset;
}

static inline const void *pb_peek(const ProtobufCMessage *m, uint32_t offset)
{
	return (const char *)m + offset;
}

/* Bytes that one value of a field takes in the struct or in its array. */
static inline size_t pb_elem_size(const struct pb_field *f)
{
	static const uint8_t size[] = {[PB_DOUBLE] = 8,
		[PB_FLOAT] = 4,
		[PB_INT32] = 4,
		[PB_SINT32] = 4,
		[PB_SFIXED32] = 4,
		[PB_UINT32] = 4,
		[PB_FIXED32] = 4,
		[PB_INT64] = 8,
		[PB_SINT64] = 8,
		[PB_SFIXED64] = 8,
		[PB_UINT64] = 8,
		[PB_FIXED64] = 8,
		[PB_BOOL] = sizeof(protobuf_c_boolean),
		[PB_ENUM] = sizeof(int32_t),
		[PB_STRING] = sizeof(char *),
		[PB_BYTES] = sizeof(ProtobufCBinaryData),
		[PB_MESSAGE] = sizeof(ProtobufCMessage *)};

	return size[f->type];
}

static inline bool pb_is_list(const struct pb_field *f)
{
	return f->label == PB_REPEATED || f->label == PB_MAP;
}

/* A singular field whose absence is a NULL pointer rather than a has_ member. */
static inline bool pb_is_pointer(const struct pb_field *f)
{
	return f->type == PB_STRING || f->type == PB_MESSAGE;
}

/* Number of elements of a repeated or map field. */
static inline size_t pb_count(const ProtobufCMessage *m, const struct pb_field *f)
{
	size_t n;

	memcpy(&n, pb_peek(m, f->quantifier), sizeof(n));
	return n;
}

/* The pointer at a place: of a string, a message, an array. */
static inline void *pb_pointer(const void *slot)
{
	void *p;

	memcpy(&p, slot, sizeof(p));
	return p;
}

/* Element i of a repeated or map field. */
static inline const void *pb_item(const ProtobufCMessage *m, const struct pb_field *f, size_t i)
{
	size_t size = f->label == PB_MAP ? sizeof(void *) : pb_elem_size(f);

	return (const char *)pb_pointer(pb_peek(m, f->offset)) + i * size;
}

/* The number of the member that is set in the oneof of f; 0 if none. */
static inline uint32_t pb_case(const ProtobufCMessage *m, const struct pb_field *f)
{
	uint32_t c;

	memcpy(&c, pb_peek(m, f->quantifier), sizeof(c));
	return c;
}

/* Whether a field would be written: explicit presence, or not the default. */
bool pb_present(const ProtobufCMessage *m, const struct pb_field *f);
/* Marks a singular field as set, after its value was stored. */
void pb_mark(ProtobufCMessage *m, const struct pb_field *f);
/* A new message with default values; NULL beyond the cap. */
ProtobufCMessage *pb_new(const struct pb_msg *m, struct arena *a);

#endif
