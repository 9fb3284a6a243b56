/*
 * The texts of one column of a frame as numbers of the query's, found when first
 * asked for: a value that no wanted event has takes no memory.
 */
#ifndef INSIGHTS_CODES_H
#define INSIGHTS_CODES_H

#include "worker/store/batch.h"
#include "worker/store/intern.h"

struct codes {
	struct intern *to;
	const struct batch_column *column;
	enum key_class class;
	uint32_t *no; /* by code; INTERN_FULL: not asked for yet */
};

/* `a` is the batch's. False at its cap. */
bool codes_init(struct codes *c, struct intern *to, const struct batch_column *column,
	enum key_class class, struct arena *a);
/* Number of the text of a code; INTERN_FULL at the cap. Session ids have none (batch.h). */
uint32_t codes_find(struct codes *c, uint32_t code);
/* The same of an event. */
static inline uint32_t codes_at(struct codes *c, uint32_t row)
{
	uint32_t code = c->column->codes[row];

	return c->no[code] == INTERN_FULL ? codes_find(c, code) : c->no[code];
}

#endif
