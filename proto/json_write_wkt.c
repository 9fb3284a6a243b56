/* Writing the well-known types that have a JSON form of their own. */
#include "proto/json_write.h"

#include <math.h>

#include "proto/access.h"
#include "proto/wire_read.h"
#include "proto/wkt.h"

/* Each Any in an Any holds a copy of all within, so they count as many levels. */
enum { ANY_LEVELS = 16 };

/* A message can hold a time out of range, which has no text; then the message has no JSON
 * form. */
static bool write_time(struct json_writer *w, const struct pb_msg *m, const ProtobufCMessage *msg)
{
	char text[WKT_TEXT];
	int64_t seconds;
	int32_t nanos;
	size_t n;

	memcpy(&seconds, pb_peek(msg, m->fields[0].offset), sizeof(seconds));
	memcpy(&nanos, pb_peek(msg, m->fields[1].offset), sizeof(nanos));
	n = m->wkt == PB_TIMESTAMP ? wkt_timestamp_text(seconds, nanos, text)
				   : wkt_duration_text(seconds, nanos, text);
	buf_c(w->out, '"');
	buf_add(w->out, text, n);
	buf_c(w->out, '"');
	return n > 0;
}

/* google.protobuf.Value; nothing set counts as null. */
static bool write_value(struct json_writer *w, const struct pb_msg *m, const ProtobufCMessage *msg)
{
	uint32_t member = pb_case(msg, &m->fields[0]);
	const struct pb_field *f = member ? pb_field_find(m, member) : NULL;
	const void *slot;
	double number;

	if (!f) {
		buf_z(w->out, "null");
		return true;
	}
	slot = pb_peek(msg, f->offset);
	if (f->type == PB_MESSAGE)
		return json_write_message(w, f->msg, pb_pointer(slot));
	if (f->type == PB_DOUBLE) {
		memcpy(&number, slot, sizeof(number));
		if (!isfinite(number))
			return false; /* would be read back as a string */
	}
	json_write_scalar(w->out, f, slot);
	return true;
}

static bool write_mask(struct json_writer *w, const struct pb_msg *m, const ProtobufCMessage *msg)
{
	const struct pb_field *f = &m->fields[0];
	size_t n = pb_count(msg, f);

	buf_c(w->out, '"');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_c(w->out, ',');
		if (!wkt_path_to_camel(str_of(pb_pointer(pb_item(msg, f, i))), w->out))
			return false;
	}
	buf_c(w->out, '"');
	return true;
}

/* Only the name behind the last slash says which message it is. Hosts before it are never
 * asked. */
static struct str after_slash(struct str s)
{
	for (long i; (i = str_find(s, '/')) >= 0; s.n -= (size_t)i + 1)
		s.p += i + 1;
	return s;
}

/* Its memory is not the call's. Bounded twice: by the cap, and by ANY_LEVELS, which lets no more
 * than twelve of these be open at once. */
static bool write_inner(struct json_writer *w, const struct pb_msg *im, struct str bytes)
{
	struct wire_error err;
	ProtobufCMessage *inner;
	struct arena own;
	bool ok;

	/* A buffer may be without an arena, so the message gets its own. */
	arena_init(&own, (size_t)32 << 20);
	ok = pb_unpack(im, bytes, &own, &inner, &err) == 0;
	if (ok && im->wkt == PB_PLAIN) {
		ok = json_write_fields(w, im, inner, false);
	} else if (ok) {
		buf_z(w->out, ",\"value\":");
		ok = json_write_wkt(w, im, inner);
	}
	arena_free(&own);
	return ok;
}

/* Without a type it is {} if it is empty; bytes without one have no JSON form. */
static bool write_any(struct json_writer *w, const struct pb_msg *m, const ProtobufCMessage *msg)
{
	const char *url = pb_pointer(pb_peek(msg, m->fields[0].offset));
	const ProtobufCBinaryData *v = pb_peek(msg, m->fields[1].offset);
	struct str type = str_of(url ? url : "");
	const struct pb_msg *im;
	bool ok;

	if (type.n == 0) {
		buf_z(w->out, "{}");
		return v->len == 0;
	}
	im = pb_msg_find(after_slash(type));
	w->depth += ANY_LEVELS;
	if (!im || w->depth > JSON_WRITE_DEPTH)
		return false;
	buf_z(w->out, "{\"@type\":");
	json_write_string(w->out, type);
	ok = write_inner(w, im, (struct str){(const char *)v->data, v->len});
	buf_c(w->out, '}');
	w->depth -= ANY_LEVELS;
	return ok;
}

bool json_write_wkt(struct json_writer *w, const struct pb_msg *m, const ProtobufCMessage *msg)
{
	switch (m->wkt) {
	case PB_TIMESTAMP:
	case PB_DURATION:
		return write_time(w, m, msg);
	case PB_STRUCT:
		return json_write_map(w, &m->fields[0], msg);
	case PB_VALUE:
		return write_value(w, m, msg);
	case PB_LIST_VALUE:
		return json_write_array(w, &m->fields[0], msg);
	case PB_FIELD_MASK:
		return write_mask(w, m, msg);
	case PB_ANY:
		return write_any(w, m, msg);
	default:
		json_write_scalar(w->out, &m->fields[0], pb_peek(msg, m->fields[0].offset));
		return true;
	}
}
