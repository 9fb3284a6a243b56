/*
 * The first or last event of somebody or of a session as far as was seen: what of it matters is
 * a tuple of texts. Its time is the owner's. Of events of one time the ids tell which is
 * nearer to the edge (D29); within a sealed segment so do its rows, so that ids need not be
 * known. Where nothing tells, and tuples differ, the edge is in doubt until one comes that is
 * nearer by its time.
 */
#ifndef INSIGHTS_EDGE_H
#define INSIGHTS_EDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EDGE_SOURCES = (1 << 29) - 1 };

enum edge_doubt {
	EDGE_SURE,
	EDGE_ALIKE, /* another one may be nearer, whose tuple is the same */
	EDGE_UNSURE /* its tuple is another */
};

struct edge {
	uint64_t id[2]; /* if known */
	uint32_t tuple;
	uint32_t source : 29, known : 1, doubt : 2; /* source: number of its segment */
};

/* An event; id is as of batch_id(). */
static inline struct edge edge_of(const uint64_t *id, uint32_t source, uint32_t tuple)
{
	return (struct edge){{id ? id[0] : 0, id ? id[1] : 0}, tuple, source & EDGE_SOURCES,
		id != NULL, EDGE_SURE};
}

/* Of one more event of the same time; of the same source, one of a later row. */
void edge_meet(struct edge *e, const struct edge *other, bool last);

#endif
