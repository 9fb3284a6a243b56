/*
 * PostHog's and Mixpanel's exports to event messages. Known properties get our
 * names, so that insights and profiles find them; the others keep theirs. What is
 * beyond our limits is shortened or left out, and counted: an import of millions
 * of lines should not end at one long text.
 */
#include <stdio.h>

#include "proto/json.h"
#include "proto/number.h"
#include "proto/wkt.h"
#include "worker/cli/lines.h"

enum { TEXT_MAX = 1024, KEY_MAX = 255, PROPS_MAX = 255, KIND_MAX = 255 };

struct renamed {
	const char *theirs, *ours; /* ours NULL: left out, as it says nothing of the event */
};

/* Addresses ($ip, ip) are left out: none is ever stored (D24). */
static const struct renamed posthog_keys[] = {{"$current_url", "$url"}, {"$host", "$hostname"},
	{"$pathname", "$pathname"}, {"title", "$pageTitle"}, {"$title", "$pageTitle"},
	{"$browser_version", "$browserVersion"}, {"$os_version", "$osVersion"},
	{"$device_type", "$device"}, {"$referring_domain", "$referrerDomain"},
	{"$browser_language", "$locale"}, {"$geoip_country_code", "$country"},
	{"$geoip_subdivision_1_name", "$region"}, {"$geoip_city_name", "$city"},
	{"utm_source", "$utmSource"}, {"utm_medium", "$utmMedium"},
	{"utm_campaign", "$utmCampaign"}, {"utm_term", "$utmTerm"}, {"utm_content", "$utmContent"},
	{"$session_id", NULL}, {"$set", NULL}, {"$set_once", NULL}, {"$ip", NULL},
	{"distinct_id", NULL}, {"token", NULL}, {"$anon_distinct_id", NULL}, {"$insert_id", NULL},
	{"$time", NULL}, {NULL, NULL}};

static const struct renamed mixpanel_keys[] = {{"$current_url", "$url"},
	{"current_page_title", "$pageTitle"}, {"$browser_version", "$browserVersion"},
	{"$os_version", "$osVersion"}, {"$device", "$device"},
	{"$referring_domain", "$referrerDomain"}, {"mp_country_code", "$country"},
	{"$region", "$region"}, {"$city", "$city"}, {"utm_source", "$utmSource"},
	{"utm_medium", "$utmMedium"}, {"utm_campaign", "$utmCampaign"}, {"utm_term", "$utmTerm"},
	{"utm_content", "$utmContent"}, {"distinct_id", NULL}, {"time", NULL}, {"$insert_id", NULL},
	{"token", NULL}, {"ip", NULL}, {"$identified_id", NULL}, {"$anon_id", NULL}, {NULL, NULL}};

static const struct renamed kinds[] = {{"$pageview", "page_view"}, {"$pageleave", "page_leave"},
	{"$mp_web_page_view", "page_view"}, {"$screen", "screen_view"}, {"$autocapture", "click"},
	{"$rageclick", "rage_click"}, {NULL, NULL}};

static const struct renamed *renamed(const struct renamed *table, const char *theirs)
{
	while (table->theirs && strcmp(table->theirs, theirs) != 0)
		table++;
	return table->theirs ? table : NULL;
}

static const char *text_of(const Google__Protobuf__Value *v)
{
	return v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE ? v->string_value
									       : NULL;
}

/* An id may have been written as a number, which has one text form everywhere (D70). */
static char *id_text(const Google__Protobuf__Value *v, struct arena *a)
{
	const char *z = text_of(v);
	char text[NUMBER_TEXT];

	if (z)
		return arena_str(a, str_of(z));
	if (!v || v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE)
		return NULL;
	number_text(v->number_value, text);
	return arena_str(a, str_of(text));
}

/* Their names may hold any character, our kinds [a-zA-Z0-9_.-] only. */
static char *kind_of(const char *theirs, struct arena *a)
{
	const struct renamed *known = renamed(kinds, theirs);
	struct str name = str_of(known ? known->ours : theirs + (theirs[0] == '$'));
	char *out = arena_str(a, name);

	for (size_t i = 0; out && i < name.n; i++) {
		char c = out[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    c == '_' || c == '.' || c == '-'))
			out[i] = '_';
	}
	if (out && name.n > KIND_MAX)
		out[KIND_MAX] = '\0';
	return out;
}

