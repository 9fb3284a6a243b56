/*
 * Rules of events: the two spellings of a field (D1), who and which session
 * (D61), how old (D23), how much. The enrichment that follows relies on them.
 */
#include <math.h>
#include <stdio.h>

#include "proto/events/v1/events.pb-c.h"
#include "proto/validate.h"
#include "rules.h"
#include "shm/base/clock.h"

enum { MAX_PROPERTIES = 255, MAX_KEY = 255, MAX_TEXT = 1024 };

#define FIRST_SECOND 946684800 /* 2000-01-01T00:00:00Z */
#define DAY_SECONDS  86400

static bool given(const char *text)
{
	return text && *text;
}

/* Presence only: what is in them is asked by their patterns. */
static void check_kind(struct pb_check *check, const Events__V1__Event *event)
{
	if (event->kind && event->name)
		pb_violation(check, "name", "name and kind mean the same; only one may be sent");
	else if (!event->kind && !event->name)
		pb_violation(check, "kind", "kind is required");
}

static void check_when(struct pb_check *check, const Events__V1__Event *event)
{
	const Google__Protobuf__Timestamp *time = event->occur_time;
	const char *name = "occur_time";

	if (event->occur_time && event->timestamp)
		pb_violation(check, "timestamp",
			"timestamp and occur_time mean the same; only one may be sent");
	if (!time) {
		time = event->timestamp;
		name = "timestamp";
	}
	if (!time)
		return;
	if (!check->now_s)
		check->now_s = clock_real_ms() / 1000;
	if (time->seconds < FIRST_SECOND)
		pb_violation(check, name, "%s must not be before 2000-01-01", name);
	/* In whole seconds, so that nothing can overflow. */
	else if (time->seconds > check->now_s + DAY_SECONDS)
		pb_violation(check, name, "%s must not be more than 24 hours ahead", name);
}

/* All zero means none (D61). A malformed one counts, as its field's rule has refused it. */
static bool is_session(const char *id)
{
	static const uint8_t none[16];
	uint8_t uuid[16];

	return given(id) && (!str_uuid(str_of(id), uuid) || memcmp(uuid, none, sizeof(none)) != 0);
}

static void check_cookieless(struct pb_check *check, const Events__V1__Event *event)
{
	if (given(event->distinct_id))
		pb_violation(
			check, "distinct_id", "distinct_id must be empty on a cookieless event");
	if (given(event->session_id))
		pb_violation(check, "session_id", "session_id must be empty on a cookieless event");
}

static void check_who(struct pb_check *check, const Events__V1__Event *event)
{
	if (event->has_cookieless && event->cookieless) {
		check_cookieless(check, event);
		return;
	}
	if (!given(event->distinct_id))
		pb_violation(
			check, "distinct_id", "distinct_id is required unless cookieless is true");
	else if (str_starts(str_of(event->distinct_id), STR("cookieless-")))
		pb_violation(check, "distinct_id",
			"distinct_id must not start with the reserved prefix cookieless-");
	if (!check->private_key && !event->name && !is_session(event->session_id))
		pb_violation(check, "session_id",
			"session_id is required with a public key, unless cookieless is true or the "
			"event is named by name");
}

/* A property of the plain spelling; *n counts those that are not null. */
static void check_property(
	struct pb_check *check, const char *key, const Google__Protobuf__Value *value, size_t *n)
{
	size_t bytes = strlen(key);

	if (bytes > MAX_KEY)
		pb_violation(check, "properties",
			"properties must not have keys of more than %d bytes", MAX_KEY);
	if (value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET ||
		value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE)
		return;
	if (value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE ||
		value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE)
		pb_violation(check, "properties",
			"properties: \"%.80s\" must be a number, a string or a boolean", key);
	if (value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE &&
		!isfinite(value->number_value))
		pb_violation(
			check, "properties", "properties: \"%.80s\" must be a finite number", key);
	if (value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE &&
		str_utf8_len(str_of(value->string_value)) > MAX_TEXT)
		pb_violation(check, "properties",
			"properties: \"%.80s\" must have at most %d characters", key, MAX_TEXT);
	++*n;
}

