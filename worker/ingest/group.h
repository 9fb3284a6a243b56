/*
 * One group: the batches of several calls as arguments of the statements that store
 * them, and their answer back to the batches. Knows nothing of coroutines.
 */
#ifndef INGEST_GROUP_H
#define INGEST_GROUP_H

#include "q.h"
#include "worker/ingest/ingest.h"

struct group {
	struct arena *a;
	struct ingest_batch **batches; /* by project, then in order of arrival */
	bool *dead;                    /* per batch, out: its project was deleted */
	uint32_t n_batches, n_events, n_shares;
	uint32_t *pos_of;   /* per event in that order: position in its blob, or GROUP_DUPLICATE */
	uint32_t *share_of; /* per batch: number of its blob, from 0 */
	struct q_events_claim_args args;
};

#define GROUP_DUPLICATE UINT32_MAX

/* Orders, removes repeated ids (the first one stays), encodes a blob a project.
 * False at the arena's cap. Everything lives in the arena. */
bool group_make(struct group *g, struct ingest_batch *const *batches, uint32_t n, struct arena *a);
/* Sets `created` of the batches and `dead` from the rows. False when the rows make
 * no sense or the arena is full. */
bool group_settle(struct group *g, const struct q_events_claim_row *rows, int n);
/* The same when everything was new and is stored. */
void group_settle_new(struct group *g);
/* The days of the group's events, each once. False at the arena's cap. */
bool group_days(const struct group *g, struct db_int4s *days);

#endif
