/* What sealer.c and rewrite.c share. */
#ifndef STORE_SEALER_INTERNAL_H
#define STORE_SEALER_INTERNAL_H

#include "worker/db/db_types.h"
#include "worker/store/sealer.h"

enum {
	TAKE_EVENTS = 2 * EVSEG_EVENTS_MAX, /* of one transaction */
	TAKE_BYTES = 16 << 20               /* as stored; a single source always goes */
};

/* Gives the next statement its time. */
void sealer_patient(struct sealer *s);
int sealer_begin(struct sealer *s);
/* Rolls back what failed; returns SEALER_DB with db.err as it was. */
enum sealer_end sealer_trouble(struct sealer *s);
/* The `high` of all deletions of a project that may lie between places given out before the
 * call, ascending, in `a`; -1 with db.err. Outside transactions. */
int sealer_highs(struct sealer *s, int32_t project, struct arena *a, struct db_int8s *highs);
/* How many of these a place is not below: equal for those that may come together. */
int sealer_side(struct db_int8s highs, int64_t place);
/* What makes segments starts with this, inside its transaction. */
int sealer_lock(struct sealer *s, int32_t project);
/* Merges in the sealer's arenas. When only the first *fit sources go together, nothing is
 * built. */
enum merge_end sealer_build(struct sealer *s, const struct evseg *src, uint32_t n, uint32_t *fit,
	struct merge_segment **out, uint32_t *n_out);

#endif
