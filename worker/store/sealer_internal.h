/* What sealer.c and rewrite.c share. */
#ifndef STORE_SEALER_INTERNAL_H
#define STORE_SEALER_INTERNAL_H

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
/* Merges in the sealer's arenas. When only the first *fit sources go together, nothing is
 * built. */
enum merge_end sealer_build(struct sealer *s, const struct evseg *src, uint32_t n, uint32_t *fit,
	struct merge_segment **out, uint32_t *n_out);

#endif
