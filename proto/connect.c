/*
 * Values of the Connect protocol. Header values follow HTTP: names of types and
 * codings in any letter case, optional white space, parameters after ';'.
 */
#include "proto/connect.h"

#include "proto/base64.h"
#include "proto/json.h"

static const struct {
	const char *name;
	struct connect_media media;
} medias[] = {
	{"application/json", {CONNECT_JSON, false}},
	{"application/proto", {CONNECT_PROTO, false}},
	{"application/connect+json", {CONNECT_JSON, true}},
	{"application/connect+proto", {CONNECT_PROTO, true}},
};

enum { N_MEDIAS = sizeof(medias) / sizeof(medias[0]) };

/* The part before the next separator, trimmed; s becomes the rest. */
static struct str take_part(struct str *s, char separator)
{
	long at = str_find(*s, separator);
	struct str part = {s->p, at < 0 ? s->n : (size_t)at};
	size_t used = part.n + (at >= 0);

	/* A header that is absent has no bytes to point to. */
	if (used > 0)
		s->p += used;
	s->n -= used;
	return str_trim(part);
}

static struct str unquote(struct str s)
{
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		return (struct str){s.p + 1, s.n - 2};
	return s;
}

/* No other charset exists for JSON, and protobuf has none. */
static bool parameters_ok(struct str rest)
{
	while (rest.n > 0) {
		struct str value = take_part(&rest, ';');
		struct str name = take_part(&value, '=');

		if (str_case_eq(name, STR("charset")) &&
			!str_case_eq(unquote(str_trim(value)), STR("utf-8")))
			return false;
	}
	return true;
}

bool connect_media_parse(struct str content_type, struct connect_media *out)
{
	struct str rest = content_type;
	struct str type = take_part(&rest, ';');

	for (size_t i = 0; i < N_MEDIAS; i++) {
		if (!str_case_eq(type, str_of(medias[i].name)))
			continue;
		*out = medias[i].media;
		return parameters_ok(rest);
	}
	return false;
}

const char *connect_media_name(struct connect_media media)
{
	for (size_t i = 0; i < N_MEDIAS; i++)
		if (medias[i].media.codec == media.codec && medias[i].media.stream == media.stream)
			return medias[i].name;
	return medias[0].name;
}

bool connect_timeout_parse(struct str header, uint64_t *ms)
{
	return header.n <= 10 && str_u64(header, ms);
}

/* One coding at most: "gzip, gzip" is unknown, so nobody can have a body inflated twice. */
enum connect_coding connect_coding_parse(struct str header)
{
	struct str name = str_trim(header);

	if (name.n == 0 || str_case_eq(name, STR("identity")))
		return CONNECT_IDENTITY;
	return str_case_eq(name, STR("gzip")) ? CONNECT_GZIP : CONNECT_UNKNOWN_CODING;
}

/* "q=0", "q=0.000": not acceptable. */
static bool is_refused(struct str parameters)
{
	while (parameters.n > 0) {
		struct str value = take_part(&parameters, ';');
		struct str name = take_part(&value, '=');
		bool zero = value.n > 0;

		if (!str_case_eq(name, STR("q")))
			continue;
		for (size_t i = 0; i < value.n; i++)
			zero = zero && (value.p[i] == '0' || value.p[i] == '.');
		return zero;
	}
	return false;
}

/* What is said of gzip counts, wherever it stands; "*" counts where nothing is (RFC 9110,
 * 12.5.3). */
bool connect_accepts_gzip(struct str header)
{
	bool any = false;

	while (header.n > 0) {
		struct str rest = take_part(&header, ',');
		struct str name = take_part(&rest, ';');

		if (str_case_eq(name, STR("gzip")))
			return !is_refused(rest);
		if (str_eq(name, STR("*")))
			any = !is_refused(rest);
	}
	return any;
}

struct str connect_percent_decode(struct str s, struct arena *a)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; out && i < s.n; i++) {
		int high, low;

		if (s.p[i] != '%') {
			out[n++] = s.p[i] == '+' ? ' ' : s.p[i];
			continue;
		}
		high = i + 2 < s.n ? str_hex_digit(s.p[i + 1]) : -1;
		low = i + 2 < s.n ? str_hex_digit(s.p[i + 2]) : -1;
		if (high < 0 || low < 0)
			return (struct str){NULL, 0};
		out[n++] = (char)(high << 4 | low);
		i += 2;
	}
	return (struct str){out, n};
}

/* The parameters of a GET, raw; p is NULL for those that are absent. */
struct get_query {
	struct str message, encoding, base64, compression, connect;
};

