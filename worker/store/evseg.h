/*
 * A segment: up to 65 536 events of one project, column-wise. This file knows
 * the level 0 container (one blob per project and group commit); at level 1 the
 * same parts are rows of segment_column, each with a checksum of its own, and
 * everything above sees only struct evseg.
 *
 * Blob, little-endian:
 *   0  "PUGS"
 *   4  u8 version (1), u8 level (0), u16 zero
 *   8  u32 CRC-32C of everything from byte 12 on
 *   12 u32 number of events
 *   16 u32 bytes of the directory
 *   20 directory: varint n_parts, then per part: u8 kind; for properties u8
 *      scope, varint length and bytes of the key; varint raw length; varint
 *      stored length (equal: not compressed)
 *   .. the parts in that order, each LZ4 or raw
 */
#ifndef STORE_EVSEG_H
#define STORE_EVSEG_H

#include "worker/store/bytes.h"
#include "worker/store/column.h"
#include "worker/store/event.h"

enum {
	EVSEG_EVENTS_MAX = 65536,
	/* Columns of properties; more share PART_OVERFLOW. All that a project's catalogue has
	 * (worker/ingest/catalog.c), so that whatever of it comes together has room. */
	EVSEG_KEYS_MAX = 10240,
	EVSEG_PART_MAX = 16 << 20, /* bytes of one part, unpacked */
	EVSEG_BLOB_MAX = 64 << 20
};

enum part_kind {
	PART_ID = 1,   /* 16 bytes an event */
	PART_TIME = 2, /* i64 base, u8 width (4 or 8), deltas */
	PART_KIND = 3, /* column.h from here on */
	PART_DISTINCT = 4,
	PART_SESSION = 5,
	PART_COOKIELESS = 6,
	PART_PROP = 7,
	PART_OVERFLOW = 8, /* varint count, then (varint row, u8 scope, key, value) each */
	PART_NUMBER = 9,   /* level 1 only, numbers.h: u8 width, then a number an event */
	PART_TIES = 10,    /* level 1 only, ties.h: ids of a few events */
	PART_KINDS
};

struct evseg_part {
	enum part_kind kind;
	enum prop_scope scope;
	struct str key;
	uint32_t raw_n;
	struct str stored;
};

struct evseg {
	uint32_t n;
	const struct evseg_part *parts;
	uint32_t n_parts;
	/* One byte per event, 1 = not there (the id was already stored); or NULL. */
	const uint8_t *masked;
	int64_t id;   /* level 1: of its row; else 0 */
	bool partial; /* not all its parts were read */
	/* What the segment's row says instead of a part that was not read. */
	struct str kind; /* of all its events; empty: of several */
	bool flat;       /* for the reader, all its events are at flat_ms */
	int64_t flat_ms;
};

/* Checks container, checksum and directory; `blob` must outlive the segment.
 * False when malformed or the arena is full (a->over tells which). */
bool evseg_open(struct evseg *s, struct str blob, struct arena *a);
/* Sets the mask from positions; false when one is out of range. */
bool evseg_mask(struct evseg *s, const int32_t *refused, uint32_t n, struct arena *a);
/* Level 1: packs raw bytes (at most EVSEG_PART_MAX) into part->raw_n and part->stored, which
 * is in `a`. False at an arena's cap. */
bool evseg_pack(struct evseg_part *part, struct str raw, struct arena *a, struct arena *scratch);
/* Level 1: CRC-32C over the segment's id, kind, scope, key, raw_n and the stored bytes. */
uint32_t evseg_part_crc(const struct evseg_part *part, int64_t id);
/* Level 1: a segment of n events; checks number, bounds and checksums (crcs[i] is that of
 * parts[i]; NULL: whoever unpacked them has looked). What parts refer to must outlive it. False
 * when malformed. */
bool evseg_of_parts(struct evseg *s, int64_t id, uint32_t n, const struct evseg_part *parts,
	uint32_t n_parts, const int32_t *crcs);
/* NULL when the segment has no such part. scope and key matter for PART_PROP. */
const struct evseg_part *evseg_find(
	const struct evseg *s, enum part_kind kind, enum prop_scope scope, struct str key);
/* The unpacked bytes; false when malformed or the arena is full. */
bool evseg_unpack(const struct evseg_part *part, struct arena *a, struct str *raw);
/* Unpacks and decodes a column part. */
bool evseg_column(
	const struct evseg *s, const struct evseg_part *part, struct arena *a, struct column *c);
/* The same of a part of sessions, without values (column_decode_uuids()). */
bool evseg_uuids(
	const struct evseg *s, const struct evseg_part *part, struct arena *a, struct column *c);
/* The kinds that its events have, in the order of their dictionary. False as above. */
bool evseg_kinds(const struct evseg *s, struct arena *a, struct str **kinds, uint32_t *n);
/* s->n times in ms. */
bool evseg_times(const struct evseg *s, struct arena *a, const int64_t **times);
/* s->n ids of 16 bytes. */
bool evseg_ids(const struct evseg *s, struct arena *a, const uint8_t **ids);
/* Goes through the entries of an overflow part, which are in the order of their rows. */
struct evseg_overflow {
	struct bytes b;
	uint32_t left; /* entries not read yet */
	bool pending;  /* the one that was read last is of a row that was not asked for */
	uint32_t row;
	struct prop prop;
};

/* Where the entries of a row are in the part, and how many. */
struct evseg_spilled {
	uint32_t at, n;
};

/* False when malformed. */
bool evseg_overflow_open(struct evseg_overflow *o, struct str raw);
/* Of all rows, for whoever reads them in any order. False when malformed or the arena is full. */
bool evseg_overflow_index(
	const struct evseg *s, struct str raw, struct arena *a, const struct evseg_spilled **of);
/* Behind this only evseg_overflow_next() of that row makes sense. */
void evseg_overflow_at(struct evseg_overflow *o, struct str raw, const struct evseg_spilled *at);
/* The next entry of a row, which may not lie before the one asked for last: 1, 0 when there is none
 * (left), -1 when malformed. */
int evseg_overflow_next(
	const struct evseg *s, struct evseg_overflow *o, uint32_t row, struct prop *out);

#endif
