/* Presence of fields in protobuf-c structs; see access.h. */
#include "proto/access.h"

/* By bytes, so that -0.0 is a value of its own, as proto3 has it. */
static bool not_default(const ProtobufCMessage *m, const struct pb_field *f)
{
	static const char zero[sizeof(ProtobufCBinaryData)];
	const void *slot = pb_peek(m, f->offset);
	const char *text;

	switch (f->type) {
	case PB_MESSAGE:
		return pb_pointer(slot) != NULL;
	case PB_STRING:
		text = pb_pointer(slot);
		return text && *text;
	case PB_BYTES:
		return ((const ProtobufCBinaryData *)slot)->len > 0;
	default:
		return memcmp(slot, zero, pb_elem_size(f)) != 0;
	}
}

bool pb_present(const ProtobufCMessage *m, const struct pb_field *f)
{
	protobuf_c_boolean has;

	switch (f->label) {
	case PB_REPEATED:
	case PB_MAP:
		return pb_count(m, f) > 0;
	case PB_ONEOF:
		return pb_case(m, f) == f->number;
	case PB_IMPLICIT:
		return not_default(m, f);
	default:
		if (pb_is_pointer(f))
			return pb_pointer(pb_peek(m, f->offset)) != NULL;
		memcpy(&has, pb_peek(m, f->quantifier), sizeof(has));
		return has;
	}
}

void pb_mark(ProtobufCMessage *m, const struct pb_field *f)
{
	protobuf_c_boolean has = 1;

	if (f->label == PB_ONEOF)
		memcpy(pb_slot(m, f->quantifier), &f->number, sizeof(f->number));
	else if (f->label == PB_OPTIONAL && !pb_is_pointer(f))
		memcpy(pb_slot(m, f->quantifier), &has, sizeof(has));
}

/* Not zeroed: the generated init copies over all of it. */
ProtobufCMessage *pb_new(const struct pb_msg *m, struct arena *a)
{
	ProtobufCMessage *msg = arena_alloc(a, m->pc->sizeof_message);

	if (msg)
		protobuf_c_message_init(m->pc, msg);
	return msg;
}
