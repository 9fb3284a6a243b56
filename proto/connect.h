/*
 * The Connect protocol's own values: content types, codings, timeouts, GET
 * queries, envelopes, errors. Pure functions over text and bytes; what to
 * answer when one is wrong is decided in worker/call.
 */
#ifndef PROTO_CONNECT_H
#define PROTO_CONNECT_H

#include "shm/base/arena.h"

enum connect_codec { CONNECT_NO_CODEC, CONNECT_PROTO, CONNECT_JSON };
enum connect_coding { CONNECT_IDENTITY, CONNECT_GZIP, CONNECT_UNKNOWN_CODING };

/* For the error that an unknown coding gets: what we do support. */
#define CONNECT_CODINGS "gzip, identity"

struct connect_media {
	enum connect_codec codec;
	bool stream; /* application/connect+...: enveloped messages */
};

/* False when it is no Connect content type (415). JSON may say charset=utf-8. */
bool connect_media_parse(struct str content_type, struct connect_media *out);
const char *connect_media_name(struct connect_media media);
/* Connect-Timeout-Ms: at most ten digits. */
bool connect_timeout_parse(struct str header, uint64_t *ms);
/* Content-Encoding, or Connect's stream header; absent is identity. */
enum connect_coding connect_coding_parse(struct str header);
/* Whether a reply may be gzip by Accept-Encoding. */
bool connect_accepts_gzip(struct str header);

struct connect_get {
	struct str message; /* still compressed, if coding says so */
	enum connect_codec codec;
	enum connect_coding coding;
	bool version; /* connect=v1 was sent */
};

enum connect_get_error {
	CONNECT_GET_OK,
	CONNECT_GET_BAD,      /* *why says what is wrong: invalid_argument */
	CONNECT_GET_ENCODING, /* unknown codec: 415 */
	CONNECT_GET_CODING,   /* unknown compression: unimplemented */
	CONNECT_GET_MEMORY
};

/* Reads a GET's raw query. The message lies in the arena. */
enum connect_get_error connect_get_parse(
	struct str query, struct arena *a, struct connect_get *out, const char **why);
/* %XX and '+' undone into the arena; {NULL, 0} when malformed or beyond the cap. */
struct str connect_percent_decode(struct str s, struct arena *a);

enum connect_inflated {
	CONNECT_INFLATED,
	CONNECT_INFLATE_BAD,   /* not gzip, cut off, or followed by something else */
	CONNECT_INFLATE_LARGE, /* more than limit */
	CONNECT_INFLATE_MEMORY
};

/* Never holds more than limit bytes and a little, whatever the input claims. An
 * empty body is an empty message and is not inflated. */
enum connect_inflated connect_gunzip(struct str in, size_t limit, struct arena *a, struct str *out);
/* Appends in as gzip; false when out->over or zlib has no memory. */
bool connect_gzip(struct str in, struct buf *out);

enum { CONNECT_FLAG_COMPRESSED = 1, CONNECT_FLAG_END = 2, CONNECT_ENVELOPE_HEAD = 5 };

/* Appends one enveloped message of a stream. */
void connect_envelope(struct buf *out, uint8_t flags, struct str message);
/* Takes one off the front; false when it is incomplete. */
bool connect_envelope_take(struct str *in, uint8_t *flags, struct str *message);

/* {"code":...,"message":...,"details":[{"type":...,"value":...}]}: begin, then
 * each detail, then end. */
struct connect_error {
	struct buf *out;
	unsigned n; /* details so far */
};

void connect_error_begin(
	struct connect_error *e, struct buf *out, const char *code, struct str message);
void connect_error_detail(struct connect_error *e, const char *type, struct str value);
void connect_error_end(struct connect_error *e);

#endif
