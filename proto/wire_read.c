/*
 * Reading messages along our tables, in one pass: each field is checked and put into the
 * struct at once. Lists grow as elements come. Texts lie one behind the other in one block
 * as long as the input: a text takes at least two bytes more there than here.
 *
 * Events of one client share most of their properties with those around them. So entries of
 * maps that are the same bytes become the same struct, which nobody changes afterwards;
 * who comes later knows an entry again by its address (proto/validate.c, str_eq()).
 */
#include "proto/wire_read.h"

#include <stdio.h>

#include "proto/access.h"
#include "proto/keyset.h"
#include "proto/wire_item.h"

struct frame {
	const struct frame *up;
	const struct pb_field *f;
	const char *start, *here; /* of the message around f, and of f in it */
	uint64_t seen[4];         /* singular messages, by index of the field */
	bool maps;                /* one of the fields was a map */
};

enum {
	MEMO_WORTH = 1024, /* bytes of a message in which there may be equal entries */
	MEMO_SHARE = 64,   /* bytes of it for each entry to remember */
	MEMO_MAX = 512,
	MEMO_BYTES = 128 /* longer entries are seldom equal */
};

/* An entry that was read lately. `bytes` lie in the input; with `f` set `entry` is NULL only
 * after a failure, which ends everything. */
struct memo {
	const struct pb_field *f;
	struct str bytes;
	ProtobufCMessage *entry;
	unsigned depth; /* where it was read */
};

struct reader {
	const char *start;
	char *texts; /* room for the next one */
	struct arena *a;
	const struct frame *frame;
	struct wire_error *err;
	struct memo *memo; /* by hash of the bytes; NULL: none needed yet */
	uint32_t memo_mask;
};

static unsigned wire_of(const struct pb_field *f)
{
	switch (f->type) {
	case PB_DOUBLE:
	case PB_FIXED64:
	case PB_SFIXED64:
		return WIRE_64;
	case PB_FLOAT:
	case PB_FIXED32:
	case PB_SFIXED32:
		return WIRE_32;
	case PB_STRING:
	case PB_BYTES:
	case PB_MESSAGE:
		return WIRE_BYTES;
	default:
		return WIRE_VARINT;
	}
}

/* Which element of its list a field is: counted only when there is an error. */
static size_t index_of(const struct frame *fr)
{
	const char *p = fr->start;
	struct item it;
	size_t n = 0;

	while (p < fr->here && !take_item(&p, fr->here, &it))
		n += it.number == fr->f->number;
	return n;
}

static size_t path_text(const struct frame *fr, char *out, size_t size)
{
	size_t n = fr->up ? path_text(fr->up, out, size) : 0;
	size_t len = strlen(fr->f->name), index = 24;

	if (n + 1 + len + index > size)
		return n; /* a part that does not fit is left out */
	n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "." : "", fr->f->name);
	if (pb_is_list(fr->f))
		n += (size_t)snprintf(out + n, size - n, "[%zu]", index_of(fr));
	return n;
}

static bool fail(struct reader *r, const char *at, const char *why)
{
	r->err->memory = false;
	r->err->offset = (size_t)(at - r->start);
	r->err->path[0] = 0;
	if (r->frame)
		path_text(r->frame, r->err->path, sizeof(r->err->path));
	snprintf(r->err->reason, sizeof(r->err->reason), "%s", why);
	return false;
}

static bool no_memory(struct reader *r, const char *at)
{
	fail(r, at, "takes too much memory");
	r->err->memory = true;
	return false;
}

/* How many elements a list of n has room for: a power of two, known from n alone. */
static size_t room_of(size_t n)
{
	size_t room = 4;

	if (n == 0)
		return 0;
	while (room < n)
		room *= 2;
	return room;
}

/* Where the next `more` elements of a list go; NULL beyond the arena's cap. Good until this list
 * grows again: children that are read into it meanwhile grow lists of their own. */
static char *list_end(
	struct reader *r, ProtobufCMessage *msg, const struct pb_field *f, size_t more)
{
	size_t n = pb_count(msg, f), size = f->label == PB_MAP ? sizeof(void *) : pb_elem_size(f);
	size_t room = room_of(n), want = room_of(n + more);
	char *v = pb_pointer(pb_peek(msg, f->offset));

	if (want > room) {
		v = arena_grow(r->a, v, room * size, want * size);
		if (!v)
			return NULL;
		memcpy(pb_slot(msg, f->offset), &v, sizeof(v));
	}
	return v + n * size;
}

static void list_grown(ProtobufCMessage *msg, const struct pb_field *f, size_t more)
{
	size_t n = pb_count(msg, f) + more;

	memcpy(pb_slot(msg, f->quantifier), &n, sizeof(n));
}

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

