/* Looks how long the unsealed tail is and notes it for everybody (shm/tail.h). */
#ifndef STORE_TAIL_ASK_H
#define STORE_TAIL_ASK_H

#include "shm/tail.h"
#include "worker/db/db.h"

/* 0, with *t what was noted; or -1 with db->err, and what was noted before stays. */
int tail_ask(struct db *db, struct segment *seg, struct tail *t);

#endif