/* Bytes of the first TEXT_MAX code points. */
static size_t head_bytes(struct str s)
{
	size_t points = 0, i = 0;

	for (; i < s.n; i++)
		if (((uint8_t)s.p[i] & 0xc0) != 0x80 && ++points > TEXT_MAX)
			break;
	return i;
}

/* Numbers, truths and texts as they are; lists and objects as JSON text when short
 * enough. NULL: left out. */
static Google__Protobuf__Value *flat(Google__Protobuf__Value *v, struct arena *a, struct line *line)
{
	Google__Protobuf__Value *out = arena_alloc(a, sizeof(*out));
	struct buf json;
	struct str s;

	if (!out || !v || v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE)
		return NULL;
	if (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE ||
		v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE)
		return v;
	google__protobuf__value__init(out);
	out->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
	if (text_of(v)) {
		s = str_of(text_of(v));
		line->shortened += head_bytes(s) < s.n;
		s.n = head_bytes(s);
	} else {
		buf_init(&json, a);
		if (json_write(pb_msg_find(STR("google.protobuf.Value")), &v->base, &json) < 0)
			return NULL;
		s = (struct str){json.p, json.n};
		if (head_bytes(s) < s.n)
			return NULL;
	}
	out->string_value = arena_str(a, s);
	return out->string_value ? out : NULL;
}

/* Two of their keys may become one of ours, as titles do: the first one stays, the other is
 * counted as left out. */
static bool put_properties(const Google__Protobuf__Struct *in, const struct renamed *names,
	struct arena *a, Events__V1__Event *out, struct line *line)
{
	Google__Protobuf__Struct *s = arena_alloc(a, sizeof(*s));

	if (!s)
		return false;
	google__protobuf__struct__init(s);
	out->properties = s;
	s->fields = arena_array(a, in->n_fields + 1, sizeof(*s->fields));
	for (size_t i = 0; s->fields && i < in->n_fields; i++) {
		Google__Protobuf__Struct__FieldsEntry *e = arena_alloc(a, sizeof(*e));
		const char *key = in->fields[i]->key ? in->fields[i]->key : "";
		const struct renamed *known = renamed(names, key);

		if (!e)
			return false;
		if (known && !known->ours)
			continue;
		google__protobuf__struct__fields_entry__init(e);
		e->key = arena_str(a, str_of(known ? known->ours : key));
		e->value = flat(in->fields[i]->value, a, line);
		if (!e->key || !e->value || strlen(e->key) > KEY_MAX || !e->key[0] ||
			s->n_fields == PROPS_MAX || line_member(s, e->key)) {
			line->left_out += in->fields[i]->value &&
					  in->fields[i]->value->kind_case !=
						  GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
			continue;
		}
		s->fields[s->n_fields++] = e;
	}
	return s->fields != NULL;
}

/* RFC 3339, or with a space for the T and a zone that is short or missing (UTC). */
static bool read_time(const char *z, int64_t *ms)
{
	char text[64];
	/* room is kept for what is appended to it */
	int n = snprintf(text, sizeof(text) - 8, "%s", z);
	int64_t seconds;
	int32_t nanos;
	char *zone;

	if (n < 19 || n >= (int)sizeof(text) - 8)
		return false;
	if (text[10] == ' ')
		text[10] = 'T';
	zone = text + 19 + strcspn(text + 19, "Z+-");
	if (*zone == '\0')
		strcpy(zone, "Z");
	else if (strlen(zone) == 3)
		strcpy(zone + 3, ":00");
	if (!wkt_timestamp_parse(str_of(text), &seconds, &nanos))
		return false;
	*ms = wkt_to_ms(seconds, nanos);
	return true;
}

static bool put_time(int64_t ms, struct arena *a, Events__V1__Event *out)
{
	Google__Protobuf__Timestamp *t = arena_alloc(a, sizeof(*t));

	if (!t)
		return false;
	google__protobuf__timestamp__init(t);
	wkt_of_ms(ms, &t->seconds, &t->nanos);
	out->occur_time = t;
	return true;
}

