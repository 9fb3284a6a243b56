/*
 * Reading JSON into messages. One pass over the text, no tree in between: each
 * value is stored where the message keeps it. Recursion is bounded by
 * PB_MAX_DEPTH, memory by the arena's cap, work by the length of the text
 * (Any aside, whose type may stand behind its content).
 */
#include "proto/json_read.h"

#include "proto/access.h"
#include "proto/keyset.h"

/* An object that is being read into a message. */
struct object {
	const struct pb_msg *m;
	ProtobufCMessage *msg;
	uint64_t seen[4]; /* by index of the field */
	unsigned hint;    /* clients write fields in order: try this one first */
	struct keyset unknown;
};

/* Bits in seen[]; no message has nearly as many fields. */
enum { MAX_FIELDS = 256 };

/* Mostly the first letters differ, so no length is needed. strncmp() also ends at a NUL within
 * the key, but then the lengths differ. */
static bool named(const char *name, struct str key)
{
	return strncmp(name, key.p, key.n) == 0 && strlen(name) == key.n;
}

/* proto3 JSON takes a field by both of its names. That it is not given by both is first_time()'s
 * business. */
static const struct pb_field *search_field(const struct pb_msg *m, struct str key)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (named(m->fields[i].json_name, key) || named(m->fields[i].name, key))
			return &m->fields[i];
	return NULL;
}

static const struct pb_field *find_field(struct object *o, struct str key)
{
	const struct pb_field *f;

	if (o->hint < o->m->n_fields && named(o->m->fields[o->hint].json_name, key))
		f = &o->m->fields[o->hint];
	else
		f = search_field(o->m, key);
	if (f)
		o->hint = (unsigned)(f - o->m->fields) + 1;
	return f;
}

static bool first_time(struct json_reader *r, struct object *o, const struct pb_field *f)
{
	size_t i = (size_t)(f - o->m->fields);
	uint64_t bit = (uint64_t)1 << i % 64;

	if (i >= MAX_FIELDS || o->seen[i / 64] & bit)
		return json_fail(r, "is given twice");
	o->seen[i / 64] |= bit;
	return true;
}

static bool skip_unknown(struct json_reader *r, struct object *o, struct str key)
{
	struct json_path here = {.up = r->path, .kind = PATH_KEY, .key = key};
	enum keyset_found k = keyset_add(&o->unknown, key);
	bool ok;

	r->path = &here;
	if (k == KEYSET_MEMORY)
		return json_no_memory(r);
	if (k == KEYSET_DUPLICATE)
		return json_fail(r, "is given twice");
	ok = json_skip(r);
	r->path = here.up;
	return ok;
}

/* Only these have a null among their values; elsewhere null is absence. */
bool json_takes_null(const struct pb_field *f)
{
	if (f->type == PB_MESSAGE)
		return f->label != PB_MAP && f->msg->wkt == PB_VALUE;
	return f->type == PB_ENUM && strcmp(f->en->name, "google.protobuf.NullValue") == 0;
}

/* A null was taken as absence before this, so one member may be set and another one null. */
static bool oneof_free(struct json_reader *r, struct object *o, const struct pb_field *f)
{
	if (f->label != PB_ONEOF || pb_case(o->msg, f) == 0)
		return true;
	return json_fail(r, "is one of several fields of which only one may be set (%s)",
		o->m->oneofs[f->oneof].name);
}

static bool read_field(struct json_reader *r, struct object *o, const struct pb_field *f)
{
	if (!first_time(r, o, f))
		return false;
	/* Behind first_time(): null is a mention, too. */
	if (json_peek(r) == 'n' && (pb_is_list(f) || !json_takes_null(f)))
		return json_word(r, "null");
	if (f->label == PB_REPEATED)
		return json_array(r, f, o->msg);
	if (f->label == PB_MAP)
		return json_map(r, f, o->msg);
	if (!oneof_free(r, o, f) || !json_value(r, f, pb_slot(o->msg, f->offset)))
		return false;
	pb_mark(o->msg, f);
	return true;
}

static bool read_member(struct json_reader *r, struct object *o)
{
	struct json_path here = {.up = r->path, .kind = PATH_FIELD};
	const struct pb_field *f;
	struct str key;
	bool ok;

	if (!json_key(r, &key))
		return false;
	f = find_field(o, key);
	if (!f)
		return skip_unknown(r, o, key);
	here.name = f->json_name;
	r->path = &here;
	ok = read_field(r, o, f);
	r->path = here.up;
	return ok;
}

bool json_object(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg)
{
	struct object o = {.m = m, .msg = msg};
	bool first = true, more;

	keyset_init(&o.unknown, r->a);
	if (!json_open(r, '{'))
		return false;
	while (json_more(r, '}', &first, &more) && more)
		if (!read_member(r, &o))
			return false;
	return !more;
}

bool json_message(struct json_reader *r, const struct pb_msg *m, ProtobufCMessage *msg)
{
	return m->wkt == PB_PLAIN ? json_object(r, m, msg) : json_well_known(r, m, msg);
}

