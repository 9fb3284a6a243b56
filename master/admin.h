/* The admin page: metrics, status and the quarantine, on a local socket. */
#ifndef MASTER_ADMIN_H
#define MASTER_ADMIN_H

#include "master/master.h"
#include "shm/base/arena.h"

/* Opens the admin socket; without one the server works all the same (logged). */
void admin_open(struct master *m);
/* Listens on a socket that is open already (handover). */
void admin_resume(struct master *m);
void admin_close(struct master *m);
/* Before an exec, which closes connections: answers who has connected, and waits for their
 * requests 100 ms at most. Who is not accepted yet is the next image's. */
void admin_finish(struct master *m);
uint64_t admin_tick(struct master *m, uint64_t now_ms);

/* metrics.c, status.c: the two pages. */
void metrics_write(const struct master *m, struct buf *b);
void status_write(const struct master *m, struct buf *b);

#endif
