/*
 * Walking a message along its tables and applying the rules of each field.
 * Subtrees without rules are not entered. What a rule means is in validate_rule.c
 * for single values; rules over several fields live in worker/rules/.
 */
#include "proto/validate.h"

#include <stdarg.h>
#include <stdio.h>

#include "proto/access.h"
#include "proto/keyset.h"
#include "proto/validate_rule.h"
#include "proto/wkt.h"

/* Where the check is: one frame per field on the way, on the stack. An index and a key exclude
 * each other; a singular field has neither. */
struct pb_check_frame {
	const struct pb_check_frame *up;
	const char *name;
	bool indexed, keyed;
	size_t index;
	const char *key;
};

void pb_check_init(struct pb_check *c, struct arena *a)
{
	*c = (struct pb_check){.a = a};
	c->tail = &c->first;
}

/* Text may be cut within a character of a client's, and answers are UTF-8. */
static void mend_utf8(char *z)
{
	for (struct str left = str_of(z); left.n > 0;) {
		uint8_t c = (uint8_t)*left.p;
		size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

		if (n > left.n || !str_utf8_ok((struct str){left.p, n})) {
			z[left.p - z] = '?';
			n = 1;
		}
		left.p += n;
		left.n -= n;
	}
}

static void frame_text(const struct pb_check_frame *fr, bool indexes, struct buf *out)
{
	if (!fr)
		return;
	frame_text(fr->up, indexes, out);
	if (fr->up)
		buf_c(out, '.');
	buf_z(out, fr->name);
	if (indexes && fr->indexed)
		buf_printf(out, "[%zu]", fr->index);
	if (indexes && fr->keyed)
		buf_printf(out, "[\"%.80s\"]", fr->key);
}

/* Copies a relative path, without what is in brackets unless asked for. */
static void relative_text(const char *path, bool indexes, struct buf *out)
{
	bool inside = false;

	for (; *path; path++) {
		inside |= *path == '[';
		if (indexes || !inside)
			buf_c(out, *path);
		inside &= *path != ']';
	}
}

static const char *place(struct pb_check *c, const char *field, bool indexes)
{
	struct buf b;

	buf_init(&b, c->a);
	frame_text(c->frame, indexes, &b);
	if (c->frame && *field)
		buf_c(&b, '.');
	relative_text(field, indexes, &b);
	buf_c(&b, 0);
	c->memory |= b.over;
	if (b.over)
		return "";
	mend_utf8(b.p);
	return b.p;
}

void pb_violation(struct pb_check *c, const char *field, const char *fmt, ...)
{
	struct pb_violation *v;
	char text[256];
	va_list ap;

	/* Counted without an end: one message can break a rule millions of times. */
	if (c->n++ >= PB_MAX_VIOLATIONS)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mend_utf8(text);
	v = arena_zalloc(c->a, sizeof(*v));
	if (!v) {
		c->memory = true;
		return;
	}
	v->field = place(c, field, false);
	v->path = place(c, field, true);
	v->text = arena_str(c->a, str_of(text));
	/* With `memory` set nobody shows the list (call_violations()); it has no NULL all the
	 * same. */
	if (!v->text) {
		c->memory = true;
		v->text = "is invalid";
	}
	*c->tail = v;
	c->tail = &v->next;
}

/* Checks a message below the current one. */
static void check_at(struct pb_check *c, struct pb_check_frame *fr, const struct pb_msg *m,
	const ProtobufCMessage *msg)
{
	fr->up = c->frame;
	c->frame = fr;
	validate_message(c, m, msg);
	c->frame = fr->up;
}

/* `spare` is the import's: events of an export also have the properties that the server added,
 * which D82 does not count. */
static void check_count(struct pb_check *c, const struct pb_field *f, size_t n)
{
	const struct pb_rule *rule = f->rule;
	const char *what = f->label == PB_MAP ? "entries" : "elements";

	if (rule->min_items && n < rule->min_items)
		pb_violation(c, f->name, "%s must have at least %u %s", f->name, rule->min_items,
			rule->min_items == 1 ? (f->label == PB_MAP ? "entry" : "element") : what);
	if (rule->max_items && n > (size_t)rule->max_items + c->spare)
		pb_violation(
			c, f->name, "%s must have at most %u %s", f->name, rule->max_items, what);
}

