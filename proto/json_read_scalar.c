/*
 * Scalars of proto3 JSON: which texts are values of which field type, and what
 * lies outside of its range.
 */
#include "proto/json_read.h"

#include <math.h>

#include "proto/base64.h"
#include "proto/number.h"

/* Numbers may be quoted: JavaScript has no 64-bit integers. */
static bool number_text_of(struct json_reader *r, struct str *out)
{
	if (json_peek(r) != '"')
		return json_number(r, out);
	if (!json_string(r, out))
		return false;
	if (number_json_span(*out) != out->n || out->n == 0)
		return json_fail(r, "must be a number");
	return true;
}

struct limits {
	uint64_t below, above; /* largest magnitudes of negative and other values */
};

static struct limits limits_of(uint8_t type)
{
	switch (type) {
	case PB_INT64:
	case PB_SINT64:
	case PB_SFIXED64:
		return (struct limits){(uint64_t)INT64_MAX + 1, INT64_MAX};
	case PB_UINT64:
	case PB_FIXED64:
		return (struct limits){0, UINT64_MAX};
	case PB_UINT32:
	case PB_FIXED32:
		return (struct limits){0, UINT32_MAX};
	default:
		return (struct limits){(uint64_t)INT32_MAX + 1, INT32_MAX};
	}
}

/* Stores an integer whose text is a JSON number. "-0" is 0 and fits every type. What is negative
 * becomes its two's complement, whose low half is that of a 32-bit type. */
static bool store_integer(struct json_reader *r, uint8_t type, struct str text, void *slot)
{
	struct limits lim = limits_of(type);
	uint64_t v;
	uint32_t low;
	bool negative;

	if (!number_json_integer(text, &negative, &v))
		return json_fail(r, "must be a whole number in range");
	if (v > (negative ? lim.below : lim.above))
		return json_fail(r, "is out of range");
	if (negative)
		v = 0 - v;
	low = (uint32_t)v;
	if (lim.above > UINT32_MAX)
		memcpy(slot, &v, sizeof(v));
	else
		memcpy(slot, &low, sizeof(low));
	return true;
}

static bool integer(struct json_reader *r, const struct pb_field *f, void *slot)
{
	struct str text;

	return number_text_of(r, &text) && store_integer(r, f->type, text, slot);
}

/* Values like any other here; where they must not be the rule `finite` refuses them (pb.h). */
static bool not_finite(struct str s, double *v)
{
	if (str_eq(s, STR("NaN")))
		*v = (double)NAN;
	else if (str_eq(s, STR("Infinity")))
		*v = (double)INFINITY;
	else if (str_eq(s, STR("-Infinity")))
		*v = -(double)INFINITY;
	else
		return false;
	return true;
}

static bool floating(struct json_reader *r, const struct pb_field *f, void *slot)
{
	bool quoted = json_peek(r) == '"';
	struct str text;
	double v;
	float single;

	if (!(quoted ? json_string(r, &text) : json_number(r, &text)))
		return false;
	if (!quoted || !not_finite(text, &v)) {
		if (text.n == 0 || number_json_span(text) != text.n)
			return json_fail(r, "must be a number");
		if (!number_json_double(text, &v) || (f->type == PB_FLOAT && isinf((float)v)))
			return json_fail(r, "is out of range");
	}
	if (f->type == PB_DOUBLE) {
		memcpy(slot, &v, sizeof(v));
	} else {
		single = (float)v;
		memcpy(slot, &single, sizeof(single));
	}
	return true;
}

static bool boolean(struct json_reader *r, void *slot)
{
	char c = json_peek(r);
	protobuf_c_boolean v = c == 't';

	if (c != 't' && c != 'f')
		return json_fail(r, "must be true or false");
	if (!json_word(r, v ? "true" : "false"))
		return false;
	memcpy(slot, &v, sizeof(v));
	return true;
}

/* Unknown names are errors (D54); unknown numbers are kept, whether they are
 * allowed is the business of the field's rule. */
static bool enumeration(struct json_reader *r, const struct pb_field *f, void *slot)
{
	const struct pb_enum_value *value;
	struct str text;
	int32_t none = 0;
	char c = json_peek(r);

	if (c == 'n') { /* google.protobuf.NullValue */
		memcpy(slot, &none, sizeof(none));
		return json_word(r, "null");
	}
	if (c != '"')
		return json_number(r, &text) && store_integer(r, PB_INT32, text, slot);
	if (!json_string(r, &text))
		return false;
	value = pb_enum_named(f->en, text);
	if (!value)
		return json_fail(r, "is not a value of %s", f->en->name);
	memcpy(slot, &value->number, sizeof(value->number));
	return true;
}

static bool store_string(struct json_reader *r, struct str text, void *slot)
{
	char *copy;

	/* C ends a string there and would hide the rest (D80). */
	if (text.n > 0 && memchr(text.p, 0, text.n))
		return json_fail(r, "must not contain U+0000");
	copy = arena_str(r->a, text);
	if (!copy)
		return json_no_memory(r);
	memcpy(slot, &copy, sizeof(copy));
	return true;
}

static bool string(struct json_reader *r, void *slot)
{
	struct str text;

	return json_string(r, &text) && store_string(r, text, slot);
}

static bool bytes(struct json_reader *r, void *slot)
{
	struct str text;
	ProtobufCBinaryData v;

	if (!json_string(r, &text))
		return false;
	v.data = arena_alloc(r->a, base64_decoded_max(text.n));
	if (!v.data)
		return json_no_memory(r);
	if (!base64_decode(text, v.data, &v.len))
		return json_fail(r, "must be base64");
	memcpy(slot, &v, sizeof(v));
	return true;
}

bool json_scalar(struct json_reader *r, const struct pb_field *f, void *slot)
{
	switch (f->type) {
	case PB_DOUBLE:
	case PB_FLOAT:
		return floating(r, f, slot);
	case PB_BOOL:
		return boolean(r, slot);
	case PB_ENUM:
		return enumeration(r, f, slot);
	case PB_STRING:
		return string(r, slot);
	case PB_BYTES:
		return bytes(r, slot);
	default:
		return integer(r, f, slot);
	}
}

bool json_map_key(struct json_reader *r, const struct pb_field *f, struct str text, void *slot)
{
	protobuf_c_boolean yes = str_eq(text, STR("true"));

	if (f->type == PB_STRING)
		return store_string(r, text, slot);
	if (f->type == PB_BOOL) {
		if (!yes && !str_eq(text, STR("false")))
			return json_fail(r, "has a key that is not true or false");
		memcpy(slot, &yes, sizeof(yes));
		return true;
	}
	if (text.n == 0 || number_json_span(text) != text.n)
		return json_fail(r, "has a key that is not a number");
	return store_integer(r, f->type, text, slot);
}