static bool has_key(const Events__V1__Event *event, const char *key)
{
	if (*key == '$') {
		for (size_t i = 0; i < event->n_auto_properties; i++)
			if (strcmp(event->auto_properties[i]->key, key) == 0)
				return true;
	} else {
		for (size_t i = 0; i < event->n_custom_properties; i++)
			if (strcmp(event->custom_properties[i]->key, key) == 0)
				return true;
	}
	return false;
}

static void check_properties(struct pb_check *check, const Events__V1__Event *event)
{
	size_t spelled = event->n_auto_properties + event->n_custom_properties;
	const Google__Protobuf__Struct *plain = event->properties;
	size_t n = spelled;

	for (size_t i = 0; plain && i < plain->n_fields; i++) {
		const char *key = plain->fields[i]->key;

		check_property(check, key, plain->fields[i]->value, &n);
		/* Bounded, because too many properties are refused below anyway. */
		if (spelled > 0 && spelled <= MAX_PROPERTIES && i < MAX_PROPERTIES &&
			has_key(event, key))
			pb_violation(
				check, "properties", "properties: \"%.80s\" is given twice", key);
	}
	/* Before the server adds its own (D82); nulls are skipped (D1) and not counted. */
	if (n > (size_t)MAX_PROPERTIES + check->spare)
		pb_violation(check, "", "an event must have at most %d properties", MAX_PROPERTIES);
}

void rule_event(struct pb_check *check, const ProtobufCMessage *message)
{
	const Events__V1__Event *event = (const Events__V1__Event *)message;

	check_kind(check, event);
	check_when(check, event);
	check_who(check, event);
	check_properties(check, event);
}

static void report_repeat(struct pb_check *check, size_t i, const char *id)
{
	char place[64];

	snprintf(place, sizeof(place), "events[%zu].event_id", i);
	check->reason = "INVALID_EVENT_BATCH";
	pb_violation(check, place, "event_id %.36s occurs twice in the request", id);
}

struct id_set {
	uint8_t (*ids)[16];
	uint32_t *slots; /* number of an id + 1; 0: free */
	uint32_t mask;
};

/* False when it is there already. Ids that were made to share a slot cost a look at each
 * other: a request has a thousand at most. */
static bool id_add(struct id_set *set, uint32_t no)
{
	uint64_t low, high;
	uint32_t k;

	memcpy(&low, set->ids[no], sizeof(low));
	memcpy(&high, set->ids[no] + sizeof(low), sizeof(high));
	k = (uint32_t)((low * 0x9e3779b97f4a7c15u ^ high) * 0xff51afd7ed558ccdu >> 32);
	/* half of the slots stay free, so this ends */
	for (k &= set->mask; set->slots[k]; k = (k + 1) & set->mask)
		if (memcmp(set->ids[set->slots[k] - 1], set->ids[no], 16) == 0)
			return false;
	set->slots[k] = no + 1;
	return true;
}

/* D61. Only after all else is right: the ids are UUIDs then, and the error has
 * a reason of its own. */
void rule_events_batch(struct pb_check *check, const ProtobufCMessage *message)
{
	const Events__V1__BatchCreateRequest *batch =
		(const Events__V1__BatchCreateRequest *)message;
	struct id_set seen = {.mask = 3};

	if (check->n > 0 || batch->n_events < 2)
		return;
	while (seen.mask < batch->n_events * 2)
		seen.mask = seen.mask * 2 + 1;
	seen.ids = arena_array(check->a, batch->n_events, sizeof(*seen.ids));
	seen.slots = arena_array(check->a, (size_t)seen.mask + 1, sizeof(*seen.slots));
	if (!seen.ids || !seen.slots) {
		check->memory = true;
		return;
	}
	for (uint32_t i = 0; i < batch->n_events; i++) {
		const char *text = batch->events[i]->event_id;

		if (text && str_uuid(str_of(text), seen.ids[i]) && !id_add(&seen, i))
			report_repeat(check, i, text);
	}
}
