/* See edge.h. */
#include "worker/insights/edge.h"

/* Whether `other` comes after e: 1, before: -1, or who knows: 0. */
static int order(const struct edge *e, const struct edge *other)
{
	uint32_t word = e->id[0] == other->id[0];

	if (e->known && other->known)
		return other->id[word] > e->id[word] ? 1 : -1;
	return e->source == other->source;
}

void edge_meet(struct edge *e, const struct edge *other, bool last)
{
	bool alike = e->tuple == other->tuple;
	uint32_t doubt = e->doubt;
	int after = order(e, other);

	if (after == 0) {
		if (!alike)
			e->doubt = EDGE_UNSURE;
		else if (doubt == EDGE_SURE)
			e->doubt = EDGE_ALIKE;
		return;
	}
	if ((after > 0) != last)
		return;
	/* one that was left out, because its tuple was that of e, may be nearer than this one */
	if (doubt == EDGE_ALIKE && !alike)
		doubt = EDGE_UNSURE;
	*e = *other;
	e->doubt = doubt & 3;
}
