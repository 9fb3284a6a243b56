/*
 * One group: the batches of several calls as arguments of the statements that store
 * them, and their answer back to the batches. Knows nothing of coroutines.
 */
#ifndef INGEST_GROUP_H
#define INGEST_GROUP_H

#include "q.h"
#include "worker/ingest/ingest.h"

struct claim;

/* In the order of (project, day, id). */
struct group_ids {
	struct db_int4s project, day;
	struct db_uuids id;
};

struct group {
	struct arena *a;
	struct ingest_batch **batches; /* by project, then in order of arrival */
	bool *dead;                    /* per batch, out: its project was deleted */
	uint32_t n_batches, n_events;
	uint32_t *pos_of;   /* per event in that order: position in its blob, or GROUP_... */
	uint32_t *first_of; /* per repeat: the event that stays; not set for others */
	uint32_t *share_of; /* per batch: number of its project's share, from 0 */
	uint32_t *row_of;   /* per share: number of its blob, or GROUP_NO_ROW */
	uint32_t n_shares, n_rows;
	struct claim *claims; /* in the order of ids */
	uint32_t n_claims, n_known;
	struct group_ids ids; /* of all events, each once */
	struct q_events_claim_args args;
};

#define GROUP_KNOWN     (UINT32_MAX - 1) /* stored before, as the database says */
#define GROUP_DUPLICATE UINT32_MAX       /* a repeat within the group */
#define GROUP_NO_ROW    UINT32_MAX

/* Orders and removes repeated ids (the first one stays). False at the arena's cap, in which
 * everything lives. */
bool group_sort(struct group *g, struct ingest_batch *const *batches, uint32_t n, struct arena *a);
/* Leaves out what is known: positions, from 1, in `numbers`, which are those of ids, from 1. Once a
 * group; false when they make no sense. */
bool group_drop(struct group *g, const int32_t *numbers, int n, const struct db_int4s *known);
/* Encodes a blob for each project of which something is left. False at the arena's cap, or when one
 * is too large (encode.h). */
bool group_encode(struct group *g);
/* group_sort() and group_encode(). */
bool group_make(struct group *g, struct ingest_batch *const *batches, uint32_t n, struct arena *a);
/* Sets `created` and `expired` of the batches and `dead` from the rows. False when the rows make
 * no sense or the arena is full. */
bool group_settle(struct group *g, const struct q_events_claim_row *rows, int n);
/* The same when all that was left is stored. */
void group_settle_new(struct group *g);
/* Stores and settles a group of new events of live projects: 1. When it is anything else, nothing
 * is stored: 0. -1 with db->err. */
int group_store(struct group *g, struct db *db);
/* Stores and settles any group, of which each id is looked up first: 1, and how many of them were
 * known. -1 with db->err, or without it when memory ends or the rows make no sense. */
int group_claim(struct group *g, struct db *db, uint32_t *known);
/* The days of the group's events, each once. False at the arena's cap. */
bool group_days(const struct group *g, struct db_int4s *days);

#endif
