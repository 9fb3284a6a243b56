/*
 * UUIDs as small dense numbers of a query: 0, 1, 2, ... in order of appearance. What flows
 * know sessions by; some 40 bytes each.
 */
#ifndef INSIGHTS_UUIDS_H
#define INSIGHTS_UUIDS_H

#include "worker/insights/chunks.h"
#include "worker/store/batch.h"

struct uuids {
	struct arena *a;
	struct chunks v; /* the 16 bytes of each */
	uint32_t n;
	uint64_t *slots; /* half of the hash << 32 | number + 1; 0 = free */
	uint32_t mask;
	uint64_t *recent; /* slots of ids that were asked for lately */
	uint64_t key[2];  /* clients choose ids: this keeps them from choosing collisions */
};

void uuids_init(struct uuids *u, struct arena *a);
/* Numbers of those entries of a column of UUIDs whose codes are wanted, by code; the others
 * are left alone. False at the arena's cap. */
bool uuids_add(struct uuids *u, const struct batch_column *c, const uint8_t *wanted, uint32_t *no);
/* A table of the same ids, under the same key. False at the arena's cap. */
bool uuids_copy(struct uuids *u, const struct uuids *of, struct arena *a);
/* Ids are divided among two tables under one key; all that are in `kept` belong to the first. Of
 * what is wanted leaves what belongs to the first one, or to the second. */
void uuids_half(
	const struct uuids *kept, bool second, const struct batch_column *c, uint8_t *wanted);

#endif
