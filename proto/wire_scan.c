/*
 * Scanning messages before protobuf-c unpacks them. The scan knows framing,
 * UTF-8, NUL and depth from our tables, and adds up what unpacking will
 * allocate, so that a small request cannot become a large tree.
 */
#include "proto/wire_scan.h"

#include <stdio.h>

#include "proto/access.h"
#include "proto/keyset.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* What protobuf-c allocates: our arena rounds each piece up to 16; while it
 * decodes a message it keeps notes about the fields, the first few on the stack
 * and then in slabs that double. */
enum { PIECE = 16, NOTE = 40, FREE_NOTES = 16, UNKNOWN = 32 };

struct frame {
	const struct frame *up;
	const struct pb_field *f;
	const char *start, *here; /* of the message around f, and of f in it */
	uint64_t seen[4];         /* singular messages, by index of the field */
};

struct scan {
	const char *start;
	size_t need, limit;
	const struct frame *frame;
	struct wire_error *err;
};

/* One field as it lies on the wire. */
struct item {
	uint32_t number;
	unsigned wire;
	uint64_t value;   /* WIRE_VARINT */
	struct str bytes; /* WIRE_BYTES */
};

/* Numbers take ten bytes at most; protobuf-c allows tags and lengths five. */
enum { LONG = 10, SHORT = 5 };

static bool take_varint(const char **p, const char *end, unsigned most, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 7 * most; shift += 7) {
		uint8_t c;

		if (*p == end)
			return false;
		c = (uint8_t) * *p;
		++*p;
		if (shift == 63 && c > 1)
			return false;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*out = v;
			return true;
		}
	}
	return false;
}

static bool take_length(const char **p, const char *end, struct str *out)
{
	uint64_t n;

	if (!take_varint(p, end, SHORT, &n) || n > (uint64_t)(end - *p))
		return false;
	*out = (struct str){*p, (size_t)n};
	*p += n;
	return true;
}

static bool take_fixed(const char **p, const char *end, size_t n)
{
	if ((size_t)(end - *p) < n)
		return false;
	*p += n;
	return true;
}

/* NULL, or why the bytes at *p are not a field. */
static const char *take_item(const char **p, const char *end, struct item *it)
{
	uint64_t tag;
	bool ok;

	if (!take_varint(p, end, SHORT, &tag) || tag > UINT32_MAX)
		return "has a malformed tag";
	it->number = (uint32_t)(tag >> 3);
	it->wire = tag & 7;
	if (it->number == 0)
		return "has a field with number 0";
	switch (it->wire) {
	case WIRE_VARINT:
		ok = take_varint(p, end, LONG, &it->value);
		break;
	case WIRE_BYTES:
		ok = take_length(p, end, &it->bytes);
		break;
	case WIRE_64:
		ok = take_fixed(p, end, 8);
		break;
	case WIRE_32:
		ok = take_fixed(p, end, 4);
		break;
	default:
		return "has a field of an unsupported wire type";
	}
	return ok ? NULL : "is cut off or malformed";
}

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

static bool fail(struct scan *s, const char *at, const char *why)
{
	s->err->memory = false;
	s->err->offset = (size_t)(at - s->start);
	s->err->path[0] = 0;
	if (s->frame)
		path_text(s->frame, s->err->path, sizeof(s->err->path));
	snprintf(s->err->reason, sizeof(s->err->reason), "%s", why);
	return false;
}