/* A number as it was on the wire into the member that holds it. */
static void put_number(const struct pb_field *f, uint64_t v, void *slot)
{
	protobuf_c_boolean yes = v != 0;
	int64_t wide = unzigzag(v);
	int32_t narrow = (int32_t)unzigzag((uint32_t)v);
	uint32_t low = (uint32_t)v;

	switch (f->type) {
	case PB_BOOL:
		memcpy(slot, &yes, sizeof(yes));
		break;
	case PB_SINT64:
		memcpy(slot, &wide, sizeof(wide));
		break;
	case PB_SINT32:
		memcpy(slot, &narrow, sizeof(narrow));
		break;
	case PB_DOUBLE:
	case PB_INT64:
	case PB_UINT64:
	case PB_FIXED64:
	case PB_SFIXED64:
		memcpy(slot, &v, sizeof(v));
		break;
	default: /* the rest takes 32 bits: numbers, floats, enums */
		memcpy(slot, &low, sizeof(low));
	}
}

/* The number of values in a packed list; false when it is malformed. */
static bool packed_count(const struct pb_field *f, struct str bytes, size_t *n)
{
	const char *p = bytes.p, *end = bytes.p + bytes.n;
	unsigned wire = wire_of(f);
	size_t width = wire == WIRE_64 ? 8 : 4;
	uint64_t ignored;

	*n = 0;
	if (wire != WIRE_VARINT) {
		*n = bytes.n / width;
		return bytes.n % width == 0;
	}
	for (; p < end; ++*n)
		if (!take_varint(&p, end, LONG, &ignored))
			return false;
	return true;
}

/* Packed or one by one is up to the sender, and a list may come both ways, in several pieces:
 * elements join those that are there. */
static bool read_packed(
	struct reader *r, ProtobufCMessage *msg, const struct pb_field *f, struct str bytes)
{
	const char *p = bytes.p, *end = bytes.p + bytes.n;
	size_t n, size = pb_elem_size(f);
	unsigned wire = wire_of(f);
	uint64_t v = 0;
	char *to;

	if (!packed_count(f, bytes, &n))
		return fail(r, bytes.p, "is a malformed list of numbers");
	if (n == 0)
		return true;
	to = list_end(r, msg, f, n);
	if (!to)
		return no_memory(r, bytes.p);
	for (size_t i = 0; i < n; i++, to += size) {
		/* counted, so these do not fail */
		if (wire == WIRE_VARINT)
			(void)take_varint(&p, end, LONG, &v);
		else
			(void)take_fixed(&p, end, wire == WIRE_64 ? 8 : 4, &v);
		put_number(f, v, to);
	}
	list_grown(msg, f, n);
	return true;
}

/* Copies text that is ASCII without NUL, as nearly all is; false when it is not. */
static bool copy_ascii(char *to, struct str s)
{
	const uint64_t ones = 0x0101010101010101u, high = ones << 7;
	size_t i = 0;
	uint64_t w;

	for (; i + sizeof(w) <= s.n; i += sizeof(w)) {
		memcpy(&w, s.p + i, sizeof(w));
		/* with no high bit set, w - ones borrows into one only below a zero byte */
		if ((w | (w - ones)) & high)
			return false;
		memcpy(to + i, &w, sizeof(w));
	}
	for (; i < s.n; i++) {
		if (s.p[i] == 0 || (uint8_t)s.p[i] >= 0x80)
			return false;
		to[i] = s.p[i];
	}
	return true;
}

static bool read_string(struct reader *r, struct str text, void *slot)
{
	char *to = r->texts;

	if (!copy_ascii(to, text)) {
		if (!str_utf8_ok(text))
			return fail(r, text.p, "is not valid UTF-8");
		/* C ends a string there and would hide the rest. */
		if (memchr(text.p, 0, text.n))
			return fail(r, text.p, "must not contain U+0000");
		memcpy(to, text.p, text.n);
	}
	to[text.n] = 0;
	r->texts = to + text.n + 1;
	memcpy(slot, &to, sizeof(to));
	return true;
}

static void read_bytes(struct reader *r, struct str bytes, void *slot)
{
	ProtobufCBinaryData out = {bytes.n, bytes.n ? (uint8_t *)r->texts : NULL};

	if (bytes.n)
		memcpy(r->texts, bytes.p, bytes.n);
	r->texts += bytes.n;
	memcpy(slot, &out, sizeof(out));
}

static ProtobufCMessage *read_message(
	struct reader *r, const struct pb_msg *m, struct str bytes, unsigned depth);