bool json_value(struct json_reader *r, const struct pb_field *f, void *slot)
{
	ProtobufCMessage *msg;

	if (f->type != PB_MESSAGE)
		return json_scalar(r, f, slot);
	msg = pb_new(f->msg, r->a);
	if (!msg)
		return json_no_memory(r);
	if (!json_message(r, f->msg, msg))
		return false;
	memcpy(slot, &msg, sizeof(msg));
	return true;
}

/* A list while it grows; its memory doubles. */
struct list {
	char *items;
	size_t n, room, size;
};

/* The slot of the next element. Good until the next call, which may move the list; what is read
 * into it meanwhile grows lists of its own. */
static void *list_next(struct json_reader *r, struct list *l)
{
	size_t room = l->room ? l->room * 2 : 4;
	char *more;

	if (l->n == l->room) {
		more = l->room ? arena_grow(r->a, l->items, l->room * l->size, room * l->size)
			       : arena_alloc(r->a, room * l->size);
		if (!more)
			return NULL;
		l->items = more;
		l->room = room;
	}
	return l->items + l->size * l->n++;
}

static void list_store(const struct list *l, const struct pb_field *f, ProtobufCMessage *msg)
{
	memcpy(pb_slot(msg, f->offset), &l->items, sizeof(l->items));
	memcpy(pb_slot(msg, f->quantifier), &l->n, sizeof(l->n));
}

static bool read_element(struct json_reader *r, const struct pb_field *f, struct list *l)
{
	void *slot;

	if (json_peek(r) == 'n' && !json_takes_null(f))
		return json_fail(r, "must not be null");
	slot = list_next(r, l);
	return slot ? json_value(r, f, slot) : json_no_memory(r);
}

bool json_array(struct json_reader *r, const struct pb_field *f, ProtobufCMessage *msg)
{
	struct json_path here = {.up = r->path, .kind = PATH_INDEX};
	struct list l = {.size = pb_elem_size(f)};
	bool first = true, more;

	if (!json_open(r, '['))
		return false;
	r->path = &here;
	for (; json_more(r, ']', &first, &more) && more; here.index++)
		if (!read_element(r, f, &l))
			return false;
	if (more)
		return false;
	r->path = here.up;
	list_store(&l, f, msg);
	return true;
}

/* Keys are compared by value, so that "1" and "1.0" are the same number. The set points to them
 * in the entry, which stays where it is. */
static bool new_key(struct json_reader *r, struct keyset *keys, const struct pb_field *f,
	struct str text, const void *slot)
{
	struct str key = {slot, pb_elem_size(f)};
	enum keyset_found k = keyset_add(keys, f->type == PB_STRING ? text : key);

	if (k == KEYSET_MEMORY)
		return json_no_memory(r);
	return k == KEYSET_NEW || json_fail(r, "is given twice");
}

static bool read_entry(
	struct json_reader *r, const struct pb_field *f, struct list *l, struct keyset *keys)
{
	const struct pb_field *kf = &f->msg->fields[0], *vf = &f->msg->fields[1];
	struct json_path here = {.up = r->path, .kind = PATH_KEY};
	ProtobufCMessage *entry, **slot;
	void *key;

	if (!json_key(r, &here.key))
		return false;
	r->path = &here;
	entry = pb_new(f->msg, r->a);
	slot = list_next(r, l);
	if (!entry || !slot)
		return json_no_memory(r);
	*slot = entry;
	key = pb_slot(entry, kf->offset);
	if (!json_map_key(r, kf, here.key, key) || !new_key(r, keys, kf, here.key, key))
		return false;
	if (json_peek(r) == 'n' && !json_takes_null(vf))
		return json_fail(r, "must not be null");
	if (!json_value(r, vf, pb_slot(entry, vf->offset)))
		return false;
	pb_mark(entry, kf);
	pb_mark(entry, vf);
	r->path = here.up;
	return true;
}

bool json_map(struct json_reader *r, const struct pb_field *f, ProtobufCMessage *msg)
{
	struct list l = {.size = sizeof(ProtobufCMessage *)};
	struct keyset keys;
	bool first = true, more;

	keyset_init(&keys, r->a);
	if (!json_open(r, '{'))
		return false;
	while (json_more(r, '}', &first, &more) && more)
		if (!read_entry(r, f, &l, &keys))
			return false;
	if (more)
		return false;
	list_store(&l, f, msg);
	return true;
}

int json_read(const struct pb_msg *m, struct str text, struct arena *a, ProtobufCMessage **out,
	struct json_error *err)
{
	struct json_reader r = {.start = text.n ? text.p : "", .a = a, .err = err};
	ProtobufCMessage *msg;

	r.p = r.start;
	r.end = r.start + text.n;
	/* JSON has no empty text; in the binary form no bytes are a message (auth.md 1.6). */
	if (text.n == 0) {
		json_fail(&r, "is empty; an empty message is {}");
		return -1;
	}
	msg = pb_new(m, a);
	if (!msg) {
		json_no_memory(&r);
		return -1;
	}
	if (!json_message(&r, m, msg))
		return -1;
	json_peek(&r);
	if (r.p != r.end) {
		json_fail(&r, "has something after its end");
		return -1;
	}
	*out = msg;
	return 0;
}