static bool charge(struct scan *s, const char *at, size_t n)
{
	s->need += (n + PIECE - 1) / PIECE * PIECE;
	if (s->need <= s->limit)
		return true;
	fail(s, at, "takes too much memory");
	s->err->memory = true;
	return false;
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

static bool scan_packed(struct scan *s, const struct pb_field *f, struct str bytes)
{
	size_t n;

	if (!packed_count(f, bytes, &n))
		return fail(s, bytes.p, "is a malformed list of numbers");
	return charge(s, bytes.p, n * pb_elem_size(f));
}

static bool scan_string(struct scan *s, struct str text)
{
	if (!str_utf8_ok(text))
		return fail(s, text.p, "is not valid UTF-8");
	/* C ends a string there and would hide the rest. */
	if (text.n > 0 && memchr(text.p, 0, text.n))
		return fail(s, text.p, "must not contain U+0000");
	return charge(s, text.p, text.n + 1);
}

static bool scan_message(struct scan *s, const struct pb_msg *m, struct str bytes, unsigned depth);

static bool scan_value(struct scan *s, const struct pb_field *f, const struct item *it,
	const char *at, unsigned depth)
{
	/* Elements of a list lie in an array, beside what they point to. */
	if (pb_is_list(f) && it->wire == wire_of(f) && !charge(s, at, pb_elem_size(f)))
		return false;
	if (it->wire != wire_of(f)) {
		if (f->label == PB_REPEATED && it->wire == WIRE_BYTES)
			return scan_packed(s, f, it->bytes);
		return fail(s, at, "has the wrong wire type");
	}
	if (f->type == PB_STRING)
		return scan_string(s, it->bytes);
	if (f->type == PB_BYTES)
		return charge(s, at, it->bytes.n);
	if (f->type == PB_MESSAGE)
		return scan_message(s, f->msg, it->bytes, depth + 1);
	return true;
}

/* Two occurrences would be merged, which protobuf-c 1.4.1 does wrongly for
 * google's types, and in quadratic time for lists. No encoder writes them. */
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

static bool scan_field(struct scan *s, const struct pb_msg *m, struct frame *fr, const char **p,
	const char *end, unsigned depth)
{
	const char *why;
	struct item it;
	bool ok;

	fr->here = *p;
	why = take_item(p, end, &it);
	if (why)
		return fail(s, fr->here, why);
	if (!fr->f || fr->f->number != it.number)
		fr->f = pb_field_find(m, it.number);
	if (!fr->f)
		return charge(s, fr->here,
			UNKNOWN + (it.wire == WIRE_BYTES ? it.bytes.n + PIECE : PIECE));
	s->frame = fr;
	if (!first_time(fr, m))
		return fail(s, fr->here, "is given twice");
	ok = scan_value(s, fr->f, &it, fr->here, depth);
	s->frame = fr->up;
	return ok;
}

static bool scan_message(struct scan *s, const struct pb_msg *m, struct str bytes, unsigned depth)
{
	struct frame fr = {.up = s->frame, .start = bytes.p};
	const char *p = bytes.p, *end = bytes.p + bytes.n;
	size_t n = 0, slab = FREE_NOTES, full = FREE_NOTES;

	if (depth > PB_MAX_DEPTH)
		return fail(s, p, "is nested too deep");
	if (!charge(s, p, m->pc->sizeof_message))
		return false;
	for (; p < end; n++) {
		if (n == full) {
			slab *= 2;
			full += slab;
			if (!charge(s, p, slab * NOTE))
				return false;
		}
		if (!scan_field(s, m, &fr, &p, end, depth))
			return false;
	}
	return true;
}

int wire_scan(const struct pb_msg *m, struct str bytes, size_t limit, size_t *need,
	struct wire_error *err)
{
	struct scan s = {.start = bytes.n ? bytes.p : "", .limit = limit, .err = err};
	bool ok = scan_message(&s, m, (struct str){s.start, bytes.n}, 1);

	*need = s.need;
	return ok ? 0 : -1;
}

static void *arena_take(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void arena_give(void *arena, void *p)
{
	(void)arena; /* all of it goes with the call */
	(void)p;
}

static bool complete(ProtobufCMessage *msg, const struct pb_msg *m, struct arena *a);

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
	const struct pb_field *kf = &f->msg->fields[0], *vf = &f->msg->fields[1];
	size_t n = pb_count(msg, f);

	for (size_t i = 0; i < n; i++)
		if (!fill(entries[i], kf, a) || !fill(entries[i], vf, a))
			return false;
	if (n > 1 && !drop_repeats(entries, &n, kf, a))
		return false;
	memcpy(pb_slot(msg, f->quantifier), &n, sizeof(n));
	for (size_t i = 0; vf->type == PB_MESSAGE && i < n; i++)
		if (!complete(pb_pointer(pb_peek(entries[i], vf->offset)), vf->msg, a))
			return false;
	return true;
}

static bool complete_field(ProtobufCMessage *msg, const struct pb_field *f, struct arena *a)
{
	if (f->label == PB_MAP)
		return complete_map(msg, f, a);
	if (f->type != PB_MESSAGE)
		return true;
	if (f->label == PB_REPEATED) {
		for (size_t i = 0; i < pb_count(msg, f); i++)
			if (!complete(pb_pointer(pb_item(msg, f, i)), f->msg, a))
				return false;
		return true;
	}
	return !pb_present(msg, f) || complete(pb_pointer(pb_peek(msg, f->offset)), f->msg, a);
}

static bool complete(ProtobufCMessage *msg, const struct pb_msg *m, struct arena *a)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (!complete_field(msg, &m->fields[i], a))
			return false;
	return true;
}

int pb_unpack(const struct pb_msg *m, struct str bytes, struct arena *a, ProtobufCMessage **out,
	struct wire_error *err)
{
	ProtobufCAllocator alloc = {.alloc = arena_take, .free = arena_give, .allocator_data = a};
	struct scan s = {.start = bytes.p, .err = err};
	size_t room = a->cap > a->used ? a->cap - a->used : 0, need;
	ProtobufCMessage *msg;

	if (wire_scan(m, bytes, room, &need, err) < 0)
		return -1;
	msg = protobuf_c_message_unpack(m->pc, &alloc, bytes.n, (const uint8_t *)bytes.p);
	if (msg && complete(msg, m, a)) {
		*out = msg;
		return 0;
	}
	fail(&s, s.start, a->over ? "takes too much memory" : "cannot be decoded");
	err->memory = a->over;
	return -1;
}

void pb_pack(const ProtobufCMessage *msg, struct buf *out)
{
	size_t n = protobuf_c_message_get_packed_size(msg);

	if (n == 0 || !buf_room(out, n))
		return;
	out->n += protobuf_c_message_pack(msg, (uint8_t *)out->p + out->n);
}
