/*
 * Ids of a group that may have been stored before, as arguments of the question which of them were.
 */
#ifndef INGEST_RESENT_H
#define INGEST_RESENT_H

#include "worker/ingest/group.h"

/* The ids of the group with these numbers (from 1, ascending). Numbers are put in the order in
 * which the ids are asked for, and the answer has positions in it: see group_drop(). False at the
 * cap of the group's arena, in which the arguments live. */
bool resent_pick(const struct group *g, int32_t *numbers, int n, struct q_events_known_args *args);

#endif
