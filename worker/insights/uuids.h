/*
 * UUIDs as small dense numbers of a query: 0, 1, 2, ... in order of appearance. What the
 * sessions of a project are counted by; some 40 bytes each.
 */
#ifndef INSIGHTS_UUIDS_H
#define INSIGHTS_UUIDS_H

#include "worker/insights/chunks.h"
#include "worker/store/batch.h"

struct uuids {
	struct arena *a;
	struct chunks v; /* the 16 bytes of each, and what goes with it */
	uint32_t n;
	uint64_t *slots; /* half of the hash << 32 | number + 1; 0 = free */
	uint32_t mask;
	uint64_t *recent; /* slots of ids that were asked for lately */
	uint64_t key[2];  /* clients choose ids: this keeps them from choosing collisions */
};

void uuids_init(struct uuids *u, struct arena *a);
/* With as many bytes for each, zero at first: beside its id, and so at hand when that was
 * looked up. */
void uuids_init_items(struct uuids *u, struct arena *a, size_t size);
static inline void *uuids_item(const struct uuids *u, uint32_t no)
{
	return (char *)chunks_at(&u->v, no) + BATCH_UUID;
}
/* Numbers of those entries of a column of UUIDs whose codes are wanted, by code; the others
 * are left alone. False at the arena's cap. */
bool uuids_add(struct uuids *u, const struct batch_column *c, const uint8_t *wanted, uint32_t *no);

#endif
