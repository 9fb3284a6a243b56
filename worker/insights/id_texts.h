/*
 * What the numbers of sealed events are called (store/numbers.h): texts that a query has seen, kept
 * in shared memory with the columns (shm/colcache.h) for the next one, which then need not
 * read the texts of all its events. Nothing of it is believed: a text counts only where it has
 * the digest of its number.
 */
#ifndef INSIGHTS_ID_TEXTS_H
#define INSIGHTS_ID_TEXTS_H

#include "shm/colcache.h"
#include "worker/insights/chunks.h"
#include "worker/store/people.h"

enum { ID_TEXTS_BLOCK = 4096 }; /* numbers that are kept together */

struct id_texts {
	struct colcache *cache; /* NULL: nothing is kept */
	const struct people_base *base;
	struct chunks learned; /* struct str, by number */
	uint32_t n_learned;    /* numbers are below that */
};

/* cache may be NULL, or without a ring; where the project has very many ids it is not used. */
void id_texts_init(
	struct id_texts *t, struct colcache *cache, const struct people *people, struct arena *a);
/* Whether there may be any: a look at the first block. */
bool id_texts_any(const struct id_texts *t);
/* Notes the text of a number, to be kept. False at the arena's cap. */
bool id_texts_learn(struct id_texts *t, uint32_t number, struct str text);
/* The texts of a block, {NULL, 0} where it is not known, in memory of `a`. NULL: there are
 * none, or the arena is full. */
const struct str *id_texts_block(const struct id_texts *t, uint32_t block, struct arena *a);
/* Whether a text is the number's. */
bool id_texts_right(const struct id_texts *t, uint32_t number, struct str text);
/* Keeps what was learned, as far as there is room. `a` is emptied. */
void id_texts_keep(const struct id_texts *t, struct arena *a);

#endif