/* Said once a field: a list of equal elements would else fill the list of violations alone. */
static void check_unique(struct pb_check *c, const ProtobufCMessage *msg, const struct pb_field *f)
{
	size_t n = pb_count(msg, f);
	struct keyset seen;

	keyset_init(&seen, c->a);
	for (size_t i = 0; i < n; i++) {
		enum keyset_found k = keyset_add(&seen, str_of(pb_pointer(pb_item(msg, f, i))));

		c->memory |= k == KEYSET_MEMORY;
		if (k == KEYSET_DUPLICATE) {
			pb_violation(
				c, f->name, "%s must not contain the same value twice", f->name);
			return;
		}
	}
}

/* Binary messages can hold times that have no text. Lists of times are not looked at, no request
 * has one; nor is a message that has no rule in it or below it, as it is not entered. */
static void check_time(struct pb_check *c, const struct pb_field *f, const ProtobufCMessage *msg)
{
	int64_t seconds;
	int32_t nanos;

	if (f->msg->wkt != PB_TIMESTAMP && f->msg->wkt != PB_DURATION)
		return;
	memcpy(&seconds, pb_peek(msg, f->msg->fields[0].offset), sizeof(seconds));
	memcpy(&nanos, pb_peek(msg, f->msg->fields[1].offset), sizeof(nanos));
	if (f->msg->wkt == PB_TIMESTAMP && !wkt_timestamp_ok(seconds, nanos))
		pb_violation(c, f->name, "%s is not a time of the years 1 to 9999", f->name);
	if (f->msg->wkt == PB_DURATION && !wkt_duration_ok(seconds, nanos))
		pb_violation(c, f->name, "%s is not a duration", f->name);
}

static void check_elements(
	struct pb_check *c, const ProtobufCMessage *msg, const struct pb_field *f)
{
	size_t n = pb_count(msg, f);

	for (size_t i = 0; i < n; i++) {
		struct pb_check_frame fr = {.name = f->name, .indexed = true, .index = i};

		if (f->type == PB_MESSAGE && f->msg->has_rules)
			check_at(c, &fr, f->msg, pb_pointer(pb_item(msg, f, i)));
		if (f->type == PB_MESSAGE || !f->rule)
			continue;
		/* its place becomes text only where a rule is broken: there may be millions */
		fr.up = c->frame;
		c->frame = &fr;
		validate_rule(c, f, "", pb_item(msg, f, i));
		c->frame = fr.up;
	}
}

/* The field is named, and the key in the text: clients see keys in no path. */
static void check_key(struct pb_check *c, const struct pb_field *f, const char *key)
{
	const struct pb_rule *rule = f->rule;

	if (rule->key_pattern && !valid_pattern(rule->key_pattern, str_of(key)))
		pb_violation(c, f->name, "%s must not have the key \"%.80s\": keys match %s",
			f->name, key, rule->key_pattern->text);
	if (rule->max_key_bytes && strlen(key) > rule->max_key_bytes)
		pb_violation(c, f->name, "%s must not have keys of more than %u bytes", f->name,
			rule->max_key_bytes);
}

/* Messages share equal entries of one map field (proto/wire_read.c). Addresses are multiples of
 * 16 (arena.c). One place for each hash: an entry that lost its place is only checked again. */
static const void **passed(struct pb_check *c, const ProtobufCMessage *entry)
{
	return &c->passed[((uintptr_t)entry >> 4 ^ (uintptr_t)entry >> 11) % PB_PASSED];
}

static void check_map(struct pb_check *c, const ProtobufCMessage *msg, const struct pb_field *f)
{
	const struct pb_field *kf = &f->msg->fields[0], *vf = &f->msg->fields[1];
	bool values = vf->type == PB_MESSAGE && vf->msg->has_rules;
	size_t n = pb_count(msg, f);

	for (size_t i = 0; i < n; i++) {
		const ProtobufCMessage *entry = pb_pointer(pb_item(msg, f, i));
		const char *key =
			kf->type == PB_STRING ? pb_pointer(pb_peek(entry, kf->offset)) : NULL;
		struct pb_check_frame fr = {.name = f->name, .keyed = key != NULL, .key = key};
		unsigned n_before = c->n;

		if (*passed(c, entry) == entry)
			continue;
		if (key && f->rule)
			check_key(c, f, key);
		if (values)
			check_at(c, &fr, vf->msg, pb_pointer(pb_peek(entry, vf->offset)));
		/* what breaks a rule is told wherever it occurs, so it is not remembered */
		if (c->n == n_before)
			*passed(c, entry) = entry;
	}
}