/* A field of a map entry that was left out has its default value. */
static bool fill(ProtobufCMessage *entry, const struct pb_field *f, struct arena *a)
{
	void *p;

	if (pb_is_pointer(f) && !pb_pointer(pb_peek(entry, f->offset))) {
		p = f->type == PB_STRING ? (void *)arena_str(a, STR(""))
					 : (void *)pb_new(f->msg, a);
		if (!p)
			return false;
		memcpy(pb_slot(entry, f->offset), &p, sizeof(p));
	}
	pb_mark(entry, f);
	return true;
}

static ProtobufCMessage *read_entry(
	struct reader *r, const struct pb_field *f, struct str bytes, unsigned depth)
{
	ProtobufCMessage *entry = read_message(r, f->msg, bytes, depth);

	if (!entry)
		return NULL;
	if (!fill(entry, &f->msg->fields[0], r->a) || !fill(entry, &f->msg->fields[1], r->a)) {
		no_memory(r, bytes.p);
		return NULL;
	}
	return entry;
}

/* Entries begin with their key and mostly end with their value: both ends tell them apart
 * well enough, for what is only a hint. */
static uint32_t memo_slot(const struct reader *r, struct str bytes)
{
	uint64_t head = 0, tail = 0;
	size_t n = bytes.n < sizeof(head) ? bytes.n : sizeof(head);

	/* tag and length of the key say less than the key */
	memcpy(&head, bytes.p + (bytes.n >= 2 * sizeof(head) ? 3 : 0), n);
	memcpy(&tail, bytes.p + bytes.n - n, n);
	head = (head * 0x9e3779b97f4a7c15u ^ tail ^ bytes.n) * 0xff51afd7ed558ccdu;
	return (uint32_t)(head >> 32) & r->memo_mask;
}

/* An entry of a map: the one before with the same bytes. */
static ProtobufCMessage *share_entry(
	struct reader *r, const struct pb_field *f, struct str bytes, unsigned depth)
{
	struct memo *at;

	if (!r->memo || bytes.n == 0 || bytes.n > MEMO_BYTES)
		return read_entry(r, f, bytes, depth);
	at = &r->memo[memo_slot(r, bytes)];
	/* what was read further up may be too deep here */
	if (at->f == f && depth <= at->depth && str_eq(at->bytes, bytes))
		return at->entry;
	*at = (struct memo){f, bytes, read_entry(r, f, bytes, depth), depth};
	return at->entry;
}

static bool read_single(struct reader *r, const struct pb_field *f, const struct item *it,
	void *slot, unsigned depth)
{
	ProtobufCMessage *child;

	switch (f->type) {
	case PB_STRING:
		return read_string(r, it->bytes, slot);
	case PB_BYTES:
		read_bytes(r, it->bytes, slot);
		return true;
	case PB_MESSAGE:
		child = f->label == PB_MAP ? share_entry(r, f, it->bytes, depth + 1)
					   : read_message(r, f->msg, it->bytes, depth + 1);
		memcpy(slot, &child, sizeof(child));
		return child != NULL;
	default:
		put_number(f, it->value, slot);
		return true;
	}
}

static bool read_value(struct reader *r, ProtobufCMessage *msg, const struct pb_field *f,
	const struct item *it, const char *at, unsigned depth)
{
	void *slot;

	if (it->wire != wire_of(f)) {
		if (f->label == PB_REPEATED && it->wire == WIRE_BYTES)
			return read_packed(r, msg, f, it->bytes);
		return fail(r, at, "has the wrong wire type");
	}
	slot = pb_is_list(f) ? list_end(r, msg, f, 1) : pb_slot(msg, f->offset);
	if (!slot)
		return no_memory(r, at);
	if (!read_single(r, f, it, slot, depth))
		return false;
	if (pb_is_list(f))
		list_grown(msg, f, 1);
	else
		pb_mark(msg, f);
	return true;
}

/* Two occurrences would have to be merged, in quadratic time for lists; no encoder writes
 * them. */
static bool first_time(struct frame *fr, const struct pb_msg *m)
{
	size_t i = (size_t)(fr->f - m->fields);
	uint64_t bit = (uint64_t)1 << i % 64;

	if (pb_is_list(fr->f) || fr->f->type != PB_MESSAGE)
		return true;
	if (i / 64 >= sizeof(fr->seen) / sizeof(fr->seen[0]) || fr->seen[i / 64] & bit)
		return false;
	fr->seen[i / 64] |= bit;
	return true;
}

static bool read_field(struct reader *r, const struct pb_msg *m, ProtobufCMessage *msg,
	struct frame *fr, const char **p, const char *end, unsigned depth)
{
	const char *why;
	struct item it = {.value = 0}; /* gcc 14 takes it for unset otherwise */
	bool ok;

