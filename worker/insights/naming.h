/*
 * What persons are called who are known by digest only (store/people.h). While a kernel
 * folds, it notes of each person where one of the events is; when it knows which few persons
 * matter, their distinct_ids are read from there, and PostgreSQL says which profiles these
 * resolve to (D60), within the same snapshot. What comes out must be the same person for
 * store/people.c.
 */
#ifndef INSIGHTS_NAMING_H
#define INSIGHTS_NAMING_H

#include "worker/insights/chunks.h"
#include "worker/insights/scan.h"

/* Beyond these, reading all texts is not worse by much. */
enum { NAMING_PERSONS = 1024, NAMING_SEGMENTS = 64 };

/* An event of a sealed segment (segment: its number + 1), or a text of the inbox, which was
 * decoded anyway; zero: none. */
struct naming_place {
	uint32_t segment, row;
};

struct naming_person {
	uint32_t person;
	struct naming_place place;
	struct str name; /* as of people_key() */
};

struct naming {
	struct arena *a;
	struct chunks segments; /* struct naming_segment */
	struct chunks texts;    /* struct str */
	uint32_t n_segments, n_texts;
};

void naming_init(struct naming *n, struct arena *a);
/* Before the places of a frame. False at the arena's cap. */
bool naming_begin(struct naming *n, const struct frame *f);
/* Sets the place of the event at row, which has a distinct_id. False at the arena's cap. */
bool naming_note(struct naming *n, const struct frame *f, uint32_t row, struct naming_place *place);
/* The same where the frame is of a sealed segment. */
static inline struct naming_place naming_sealed(const struct naming *n, uint32_t row)
{
	return (struct naming_place){n->n_segments, row};
}
/* Sets the names of persons with a place, or s->by_text: the question must be asked by
 * texts. False at the arena's cap, or with r->error. */
bool naming_find(struct naming *n, struct scan *s, struct reader *r, struct naming_person **v,
	uint32_t persons);

#endif
