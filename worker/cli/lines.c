/* See lines.h: our own shape, and what the shapes share. */
#include "worker/cli/lines.h"

#include <stdarg.h>
#include <stdio.h>

#include <openssl/sha.h>

#include "proto/json.h"
#include "proto/validate.h"
#include "worker/ingest/parse.h"

static const char cookieless[] = "cookieless-";

bool line_wrong(struct line *line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line->why, sizeof(line->why), fmt, ap);
	va_end(ap);
	return false;
}

static bool no_memory(struct line *line)
{
	return line_wrong(line, "%s", parse_no_memory);
}

const Google__Protobuf__Value *line_member(const Google__Protobuf__Struct *in, const char *key)
{
	for (size_t i = 0; in && i < in->n_fields; i++)
		if (in->fields[i]->key && strcmp(in->fields[i]->key, key) == 0) {
			const Google__Protobuf__Value *v = in->fields[i]->value;

			return v && v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE ? v
											     : NULL;
		}
	return NULL;
}

char *line_id_of(struct str bytes, struct arena *a)
{
	uint8_t sha[SHA256_DIGEST_LENGTH];
	char *text = arena_alloc(a, 37);

	if (!text)
		return NULL;
	SHA256((const uint8_t *)bytes.p, bytes.n, sha);
	sha[6] = (uint8_t)((sha[6] & 0x0f) | 0x80);
	sha[8] = (uint8_t)((sha[8] & 0x3f) | 0x80);
	str_uuid_text(sha, text);
	return text;
}

/* Reads the line as one message of ours. */
static bool read_as(const char *name, struct str text, struct arena *a, ProtobufCMessage **out,
	struct line *line)
{
	struct json_error err;

	if (json_read(pb_msg_find(str_of(name)), text, a, out, &err) == 0)
		return true;
	if (err.memory)
		return no_memory(line);
	return line_wrong(line, "%s%s%s (byte %zu)", err.path, err.path[0] ? " " : "", err.reason,
		err.offset);
}

/* Ours has no member "event", both others have; only Mixpanel's has its time among the
 * properties. */
enum line_shape line_shape_of(struct str text, struct arena *a)
{
	ProtobufCMessage *msg;
	struct line line;
	const Google__Protobuf__Value *props;

	if (!read_as("google.protobuf.Struct", text, a, &msg, &line))
		return LINE_AUTO;
	if (!line_member((const Google__Protobuf__Struct *)msg, "event"))
		return LINE_PUG;
	props = line_member((const Google__Protobuf__Struct *)msg, "properties");
	if (props && props->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE &&
		line_member(props->struct_value, "time"))
		return LINE_MIXPANEL;
	return LINE_POSTHOG;
}

/* Rules of the protos, as for a private key: sessions are optional. What comes from an
 * export has the properties that the server added, too (D82 counts without them). */
static bool keeps_rules(const Events__V1__Event *in, struct arena *a, struct line *line)
{
	struct pb_check check;

	pb_check_init(&check, a);
	check.private_key = true;
	check.spare = ENRICH_ROOM;
	validate_message(&check, pb_msg_find(STR("events.v1.Event")), &in->base);
	if (check.memory)
		return no_memory(line);
	return check.n == 0 || line_wrong(line, "%s", check.first->text);
}

static bool to_event(Events__V1__Event *in, int64_t now_ms, struct arena *a, struct line *line)
{
	/* An exported cookieless event names its id of that day, which no client may
	 * send; the rules are asked about what is behind the prefix. */
	size_t skip = in->has_cookieless && in->cookieless && in->distinct_id &&
				      str_starts(str_of(in->distinct_id), STR(cookieless))
			      ? sizeof(cookieless) - 1
			      : 0;
	char *id = in->distinct_id;
	const char *why;

	if (skip) {
		in->has_cookieless = false;
		in->distinct_id = id + skip;
	} else if (in->has_cookieless && in->cookieless) {
		return line_wrong(line, "cookieless events have a distinctId in an import");
	}
	if (!keeps_rules(in, a, line))
		return false;
	in->distinct_id = id;
	why = parse_stored(a, NULL, in, now_ms, &line->ev);
	if (why == parse_no_memory)
		return no_memory(line);
	line->ev.cookieless = skip > 0;
	return !why || line_wrong(line, "%s", why);
}

bool line_read(
	enum line_shape shape, struct str text, int64_t now_ms, struct arena *a, struct line *line)
{
	Events__V1__Event made, *in = &made;
	ProtobufCMessage *msg;

	*line = (struct line){0};
	if (shape == LINE_PUG) {
		if (!read_as("events.v1.Event", text, a, &msg, line))
			return false;
		in = (Events__V1__Event *)msg;
	} else {
		events__v1__event__init(&made);
		if (!read_as("google.protobuf.Struct", text, a, &msg, line) ||
			!line_foreign(
				shape, (const Google__Protobuf__Struct *)msg, text, a, &made, line))
			return false;
	}
	if (!in->event_id)
		in->event_id = line_id_of(text, a);
	return in->event_id ? to_event(in, now_ms, a, line) : no_memory(line);
}