static void check_list(struct pb_check *c, const ProtobufCMessage *msg, const struct pb_field *f)
{
	if (f->rule)
		check_count(c, f, pb_count(msg, f));
	if (f->rule && f->rule->unique)
		check_unique(c, msg, f);
	if (f->label == PB_MAP)
		check_map(c, msg, f);
	else
		check_elements(c, msg, f);
}

static void check_single(struct pb_check *c, const ProtobufCMessage *msg, const struct pb_field *f)
{
	struct pb_check_frame fr = {.name = f->name};
	const void *slot = pb_peek(msg, f->offset);

	/* Absent, a field is asked for `required` only; present and empty, for all its rules
	 * (auth.md 1.7). */
	if (!pb_present(msg, f)) {
		if (f->rule && f->rule->required)
			pb_violation(c, f->name, "%s is required", f->name);
		return;
	}
	if (f->rule)
		validate_rule(c, f, f->name, slot);
	if (f->type != PB_MESSAGE)
		return;
	check_time(c, f, pb_pointer(slot));
	if (f->msg->has_rules)
		check_at(c, &fr, f->msg, pb_pointer(slot));
}

/* The members of a oneof share the word that says which one is set: any of them will do. */
static bool oneof_set(const struct pb_msg *m, const ProtobufCMessage *msg, size_t oneof)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (m->fields[i].label == PB_ONEOF && (size_t)m->fields[i].oneof == oneof)
			return pb_case(msg, &m->fields[i]) != 0;
	return false;
}

void validate_message(struct pb_check *c, const struct pb_msg *m, const ProtobufCMessage *msg)
{
	if (!m->has_rules)
		return;
	for (size_t i = 0; i < m->n_fields; i++) {
		const struct pb_field *f = &m->fields[i];

		if (pb_is_list(f))
			check_list(c, msg, f);
		else
			check_single(c, msg, f);
	}
	for (size_t i = 0; i < m->n_oneofs; i++)
		if (m->oneofs[i].required && !oneof_set(m, msg, i))
			pb_violation(c, m->oneofs[i].name,
				"%s is required: one of its fields must be set", m->oneofs[i].name);
	/* Last: it leaves alone what the rules of fields have refused
	 * (worker/rules/README.md). */
	if (m->check)
		m->check(c, msg);
}

static void violation_text(const struct pb_violation *v, struct buf *out)
{
	if (*v->path) {
		buf_z(out, v->path);
		buf_z(out, ": ");
	}
	buf_z(out, v->text);
}

void pb_check_text(const struct pb_check *c, struct buf *out)
{
	buf_z(out, c->n == 1 ? "validation error: " : "validation errors:");
	for (const struct pb_violation *v = c->first; v; v = v->next) {
		if (c->n > 1)
			buf_z(out, "\n - ");
		violation_text(v, out);
	}
	if (c->n > PB_MAX_VIOLATIONS)
		buf_printf(out, "\n - and %u more", c->n - PB_MAX_VIOLATIONS);
}

static void put_varint(struct buf *out, size_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_c(out, (char)(v | 0x80));
	buf_c(out, (char)v);
}

static size_t varint_len(size_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

/* A string field: its tag is one byte. */
static void put_field(struct buf *out, char tag, const char *z)
{
	buf_c(out, tag);
	put_varint(out, strlen(z));
	buf_z(out, z);
}

/* By hand: BadRequest.field_violations = 1 (0x0a), in it field = 1 (0x0a) and description = 2
 * (0x12), auth.md 1.6. */
void pb_check_bad_request(const struct pb_check *c, struct buf *out)
{
	for (const struct pb_violation *v = c->first; v; v = v->next) {
		size_t nf = strlen(v->field), nt = strlen(v->text);

		buf_c(out, 0x0a);
		put_varint(out, 2 + varint_len(nf) + nf + varint_len(nt) + nt);
		put_field(out, 0x0a, v->field);
		put_field(out, 0x12, v->text);
	}
}
