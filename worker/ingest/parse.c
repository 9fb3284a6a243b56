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

/* False when the property has no value. `entry` holds key and value, for ever the same. It
 * belongs to one field of the message, so that its scope is always the same, too (share_entry()
 * in proto/wire_read.c). */
static bool take_prop(struct enrich *x, const void *entry, const char *key,
	const Common__V1__PropertyValue *value, enum prop_scope scope, struct prop *out)
{
	struct enrich_seen *seen = NULL;

	if (x && x->seen) {
		/* arenas align to 16; of two that share a place the later one has it */
		seen = &x->seen[((uintptr_t)entry >> 4 ^ (uintptr_t)entry >> 12) % ENRICH_SEEN];
		if (seen->entry == entry) {
			*out = seen->prop;
			return true;
		}
	}
	*out = (struct prop){text(key), scope, {0}};
	if (!value || !typed_value(value, &out->value))
		return false;
	if (seen)
		*seen = (struct enrich_seen){entry, *out};
	return true;
}

/* `out` has room for all that the message has: what turns out to have no value is overwritten by
 * the next. In `properties` the $ alone says whose a key is (D1). */
static uint32_t collect(struct enrich *x, const Events__V1__Event *in, struct prop *out)
{
	size_t plain = in->properties ? in->properties->n_fields : 0;
	uint32_t n = 0;

	for (size_t i = 0; i < in->n_auto_properties; i++)
		n += take_prop(x, in->auto_properties[i], in->auto_properties[i]->key,
			in->auto_properties[i]->value, SCOPE_AUTO, &out[n]);
	for (size_t i = 0; i < in->n_custom_properties; i++)
		n += take_prop(x, in->custom_properties[i], in->custom_properties[i]->key,
			in->custom_properties[i]->value, SCOPE_CUSTOM, &out[n]);
	for (size_t i = 0; i < plain; i++) {
		struct str key = text(in->properties->fields[i]->key);

		out[n] = (struct prop){
			key, key.n && key.p[0] == '$' ? SCOPE_AUTO : SCOPE_CUSTOM, {0}};
		if (in->properties->fields[i]->value &&
			plain_value(in->properties->fields[i]->value, &out[n].value))
			n++;
	}
	return n;
}

/* Room for so many properties, for this event only when there is an x. A smaller one that it
 * replaces stays in the arena until the call ends, hence the doubling. */
static struct prop *room_for(struct arena *a, struct enrich *x, size_t most)
{
	if (!x)
		return arena_array(a, most, sizeof(struct prop));
	if (!x->room || x->n_room < most + ENRICH_ROOM) {
		x->n_room = most * 2 + ENRICH_ROOM;
		x->room = arena_array(a, x->n_room, sizeof(*x->room));
	}
	return x->room;
}

static bool parse_props(
	struct arena *a, struct enrich *x, const Events__V1__Event *in, struct event *ev)
{
	size_t plain = in->properties ? in->properties->n_fields : 0;
	size_t most = in->n_auto_properties + in->n_custom_properties + plain;
	struct prop *out = room_for(a, x, most), *kept;
	uint32_t n;

	if (!out)
		return false;
	n = collect(x, in, out);
	ev->props = out;
	ev->n_props = n;
	if (!x)
		return true;
	n = enrich_props(x, out, n);
	/* the next event gets the same room */
	kept = arena_alloc(a, n * sizeof(*kept));
	if (!kept)
		return false;
	memcpy(kept, out, n * sizeof(*kept));
	ev->props = kept;
	ev->n_props = n;
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
		/* who sends no id cannot safely send again (D1) */
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
