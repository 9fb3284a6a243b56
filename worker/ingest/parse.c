/* See parse.h. */
#include "shm/base/hash.h"
#include "worker/ingest/parse.h"

static struct str text(const char *z)
{
	return z ? str_of(z) : STR("");
}

static int64_t to_ms(const Google__Protobuf__Timestamp *t)
{
	return t->seconds * 1000 + t->nanos / 1000000 - (t->nanos % 1000000 < 0);
}

/* A timestamp property may be far away; it is kept within 64 bits. */
static int64_t to_ms_safe(const Google__Protobuf__Timestamp *t)
{
	const int64_t limit = 300000000000; /* beyond the years 1-9999 */

	if (t->seconds > limit || t->seconds < -limit)
		return (t->seconds > 0 ? limit : -limit) * 1000;
	return to_ms(t);
}

static bool typed_value(const Common__V1__PropertyValue *in, struct value *v)
{
	switch ((int)in->value_case) {
	case COMMON__V1__PROPERTY_VALUE__VALUE_STRING_VALUE:
		*v = (struct value){.type = VALUE_STR, .s = text(in->string_value)};
		return true;
	case COMMON__V1__PROPERTY_VALUE__VALUE_INT_VALUE:
		*v = (struct value){.type = VALUE_INT, .i = in->int_value};
		return true;
	case COMMON__V1__PROPERTY_VALUE__VALUE_DOUBLE_VALUE:
		*v = (struct value){.type = VALUE_DOUBLE, .d = in->double_value};
		return true;
	case COMMON__V1__PROPERTY_VALUE__VALUE_BOOL_VALUE:
		*v = (struct value){.type = VALUE_BOOL, .i = in->bool_value != 0};
		return true;
	case COMMON__V1__PROPERTY_VALUE__VALUE_TIMESTAMP_VALUE:
		*v = (struct value){.type = VALUE_TIME, .i = to_ms_safe(in->timestamp_value)};
		return true;
	case COMMON__V1__PROPERTY_VALUE__VALUE__NOT_SET:
	default:
		return false;
	}
}

/* JSON's one kind of number: whole ones are kept as integers. */
static struct value number_value(double d)
{
	const double exact = 9007199254740992; /* 2^53: beyond it doubles skip integers */

	if (d >= -exact && d <= exact && (double)(int64_t)d == d)
		return (struct value){.type = VALUE_INT, .i = (int64_t)d};
	return (struct value){.type = VALUE_DOUBLE, .d = d};
}

static bool plain_value(const Google__Protobuf__Value *in, struct value *v)
{
	switch ((int)in->kind_case) {
	case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
		*v = number_value(in->number_value);
		return true;
	case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
		*v = (struct value){.type = VALUE_STR, .s = text(in->string_value)};
		return true;
	case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
		*v = (struct value){.type = VALUE_BOOL, .i = in->bool_value != 0};
		return true;
	default: /* null is skipped, the rest was refused */
		return false;
	}
}

static bool parse_props(
	struct arena *a, struct enrich *x, const Events__V1__Event *in, struct event *ev)
{
	size_t plain = in->properties ? in->properties->n_fields : 0;
	size_t most = in->n_auto_properties + in->n_custom_properties + plain;
	struct prop *out = arena_array(a, most + ENRICH_ROOM, sizeof(*out));
	uint32_t n = 0;

	if (!out)
		return false;
	for (size_t i = 0; i < in->n_auto_properties; i++) {
		out[n] = (struct prop){text(in->auto_properties[i]->key), SCOPE_AUTO, {0}};
		if (in->auto_properties[i]->value &&
			typed_value(in->auto_properties[i]->value, &out[n].value))
			n++;
	}
	for (size_t i = 0; i < in->n_custom_properties; i++) {
		out[n] = (struct prop){text(in->custom_properties[i]->key), SCOPE_CUSTOM, {0}};
		if (in->custom_properties[i]->value &&
			typed_value(in->custom_properties[i]->value, &out[n].value))
			n++;
	}
	for (size_t i = 0; i < plain; i++) {
		struct str key = text(in->properties->fields[i]->key);

		out[n] = (struct prop){
			key, key.n && key.p[0] == '$' ? SCOPE_AUTO : SCOPE_CUSTOM, {0}};
		if (in->properties->fields[i]->value &&
			plain_value(in->properties->fields[i]->value, &out[n].value))
			n++;
	}
	ev->props = out;
	ev->n_props = x ? enrich_props(x, out, n) : n;
	return true;
}

const char parse_no_memory[] = "it needs too much memory";

const char *parse_stored(struct arena *a, struct enrich *x, const Events__V1__Event *in,
	int64_t now_ms, struct event *ev)
{
	static const uint8_t none[16];
	const Google__Protobuf__Timestamp *when = in->occur_time ? in->occur_time : in->timestamp;

	*ev = (struct event){.kind = text(in->kind ? in->kind : in->name),
		.distinct_id = text(in->distinct_id),
		.cookieless = in->has_cookieless && in->cookieless,
		.time_ms = when ? to_ms(when) : now_ms};
	if (in->event_id) {
		if (!str_uuid(str_of(in->event_id), ev->id))
			return "event_id: event_id must be a UUID";
	} else {
		hash_uuid7(ev->id);
	}
	/* the all-zero session means none (D61) */
	if (in->session_id && str_uuid(str_of(in->session_id), ev->session))
		ev->has_session = memcmp(ev->session, none, 16) != 0;
	return parse_props(a, x, in, ev) ? NULL : parse_no_memory;
}

int parse_event(struct call *c, struct enrich *x, const Events__V1__BatchCreateRequest *in,
	size_t i, int64_t now_ms, struct event *ev)
{
	const char *why = parse_stored(c->arena, x, in->events[i], now_ms, ev);

	if (why == parse_no_memory)
		return call_fail(
			c, CODE_RESOURCE_EXHAUSTED, NULL, "the call needs too much memory");
	return why ? call_fail(c, CODE_INVALID_ARGUMENT, NULL, "events[%zu].%s", i, why) : 0;
}