/* The first of several counts, unknown ones are ignored. */
static void split_query(struct str query, struct get_query *q)
{
	struct {
		struct str name;
		struct str *value;
	} known[] = {
		{STR("message"), &q->message},
		{STR("encoding"), &q->encoding},
		{STR("base64"), &q->base64},
		{STR("compression"), &q->compression},
		{STR("connect"), &q->connect},
	};

	while (query.n > 0) {
		struct str value = take_part(&query, '&');
		struct str name = take_part(&value, '=');

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (str_eq(name, known[i].name) && !known[i].value->p)
				*known[i].value = value;
	}
}

/* A value of base64 other than 1 is ignored, as the protocol has it (connect-protocol.md
 * 3.1). */
static enum connect_get_error decode_message(
	const struct get_query *q, struct arena *a, struct connect_get *out, const char **why)
{
	size_t room;
	uint8_t *bytes;

	out->message = connect_percent_decode(q->message, a);
	*why = "the message parameter is not percent-encoded correctly";
	if (!out->message.p)
		return a->over ? CONNECT_GET_MEMORY : CONNECT_GET_BAD;
	if (!str_eq(q->base64, STR("1")))
		return CONNECT_GET_OK;
	room = base64_decoded_max(out->message.n);
	bytes = arena_alloc(a, room);
	if (!bytes)
		return CONNECT_GET_MEMORY;
	*why = "the message parameter is not base64";
	if (!base64_decode(out->message, bytes, &out->message.n))
		return CONNECT_GET_BAD;
	out->message.p = (const char *)bytes;
	return CONNECT_GET_OK;
}

/* *why is set ahead of each question, and counts with CONNECT_GET_BAD only. */
enum connect_get_error connect_get_parse(
	struct str query, struct arena *a, struct connect_get *out, const char **why)
{
	struct get_query q = {0};

	*out = (struct connect_get){0};
	split_query(query, &q);
	*why = "the connect parameter must be v1";
	if (q.connect.p && !str_eq(q.connect, STR("v1")))
		return CONNECT_GET_BAD;
	out->version = q.connect.p != NULL;
	*why = "the encoding parameter is missing";
	if (!q.encoding.p)
		return CONNECT_GET_BAD;
	*why = "the message parameter is missing";
	if (!q.message.p)
		return CONNECT_GET_BAD;
	out->codec = str_eq(q.encoding, STR("json"))    ? CONNECT_JSON
		     : str_eq(q.encoding, STR("proto")) ? CONNECT_PROTO
							: CONNECT_NO_CODEC;
	if (out->codec == CONNECT_NO_CODEC)
		return CONNECT_GET_ENCODING;
	out->coding = connect_coding_parse(q.compression);
	if (out->coding == CONNECT_UNKNOWN_CODING)
		return CONNECT_GET_CODING;
	return decode_message(&q, a, out, why);
}

/* Four bytes of length are enough: messages lie in a call's arena, and call_memory is 1 GiB at
 * most. */
void connect_envelope(struct buf *out, uint8_t flags, struct str message)
{
	uint8_t head[5] = {flags, (uint8_t)(message.n >> 24), (uint8_t)(message.n >> 16),
		(uint8_t)(message.n >> 8), (uint8_t)message.n};

	buf_add(out, head, sizeof(head));
	buf_str(out, message);
}

/* The length is the client's: compared with what is there, never allocated. The flags are for
 * the caller to judge. */
bool connect_envelope_take(struct str *in, uint8_t *flags, struct str *message)
{
	const uint8_t *p = (const uint8_t *)in->p;
	size_t n;

	if (in->n < 5)
		return false;
	n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
	if (n > in->n - 5)
		return false;
	*flags = p[0];
	*message = (struct str){in->p + 5, n};
	in->p += 5 + n;
	in->n -= 5 + n;
	return true;
}

/* `code` is a name of ours and needs no escaping; the message may quote a client. */
void connect_error_begin(
	struct connect_error *e, struct buf *out, const char *code, struct str message)
{
	*e = (struct connect_error){.out = out};
	buf_z(out, "{\"code\":\"");
	buf_z(out, code);
	buf_z(out, "\",\"message\":");
	json_write_string(out, message);
}

/* The bare name of the type, the standard alphabet, no padding: the conformance suite takes
 * nothing else (connect-protocol.md 3.4, 20). `debug` may be left out. */
void connect_error_detail(struct connect_error *e, const char *type, struct str value)
{
	size_t n = base64_encoded_len(value.n, false);

	buf_z(e->out, e->n++ == 0 ? ",\"details\":[{\"type\":" : ",{\"type\":");
	json_write_string(e->out, str_of(type));
	buf_z(e->out, ",\"value\":\"");
	if (buf_room(e->out, n + 1))
		e->out->n += base64_encode(value.p, value.n, false, e->out->p + e->out->n);
	buf_z(e->out, "\"}");
}

void connect_error_end(struct connect_error *e)
{
	buf_z(e->out, e->n > 0 ? "]}" : "}");
}
