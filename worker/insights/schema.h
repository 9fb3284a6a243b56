/*
 * Which kinds of events, property keys and traits a project has seen, how often, when
 * last and of which type (insights-dashboards.md 2.5): from the names that are kept of a
 * sealed segment, or from all its columns, one after the other.
 */
#ifndef INSIGHTS_SCHEMA_H
#define INSIGHTS_SCHEMA_H

#include "worker/insights/frame.h"
#include "worker/store/intern.h"
#include "worker/store/names.h"

/* Numbers of common.v1.PropertyValueType. */
enum schema_type {
	SCHEMA_STRING = 1,
	SCHEMA_INTEGER,
	SCHEMA_FLOAT,
	SCHEMA_BOOLEAN,
	SCHEMA_DATETIME,
	SCHEMA_OTHER,
	SCHEMA_TYPES
};

/* Names of one list, at most SCHEMA_NAMES_MAX: public keys are public, so what somebody
 * makes up must not keep the others from the answer (D82). What comes later is left out. */
enum { SCHEMA_NAMES_MAX = 20000 };

struct schema_list {
	struct intern names;
	struct schema_seen *v; /* by number */
	uint32_t cap;
	bool promoted; /* promoted keys are always answered, as text */
};

struct schema {
	struct str event_kind; /* keys of this kind's events only; empty: of all */
	struct schema_list kinds, autos, customs, traits;
	uint64_t profiles; /* seen so far */
};

struct schema_entry {
	struct str name;
	uint64_t count;
	int64_t last_ms; /* means nothing while count is 0 */
	enum schema_type type;
};

/* False at the arena's cap. */
bool schema_init(struct schema *s, struct str event_kind, struct arena *a);
/* False at the arena's cap, or when the segment is malformed. */
bool schema_fold(struct schema *s, const struct frame *f, const struct evseg *seg);
/* The same of what was packed of a sealed segment; `a` holds it meanwhile. False as above. */
bool schema_names(struct schema *s, struct str packed, struct arena *a);
/* schema_traits.c: adds the traits of a live profile (JSON); `a` holds them meanwhile.
 * False at either arena's cap. */
bool schema_profile(struct schema *s, struct str traits, int64_t at_ms, struct arena *a);
/* Notes n sightings of a name, the last one at last_ms. With `once`, a number but 0, only the
 * first sighting of that number counts. False at the arena's cap. */
bool schema_note(struct schema_list *l, struct str name, enum schema_type type, uint64_t n,
	int64_t last_ms, uint64_t once);
/* At most `limit` entries, by count descending, then name; `allowed` has bit 1 << type for
 * the types that may be answered. Promoted keys come on top of the limit. False at the
 * arena's cap. */
bool schema_pick(const struct schema_list *l, uint32_t allowed, uint32_t limit, struct arena *a,
	const struct schema_entry **out, uint32_t *n);

#endif
