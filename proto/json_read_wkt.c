/*
 * Well-known types that have a JSON form of their own. Their fields are reached
 * by position: google's files are fixed for ever.
 */
#include "proto/json_read.h"

#include "proto/access.h"
#include "proto/wire_read.h"
#include "proto/wkt.h"

/* For what recurses seldom or never: its buffers would else be part of every level's frame. */
#define LEAF __attribute__((noinline)) static

static void store(ProtobufCMessage *msg, const struct pb_field *f, const void *v, size_t n)
{
	memcpy(pb_slot(msg, f->offset), v, n);
	pb_mark(msg, f);
}

LEAF bool read_time(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg)
{
	bool duration = m->wkt == PB_DURATION;
	struct str text;
	int64_t seconds = 0;
	int32_t nanos = 0;

	if (!json_string(r, &text))
		return false;
	if (duration && !wkt_duration_parse(text, &seconds, &nanos))
		return json_fail(r, "must be a duration in seconds such as \"1.5s\"");
	if (!duration && !wkt_timestamp_parse(text, &seconds, &nanos))
		return json_fail(r, "must be an RFC 3339 time such as \"2026-01-02T03:04:05Z\"");
	store(msg, &m->fields[0], &seconds, sizeof(seconds));
	store(msg, &m->fields[1], &nanos, sizeof(nanos));
	return true;
}

/* google.protobuf.Value: which member of its oneof a text is. */
static bool read_any_value(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg)
{
	/* in the order of the fields in struct.proto */
	enum { VALUE_NULL, VALUE_NUMBER, VALUE_STRING, VALUE_BOOL, VALUE_STRUCT, VALUE_LIST };
	const struct pb_field *f;
	char c = json_peek(r);

	switch (c) {
	case 'n':
		f = &m->fields[VALUE_NULL];
		break;
	case '"':
		f = &m->fields[VALUE_STRING];
		break;
	case 't':
	case 'f':
		f = &m->fields[VALUE_BOOL];
		break;
	case '{':
		f = &m->fields[VALUE_STRUCT];
		break;
	case '[':
		f = &m->fields[VALUE_LIST];
		break;
	default:
		f = &m->fields[VALUE_NUMBER];
		if (c != '-' && (c < '0' || c > '9'))
			return json_fail(r, "is not JSON: expected a value");
	}
	if (!json_value(r, f, pb_slot(msg, f->offset)))
		return false;
	pb_mark(msg, f);
	return true;
}

static size_t count(struct str s, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == c;
	return n;
}

static struct str take_path(struct str *rest)
{
	long comma = str_find(*rest, ',');
	struct str path = {rest->p, comma < 0 ? rest->n : (size_t)comma};
	size_t used = path.n + (comma >= 0);

	rest->p += used;
	rest->n -= used;
	return path;
}

/* An empty text is a mask without paths; an empty path between commas is an error. */
LEAF bool read_mask(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg)
{
	const struct pb_field *f = &m->fields[0];
	struct str text, path;
	struct buf b;
	char **paths;
	size_t n;

	if (!json_string(r, &text))
		return false;
	n = text.n ? count(text, ',') + 1 : 0;
	paths = arena_array(r->a, n ? n : 1, sizeof(*paths));
	if (!paths)
		return json_no_memory(r);
	for (size_t i = 0; i < n; i++) {
		path = take_path(&text);
		buf_init(&b, r->a);
		if (!wkt_path_to_snake(path, &b))
			return json_fail(r, "must be field paths in lowerCamelCase");
		buf_c(&b, 0);
		if (b.over)
			return json_no_memory(r);
		paths[i] = b.p;
	}
	memcpy(pb_slot(msg, f->offset), &paths, sizeof(paths));
	memcpy(pb_slot(msg, f->quantifier), &n, sizeof(n));
	return true;
}

/* Looks ahead for "@type" in the object at which the reader stands. Works on a copy of the
 * reader and takes nothing, so what comes before the type is scanned once more for each Any
 * around it: PB_MAX_DEPTH times at most. */
