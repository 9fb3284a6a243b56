/*
 * Which names a segment holds: its kinds of events and the keys of their properties, how
 * often, of which type, and when last. Kept beside each sealed segment (`segment.names`), so
 * that what a project has seen (insights-dashboards.md 2.5) is the sum of its segments' names
 * and comes and goes with them: nothing is counted twice, and nothing outlives an erasure.
 *
 * Packed: u8 version (1); varint number of kinds; the entries; u32 CRC-32C of all before it.
 * An entry: u8 list << 4 | type; of a kind: varint length and bytes of its name; of a key:
 * varint number of its kind (from 1, in their order), varint length of the name + 1 and its
 * bytes, or 0: the name of the entry before; varint events; zigzag varint latest time in ms.
 */
#ifndef STORE_NAMES_H
#define STORE_NAMES_H

#include "worker/store/evseg.h"

/* The numbers are stored: append only. */
enum name_list { NAME_KIND = 0, NAME_AUTO = 1, NAME_CUSTOM = 2, NAME_LISTS };

/* What was seen of a name: of a key, in events of one kind and with values of one type. */
struct name_seen {
	enum name_list list;
	struct str kind, name; /* of a kind: the same */
	uint32_t kind_code;    /* of the segment */
	enum value_type type;
	uint64_t n; /* events, never 0 */
	int64_t last_ms;
};

/* Who is told. `note` returns false to end it. */
struct names_sink {
	bool (*note)(struct names_sink *sink, const struct name_seen *seen);
};

/* A segment's events, those of one kind or all. */
struct names_of {
	const struct evseg *seg;
	const uint8_t *in; /* one byte per event, 0: leave it out; NULL: all count */
	const int64_t *times;
	const uint32_t *kinds; /* code per event, k is entry k - 1 */
	const struct value *entries;
	uint32_t n_kinds;
};

/* The kinds, and the keys, of promoted ones those that may be listed, where their text is not
 * empty. False when the sink ended it, the segment is malformed, or the arena is full. */
bool names_kinds(const struct names_of *of, struct names_sink *sink, struct arena *a);
bool names_keys(const struct names_of *of, struct names_sink *sink, struct arena *a);

/* Both, of a segment with all its parts; masked events are left out. */
bool names_all(const struct evseg *seg, struct names_sink *sink, struct arena *a);
/* Packs them; the same events give the same bytes. *out is in `a`; `scratch` is another one.
 * False when the segment is malformed or an arena is full. */
bool names_pack(const struct evseg *seg, struct arena *a, struct arena *scratch, struct str *out);
/* Tells the sink what was packed; strings point into `packed`. False when the sink ended it,
 * it is malformed, or the arena is full. */
bool names_read(struct str packed, struct names_sink *sink, struct arena *a);

#endif
