/*
 * Writing messages as JSON, appended to one growing buffer. Depth is checked
 * although messages come from our own handlers, because what they hold may
 * come from a client.
 */
#include "proto/json_write.h"

#include <math.h>
#include <stdio.h>

#include "proto/access.h"
#include "proto/base64.h"
#include "proto/number.h"

/* 64-bit integers go out in quotes (proto3 JSON): JavaScript's numbers are exact up to 2^53
 * only. */
static void quoted_integer(struct buf *out, long long v)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "\"%lld\"", v);

	buf_add(out, text, (size_t)n);
}

static void quoted_unsigned(struct buf *out, unsigned long long v)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "\"%llu\"", v);

	buf_add(out, text, (size_t)n);
}

static void plain_integer(struct buf *out, long long v)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%lld", v);

	buf_add(out, text, (size_t)n);
}

/* JSON has no NaN and no infinities. proto3 JSON writes them as strings, and json_read_scalar.c
 * takes these back. */
static void floating(struct buf *out, double v, bool single)
{
	char text[NUMBER_TEXT];
	size_t n = single ? number_text_float((float)v, text) : number_text(v, text);

	if (!isfinite(v))
		buf_c(out, '"');
	buf_add(out, text, n);
	if (!isfinite(v))
		buf_c(out, '"');
}

/* A number without a name here stays a number, which the reader takes. NullValue is the one enum
 * whose JSON form is null. */
static void enumeration(struct buf *out, const struct pb_enum *en, int32_t number)
{
	const struct pb_enum_value *v = pb_enum_number(en, number);

	if (strcmp(en->name, "google.protobuf.NullValue") == 0) {
		buf_z(out, "null");
	} else if (v) {
		buf_c(out, '"');
		buf_z(out, v->name);
		buf_c(out, '"');
	} else {
		plain_integer(out, number);
	}
}

/* One byte of room more is for base64_encode()'s NUL, which the closing quote overwrites. */
static void bytes(struct buf *out, const ProtobufCBinaryData *v)
{
	size_t n = base64_encoded_len(v->len, true);

	buf_c(out, '"');
	if (buf_room(out, n + 1))
		out->n += base64_encode(v->data, v->len, true, out->p + out->n);
	buf_c(out, '"');
}

/* The integers of a slot, whatever their width. Bools come here, too: protobuf_c_boolean is an
 * int. */
static int64_t load_signed(const void *slot, size_t size)
{
	int32_t narrow;
	int64_t wide;

	if (size == sizeof(narrow)) {
		memcpy(&narrow, slot, sizeof(narrow));
		return narrow;
	}
	memcpy(&wide, slot, sizeof(wide));
	return wide;
}

static uint64_t load_unsigned(const void *slot, size_t size)
{
	uint32_t narrow;
	uint64_t wide;

	if (size == sizeof(narrow)) {
		memcpy(&narrow, slot, sizeof(narrow));
		return narrow;
	}
	memcpy(&wide, slot, sizeof(wide));
	return wide;
}

static double load_double(const struct pb_field *f, const void *slot)
{
	double v;
	float single;

	if (f->type == PB_FLOAT) {
		memcpy(&single, slot, sizeof(single));
		return (double)single;
	}
	memcpy(&v, slot, sizeof(v));
	return v;
}

static void text(struct buf *out, const void *slot)
{
	const char *z = pb_pointer(slot);

	json_write_string(out, str_of(z ? z : ""));
}

void json_write_scalar(struct buf *out, const struct pb_field *f, const void *slot)
{
	size_t size = pb_elem_size(f);

	switch (f->type) {
	case PB_DOUBLE:
	case PB_FLOAT:
		floating(out, load_double(f, slot), f->type == PB_FLOAT);
		break;
	case PB_UINT32:
	case PB_FIXED32:
		plain_integer(out, (long long)load_unsigned(slot, size));
		break;
	case PB_UINT64:
	case PB_FIXED64:
		quoted_unsigned(out, load_unsigned(slot, size));
		break;
	case PB_INT64:
	case PB_SINT64:
	case PB_SFIXED64:
		quoted_integer(out, load_signed(slot, size));
		break;
	case PB_BOOL:
		buf_z(out, load_signed(slot, size) ? "true" : "false");
		break;
	case PB_ENUM:
		enumeration(out, f->en, (int32_t)load_signed(slot, size));
		break;
	case PB_STRING:
		text(out, slot);
		break;
	case PB_BYTES:
		bytes(out, slot);
		break;
	default:
		plain_integer(out, load_signed(slot, size));
	}
}