	fr->here = *p;
	why = take_item(p, end, &it);
	if (why)
		return fail(r, fr->here, why);
	/* mostly the same as before, in a list, or the next one */
	if (fr->f && fr->f->number != it.number && fr->f + 1 < m->fields + m->n_fields)
		fr->f++;
	if (!fr->f || fr->f->number != it.number)
		fr->f = pb_field_find(m, it.number);
	/* unknown: its framing was checked, its content is not kept */
	if (!fr->f)
		return true;
	r->frame = fr;
	fr->maps |= fr->f->label == PB_MAP;
	if (!first_time(fr, m))
		return fail(r, fr->here, "is given twice");
	ok = read_value(r, msg, fr->f, &it, fr->here, depth);
	r->frame = fr->up;
	return ok;
}

static struct str key_of(const ProtobufCMessage *entry, const struct pb_field *kf)
{
	const void *slot = pb_peek(entry, kf->offset);

	if (kf->type == PB_STRING)
		return str_of(pb_pointer(slot));
	return (struct str){slot, pb_elem_size(kf)};
}

/* Of entries with the same key the last stays, in the order of last writing. */
static bool drop_repeats(
	ProtobufCMessage **entries, size_t *n, const struct pb_field *kf, struct arena *a)
{
	struct str few[KEYSET_FEW];
	struct keyset keys;
	size_t kept = *n;

	keyset_init(&keys, a);
	keys.few = few; /* this does not recurse, so they may lie on the stack */
	for (size_t i = *n; i-- > 0;) {
		enum keyset_found k = keyset_add(&keys, key_of(entries[i], kf));

		if (k == KEYSET_MEMORY)
			return false;
		if (k == KEYSET_NEW)
			entries[--kept] = entries[i];
	}
	*n -= kept;
	if (kept > 0)
		memmove(entries, entries + kept, *n * sizeof(ProtobufCMessage *));
	return true;
}

static bool complete_map(ProtobufCMessage *msg, const struct pb_field *f, struct arena *a)
{
	ProtobufCMessage **entries = pb_pointer(pb_peek(msg, f->offset));
	const struct pb_field *kf = &f->msg->fields[0];
	size_t n = pb_count(msg, f);

	if (n > 1 && !drop_repeats(entries, &n, kf, a))
		return false;
	memcpy(pb_slot(msg, f->quantifier), &n, sizeof(n));
	return true;
}

static bool complete_maps(ProtobufCMessage *msg, const struct pb_msg *m, struct arena *a)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (m->fields[i].label == PB_MAP && !complete_map(msg, &m->fields[i], a))
			return false;
	return true;
}

/* NULL with r->err. Levels are messages; an entry of a map is one. */
static ProtobufCMessage *read_message(
	struct reader *r, const struct pb_msg *m, struct str bytes, unsigned depth)
{
	struct frame fr = {.up = r->frame, .start = bytes.p};
	const char *p = bytes.p, *end = bytes.p + bytes.n;
	ProtobufCMessage *msg;

	if (depth > PB_MAX_DEPTH) {
		fail(r, p, "is nested too deep");
		return NULL;
	}
	msg = pb_new(m, r->a);
	if (!msg) {
		no_memory(r, p);
		return NULL;
	}
	while (p < end)
		if (!read_field(r, m, msg, &fr, &p, end, depth))
			return NULL;
	if (fr.maps && !complete_maps(msg, m, r->a)) {
		no_memory(r, bytes.p);
		return NULL;
	}
	return msg;
}

int pb_unpack(const struct pb_msg *m, struct str bytes, struct arena *a, ProtobufCMessage **out,
	struct wire_error *err)
{
	struct reader r = {.start = bytes.n ? bytes.p : "", .a = a, .err = err};

	r.texts = arena_alloc(a, bytes.n + 1);
	if (!r.texts) {
		no_memory(&r, r.start);
		return -1;
	}
	if (bytes.n >= MEMO_WORTH) {
		while (r.memo_mask + 1 < MEMO_MAX && (r.memo_mask + 1) * MEMO_SHARE < bytes.n)
			r.memo_mask = r.memo_mask * 2 + 1;
		r.memo = arena_array(a, r.memo_mask + 1, sizeof(*r.memo));
		if (!r.memo) {
			no_memory(&r, r.start);
			return -1;
		}
	}
	*out = read_message(&r, m, (struct str){r.start, bytes.n}, 1);
	return *out ? 0 : -1;
}

void pb_pack(const ProtobufCMessage *msg, struct buf *out)
{
	size_t n = protobuf_c_message_get_packed_size(msg);

	if (n == 0 || !buf_room(out, n))
		return;
	out->n += protobuf_c_message_pack(msg, (uint8_t *)out->p + out->n);
}