static bool posthog(const Google__Protobuf__Struct *in, const Google__Protobuf__Struct *props,
	struct arena *a, Events__V1__Event *out, struct line *line)
{
	const char *when = text_of(line_member(in, "timestamp"));
	const char *name = text_of(line_member(in, "event"));
	const char *session = text_of(line_member(props, "$session_id"));
	const char *anonymous = text_of(line_member(props, "$anon_distinct_id"));
	const char *id = text_of(line_member(in, "uuid"));
	uint8_t uuid[16];
	int64_t ms;

	if (!when || !read_time(when, &ms))
		return line_wrong(line, "timestamp must be a time");
	out->distinct_id = id_text(line_member(in, "distinct_id"), a);
	if (!out->distinct_id)
		return line_wrong(line, "distinct_id is missing");
	if (session && str_uuid(str_of(session), uuid))
		out->session_id = arena_str(a, str_of(session));
	if (id && str_uuid(str_of(id), uuid))
		out->event_id = arena_str(a, str_of(id));
	if (anonymous && strcmp(name, "$identify") == 0) {
		line->external = str_of(out->distinct_id);
		line->anonymous = str_of(anonymous);
	}
	return put_time(ms, a, out) && put_properties(props, posthog_keys, a, out, line);
}

static bool mixpanel(const Google__Protobuf__Struct *in, const Google__Protobuf__Struct *props,
	struct arena *a, Events__V1__Event *out, struct line *line)
{
	const double seconds_until = 1e11; /* the year 5138; beyond it they are milliseconds */
	const Google__Protobuf__Value *when = line_member(props, "time");
	const char *insert = text_of(line_member(props, "$insert_id"));
	const char *name = text_of(line_member(in, "event"));
	const char *user = text_of(line_member(props, "$identified_id"));
	const char *anonymous = text_of(line_member(props, "$anon_id"));
	double t;

	if (!when || when->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE ||
		!(when->number_value > 0 && when->number_value < 1e14))
		return line_wrong(line, "properties.time must be a number of seconds");
	t = when->number_value;
	out->distinct_id = id_text(line_member(props, "distinct_id"), a);
	if (!out->distinct_id)
		return line_wrong(line, "properties.distinct_id is missing");
	if (insert) /* what Mixpanel itself knows repeats by */
		out->event_id = line_id_of(arena_printf(a, "mixpanel\n%s\n%s\n%.3f\n%s", name,
						   out->distinct_id, t, insert),
			a);
	if (user && anonymous && strcmp(name, "$identify") == 0) {
		line->external = str_of(user);
		line->anonymous = str_of(anonymous);
	}
	return put_time((int64_t)(t < seconds_until ? t * 1000 : t), a, out) &&
	       put_properties(props, mixpanel_keys, a, out, line);
}

/* PostHog's batch exports may hold the properties as JSON text. */
static const Google__Protobuf__Struct *properties(
	const Google__Protobuf__Struct *in, struct arena *a)
{
	const Google__Protobuf__Value *v = line_member(in, "properties");
	ProtobufCMessage *msg;
	struct json_error err;

	if (v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
		return v->struct_value;
	if (!text_of(v) || json_read(pb_msg_find(STR("google.protobuf.Struct")), str_of(text_of(v)),
				   a, &msg, &err) < 0)
		return NULL;
	return (const Google__Protobuf__Struct *)msg;
}

bool line_foreign(enum line_shape shape, const Google__Protobuf__Struct *in, struct str text,
	struct arena *a, Events__V1__Event *out, struct line *line)
{
	const Google__Protobuf__Struct *props = properties(in, a);
	const char *name = text_of(line_member(in, "event"));
	bool ok;

	if (!name || !name[0])
		return line_wrong(line, "event is missing");
	if (!props)
		return line_wrong(line, "properties must be an object");
	out->kind = kind_of(name, a);
	ok = shape == LINE_POSTHOG ? posthog(in, props, a, out, line)
				   : mixpanel(in, props, a, out, line);
	if (ok && !out->event_id)
		out->event_id = line_id_of(text, a);
	if (ok && out->kind && out->event_id)
		return true;
	return line->why[0] ? false : line_wrong(line, "it needs too much memory");
}
