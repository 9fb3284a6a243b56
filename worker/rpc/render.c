/*
 * See render.h. Promoted keys come back as strings, the others with their type;
 * instants as RFC 3339 text, integers as doubles, both structs always present.
 */
#include "proto/wkt.h"
#include "worker/rpc/render.h"

static char *uuid_text(struct call *c, const uint8_t id[16])
{
	char *z = call_alloc(c, 37);

	if (z)
		str_uuid_text(id, z);
	return z;
}

static int put_text(struct call *c, Google__Protobuf__Value *out, struct str s)
{
	out->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
	out->string_value = call_str(c, s);
	return out->string_value ? 1 : -1;
}

static void put_number(Google__Protobuf__Value *out, double d)
{
	out->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
	out->number_value = d;
}

/* 1, 0 when there is nothing to show, -1 after call_fail(). Nothing is an empty text under a
 * promoted key, or a $mobile that is not true (3.2). */
static int put_value(
	struct call *c, Google__Protobuf__Value *out, struct str key, const struct value *v)
{
	char scratch[VALUE_TEXT_MAX];
	struct str text;

	if (value_promoted(v, value_key_class(key), scratch, &text))
		return text.n ? put_text(c, out, text) : 0;
	switch (v->type) {
	case VALUE_STR:
		return put_text(c, out, v->s);
	case VALUE_TIME:
		return put_text(c, out, value_rfc3339(v->i, scratch));
	case VALUE_INT:
		put_number(out, (double)v->i);
		return 1;
	case VALUE_DOUBLE:
		put_number(out, v->d);
		return 1;
	case VALUE_BOOL:
		out->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
		out->bool_value = v->i != 0;
		return 1;
	case VALUE_NONE:
	case VALUE_UUID:
	default:
		return 0;
	}
}

/* The properties of one scope; NULL after call_fail(). */
static Google__Protobuf__Struct *properties(
	struct call *c, const struct feed_event *ev, enum prop_scope scope)
{
	struct field {
		Google__Protobuf__Struct__FieldsEntry entry;
		Google__Protobuf__Value value;
	} *fields = call_alloc(c, (ev->n_props + 1) * sizeof(*fields));
	Google__Protobuf__Struct *out = call_alloc(c, sizeof(*out));

	if (!fields || !out)
		return NULL;
	google__protobuf__struct__init(out);
	out->fields =
		call_alloc(c, (ev->n_props + 1) * sizeof(Google__Protobuf__Struct__FieldsEntry *));
	for (uint32_t i = 0; out->fields && i < ev->n_props; i++) {
		struct field *f = &fields[out->n_fields];
		int shown;

		if (ev->props[i].scope != scope)
			continue;
		google__protobuf__struct__fields_entry__init(&f->entry);
		google__protobuf__value__init(&f->value);
		shown = put_value(c, &f->value, ev->props[i].key, &ev->props[i].value);
		if (shown == 0)
			continue;
		f->entry.key = call_str(c, ev->props[i].key);
		f->entry.value = &f->value;
		if (shown < 0 || !f->entry.key)
			return NULL;
		out->fields[out->n_fields++] = &f->entry;
	}
	return out->fields ? out : NULL;
}

/* Every field is set, without a session the zero UUID (insights-dashboards.md 5). */
int render_event(struct call *c, const struct feed_event *ev, Activity__V1__ActivityEvent *out)
{
	activity__v1__activity_event__init(out);
	out->event_id = uuid_text(c, ev->id);
	out->session_id = uuid_text(c, ev->session);
	out->kind = call_str(c, ev->kind);
	out->distinct_id = call_str(c, ev->distinct_id);
	out->occur_time = call_alloc(c, sizeof(*out->occur_time));
	out->auto_properties = properties(c, ev, SCOPE_AUTO);
	out->custom_properties = properties(c, ev, SCOPE_CUSTOM);
	if (!out->event_id || !out->session_id || !out->kind || !out->distinct_id ||
		!out->occur_time || !out->auto_properties || !out->custom_properties)
		return -1;
	google__protobuf__timestamp__init(out->occur_time);
	wkt_of_ms(ev->time_ms, &out->occur_time->seconds, &out->occur_time->nanos);
	return 0;
}
