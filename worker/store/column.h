/*
 * One column of a segment, the unit that is compressed and checked: a
 * dictionary of typed values and a code per event, dense or sparse. The same
 * bytes are stored at both levels, so that the decoder exists once.
 *
 * Body: varint n_entries; the entries (type byte, then for strings varint
 * length + bytes, int and time zigzag varint, double 8 bytes, bool 1 byte,
 * UUID 16 bytes); layout byte (0 dense, 1 sparse); width byte (1, 2 or 4);
 * sparse only: varint n_present and that many row deltas; then the codes,
 * little-endian. Code 0 is "missing", code k is entry k - 1. Sparse columns
 * hold no code 0.
 */
#ifndef STORE_COLUMN_H
#define STORE_COLUMN_H

#include "worker/store/value.h"

struct bytes;

enum { COLUMN_UUID = 17 }; /* bytes of an entry that is one */

struct column {
	uint32_t n_rows;
	uint32_t n_entries;
	struct value *entries; /* strings point into the decoded bytes */
	const char *uuids;     /* column_decode_uuids(): see there */
	bool sparse;
	uint32_t n_present;   /* codes stored: n_rows when dense */
	const uint32_t *rows; /* sparse: ascending */
	const uint32_t *codes;
};

/* Reads a body. False when it is malformed or the arena is full. */
bool column_decode(struct column *c, struct str body, uint32_t n_rows, struct arena *a);
/* The same of a column of UUIDs, without entries: code k is the 16 bytes at
 * uuids + (k - 1) * COLUMN_UUID. False when one of them is something else. */
bool column_decode_uuids(struct column *c, struct str body, uint32_t n_rows, struct arena *a);
/* Code of a row: 0 when missing. */
uint32_t column_code(const struct column *c, uint32_t row);
/* Value of a row; NULL when missing. */
const struct value *column_value(const struct column *c, uint32_t row);
/* Writes n_rows codes, missing ones as 0. */
void column_spread(const struct column *c, uint32_t *codes);
/* Appends a body. `rows` names the rows of the n_present codes, ascending. */
void column_encode(struct buf *out, const struct value *entries, uint32_t n_entries,
	const uint32_t *rows, const uint32_t *codes, uint32_t n_present, uint32_t n_rows);
/* Reads one value in the entry format; false when malformed. */
bool column_take_value(struct bytes *b, struct value *v);
/* Appends one value in the entry format. */
void column_put_value(struct buf *out, const struct value *v);

#endif
