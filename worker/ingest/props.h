/* The automatic properties of one event while they are being completed. */
#ifndef INGEST_PROPS_H
#define INGEST_PROPS_H

#include "worker/ingest/autokey.h"
#include "worker/store/event.h"

struct props {
	struct prop *v; /* with room for AUTO_COUNT more than the client sent */
	uint32_t n;
	int32_t at[AUTO_COUNT]; /* where each is in v; -1: absent */
};

static inline void props_put(struct props *p, enum auto_key k, struct value value)
{
	if (p->at[k] < 0) {
		p->at[k] = (int32_t)p->n++;
		p->v[p->at[k]] = (struct prop){autokey_name(k), SCOPE_AUTO, {0}};
	}
	p->v[p->at[k]].value = value;
}

/* The last one takes its place: order means nothing. */
static inline void props_remove(struct props *p, enum auto_key k)
{
	enum auto_key last;

	if (p->at[k] < 0)
		return;
	p->n--;
	last = p->v[p->n].scope == SCOPE_AUTO ? autokey_find(p->v[p->n].key) : AUTO_COUNT;
	p->v[p->at[k]] = p->v[p->n];
	if (last != AUTO_COUNT)
		p->at[last] = p->at[k];
	p->at[k] = -1;
}

/* Its text (1.9): "" when absent, and for a time. `scratch` has VALUE_TEXT_MAX bytes
 * and may back the answer. */
static inline struct str props_text(const struct props *p, enum auto_key k, char *scratch)
{
	return p->at[k] < 0 ? STR("") : value_text(&p->v[p->at[k]].value, KEY_STRING, scratch);
}

#endif
