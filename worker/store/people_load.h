/*
 * Who is who in a project as of a snapshot, as a base (people_base.h): one that the process has
 * kept (people_cache.h), where it was made of exactly what the snapshot sees; one made from that
 * one, where the packed copy is the same still and numbers were only added or lost; else one that
 * is made from nothing.
 */
#ifndef STORE_PEOPLE_LOAD_H
#define STORE_PEOPLE_LOAD_H

#include "worker/store/people_pack.h"

enum people_origin { PEOPLE_NONE, PEOPLE_MADE, PEOPLE_CHANGED, PEOPLE_KEPT };

struct people_load {
	struct people_pack pack; /* for its rows and bytes */
	size_t memory;           /* the base may take so much, unless it is kept */
	size_t cache;            /* what all that are kept may take; 0: nothing is kept */
	bool numbers;            /* with those of sealed events */
	bool tables;             /* without the packed copy */
	/* what came of it */
	struct people_base *base;
	enum people_origin origin;
	bool shared; /* with the cache: nobody may change or free it */
	bool broken; /* the numbers in the database are malformed: why it failed */
};

/* Inside the caller's transaction (REPEATABLE READ). *l is zero but for what is the caller's.
 * Sets st->row and st->arg. 0, or -1 with st->db.err. */
int people_load(struct people_load *l, struct db_stream *st, int32_t project);
/* Ends what people_load() gave, also after it failed. */
void people_unload(struct people_load *l);

#endif
