/*
 * How many events each person has: counted by the numbers of sealed events, for these need no
 * looking up and their counters are small. The numbers of one person are put together once,
 * when all is counted.
 */
#ifndef INSIGHTS_PERSON_COUNTS_H
#define INSIGHTS_PERSON_COUNTS_H

#include "worker/insights/hits.h"
#include "worker/insights/naming.h"

/* Of one person. */
struct person_count {
	uint32_t person;
	uint64_t events;
	struct naming_place place; /* of one of them, where places are asked for */
};

struct person_counts {
	struct arena *a;
	const struct people *people; /* of the first frame; NULL: nothing was counted */
	uint32_t *of_number;         /* events by number, [0] is nobody's; NULL: none */
	struct naming_place *places; /* by number, where there are events */
	uint32_t most, room;         /* so many more may be counted by number */
	struct chunks persons;       /* struct counted, of those without a number */
	uint32_t n_persons;
	uint64_t events; /* all that were counted */
};

/* most: beyond so many events these are counted anew by number; UINT32_MAX, or less for tests. */
void person_counts_init(struct person_counts *c, struct arena *a, uint32_t most);
/* Counts what was picked, which has distinct_ids. naming: notes a place for each person; NULL:
 * nobody asks. False at the arena's cap. */
bool person_counts_add(struct person_counts *c, struct picked *p, struct naming *naming);
/* That was all: the numbers of each person become one. False at the arena's cap, or when nobody
 * waits any more. */
bool person_counts_join(struct person_counts *c);

/* The least number of events of the `keep` persons that have most; 1 when there are not so many.
 * 0 when nobody waits, or at the arena's cap. */
uint64_t person_counts_least(const struct person_counts *c, uint32_t keep);
/* The next person with so many events at least, which is not 0; *at is 0 at first. False at the
 * end, or when nobody waits. */
bool person_counts_next(
	const struct person_counts *c, uint64_t least, uint32_t *at, struct person_count *out);

#endif
