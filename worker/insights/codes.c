/* See codes.h. */
#include "worker/insights/codes.h"

bool codes_init(struct codes *c, struct intern *to, const struct batch_column *column,
	enum key_class class, struct arena *a)
{
	size_t bytes = ((size_t)column->n_entries + 1) * sizeof(*c->no);

	*c = (struct codes){to, column, class, arena_alloc(a, bytes)};
	/* of INTERN_FULL every byte is ff */
	if (c->no)
		memset(c->no, 0xff, bytes);
	return c->no != NULL;
}

uint32_t codes_find(struct codes *c, uint32_t code)
{
	static const struct value missing = {.type = VALUE_NONE};
	const struct value *v = code ? &c->column->entries[code - 1] : &missing;
	char scratch[VALUE_TEXT_MAX];

	c->no[code] = intern_add(c->to, value_text(v, c->class, scratch));
	return c->no[code];
}