LEAF bool find_type(struct json_reader *r, struct str *type, bool *empty)
{
	struct json_reader look = *r;
	bool first = true, more, found = false;
	struct str key;

	*empty = true;
	if (!json_open(&look, '{'))
		return false;
	while (!found && json_more(&look, '}', &first, &more) && more) {
		*empty = false;
		if (!json_key(&look, &key))
			return false;
		found = str_eq(key, STR("@type"));
		if (!(found ? json_string(&look, type) : json_skip(&look)))
			return false;
	}
	if (!found && more)
		return false;
	return found || *empty || json_fail(r, "needs \"@type\"");
}

/* {"@type": ..., "value": form of the well-known type}. Members have no order: the type, which
 * find_type() has read, may come last. */
LEAF bool read_boxed(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg)
{
	struct json_path here = {.up = r->path, .kind = PATH_FIELD, .name = "value"};
	bool first = true, more, types = false, values = false, *seen, type;
	struct str key;

	if (!json_open(r, '{'))
		return false;
	while (json_more(r, '}', &first, &more) && more) {
		if (!json_key(r, &key))
			return false;
		type = str_eq(key, STR("@type"));
		seen = type ? &types : &values;
		if (*seen || (!type && !str_eq(key, STR("value"))))
			return json_fail(r, "may hold only \"@type\" and \"value\", each once");
		*seen = true;
		r->path = &here;
		if (!(type ? json_skip(r) : json_message(r, m, msg)))
			return false;
		r->path = here.up;
	}
	if (more)
		return false;
	return values || json_fail(r, "needs \"value\"");
}

LEAF bool store_packed(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg,
	const ProtobufCMessage *inner)
{
	ProtobufCBinaryData v;
	struct buf b;

	buf_init(&b, r->a);
	pb_pack(inner, &b);
	if (b.over)
		return json_no_memory(r);
	v = (ProtobufCBinaryData){.len = b.n, .data = (uint8_t *)b.p};
	store(msg, &m->fields[1], &v, sizeof(v));
	return true;
}

LEAF bool read_any(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg)
{
	const struct pb_msg *im;
	ProtobufCMessage *inner;
	struct str type, name;
	bool empty, ok;
	char *url;

	if (!find_type(r, &type, &empty))
		return false;
	/* {}: an Any of no type */
	if (empty)
		return json_object(r, m, msg);
	name = type;
	for (long i; (i = str_find(name, '/')) >= 0; name.n -= (size_t)i + 1)
		name.p += i + 1;
	im = pb_msg_find(name);
	if (!im)
		return json_fail(r, "has an \"@type\" that is not known here");
	inner = pb_new(im, r->a);
	url = arena_str(r->a, type);
	if (!inner || !url)
		return json_no_memory(r);
	/* In a plain message "@type" is one more unknown field, and skipped. */
	ok = im->wkt == PB_PLAIN ? json_object(r, im, inner) : read_boxed(r, im, inner);
	if (!ok)
		return false;
	store(msg, &m->fields[0], &url, sizeof(url));
	return store_packed(r, m, msg, inner);
}

/* For a field that is a wrapper null is absence, and does not come here (json_takes_null()). */
LEAF bool read_wrapper(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg)
{
	if (!json_scalar(r, &m->fields[0], pb_slot(msg, m->fields[0].offset)))
		return false;
	pb_mark(msg, &m->fields[0]);
	return true;
}

bool json_well_known(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg)
{
	switch (m->wkt) {
	case PB_TIMESTAMP:
	case PB_DURATION:
		return read_time(r, m, msg);
	case PB_STRUCT:
		return json_map(r, &m->fields[0], msg);
	case PB_VALUE:
		return read_any_value(r, m, msg);
	case PB_LIST_VALUE:
		return json_array(r, &m->fields[0], msg);
	case PB_FIELD_MASK:
		return read_mask(r, m, msg);
	case PB_ANY:
		return read_any(r, m, msg);
	default:
		return read_wrapper(r, m, msg);
	}
}