/* Map keys are strings, whatever their type. Text and 64-bit integers come with quotes, the
 * others get them here, afterwards. */
static void map_key(struct buf *out, const struct pb_field *f, const void *slot)
{
	size_t from = out->n;

	json_write_scalar(out, f, slot);
	if (out->over || out->p[from] == '"')
		return;
	buf_c(out, '"');
	if (!buf_room(out, 1))
		return;
	memmove(out->p + from + 1, out->p + from, out->n - from);
	out->p[from] = '"';
	out->n++;
}

static bool value(struct json_writer *w, const struct pb_field *f, const void *slot)
{
	if (f->type == PB_MESSAGE)
		return json_write_message(w, f->msg, pb_pointer(slot));
	json_write_scalar(w->out, f, slot);
	return true;
}

/* Here and below an early return leaves w->depth as it is: a failure gives up the whole text. */
bool json_write_array(struct json_writer *w, const struct pb_field *f, const ProtobufCMessage *msg)
{
	size_t n = pb_count(msg, f);

	if (!json_write_deeper(w))
		return false;
	buf_c(w->out, '[');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_c(w->out, ',');
		if (!value(w, f, pb_item(msg, f, i)))
			return false;
	}
	buf_c(w->out, ']');
	w->depth--;
	return true;
}

bool json_write_map(struct json_writer *w, const struct pb_field *f, const ProtobufCMessage *msg)
{
	const struct pb_field *kf = &f->msg->fields[0], *vf = &f->msg->fields[1];
	size_t n = pb_count(msg, f);

	if (!json_write_deeper(w))
		return false;
	buf_c(w->out, '{');
	for (size_t i = 0; i < n; i++) {
		const ProtobufCMessage *entry = pb_pointer(pb_item(msg, f, i));

		if (i > 0)
			buf_c(w->out, ',');
		map_key(w->out, kf, pb_peek(entry, kf->offset));
		buf_c(w->out, ':');
		if (!value(w, vf, pb_peek(entry, vf->offset)))
			return false;
	}
	buf_c(w->out, '}');
	w->depth--;
	return true;
}

static bool field(struct json_writer *w, const struct pb_field *f, const ProtobufCMessage *msg)
{
	if (f->label == PB_MAP)
		return json_write_map(w, f, msg);
	if (f->label == PB_REPEATED)
		return json_write_array(w, f, msg);
	return value(w, f, pb_peek(msg, f->offset));
}

/* `first` is false where "@type" of an Any stands before the members. */
bool json_write_fields(
	struct json_writer *w, const struct pb_msg *m, const ProtobufCMessage *msg, bool first)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		const struct pb_field *f = &m->fields[i];

		if (!pb_present(msg, f))
			continue;
		if (!first)
			buf_c(w->out, ',');
		first = false;
		buf_c(w->out, '"');
		buf_z(w->out, f->json_name);
		buf_add(w->out, "\":", 2);
		if (!field(w, f, msg))
			return false;
	}
	return true;
}

bool json_write_deeper(struct json_writer *w)
{
	return ++w->depth <= JSON_WRITE_DEPTH;
}

bool json_write_message(struct json_writer *w, const struct pb_msg *m, const ProtobufCMessage *msg)
{
	/* Absent fields were left out before: this is an element of a list or map that nobody
	 * made. */
	if (!msg)
		return false;
	if (m->wkt != PB_PLAIN)
		return json_write_wkt(w, m, msg);
	if (!json_write_deeper(w))
		return false;
	buf_c(w->out, '{');
	if (!json_write_fields(w, m, msg, true))
		return false;
	buf_c(w->out, '}');
	w->depth--;
	return true;
}

/* After -1 the buffer holds a text that breaks off: nobody may use it as JSON. */
int json_write(const struct pb_msg *m, const ProtobufCMessage *msg, struct buf *out)
{
	struct json_writer w = {.out = out};

	return json_write_message(&w, m, msg) && !out->over ? 0 : -1;
}
