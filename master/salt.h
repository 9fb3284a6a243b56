/*
 * The memory of cookieless visitors (shm/visitors.h): the master makes it, keeps it
 * over reloads, lets the service manager keep it over a restart, and wipes in time.
 */
#ifndef MASTER_SALT_H
#define MASTER_SALT_H

#include <stdint.h>
#include <sys/types.h>

struct master;

/* Its name in the service manager's store of descriptors. */
#define SALT_FD_NAME "pugd-visitors"

/* Takes m->salt.fd over if it is one (`resumed`: from the image before, whose workers use it;
 * else from the service manager), or makes another. Without memory there is none, and
 * cookieless events are dropped as salt_unavailable: logged. */
void salt_open(struct master *m, int resumed);
/* A process of ours was reaped. */
void salt_repair(struct master *m, pid_t pid);
/* Wipes what does not count any more. Returns when to come again (CLOCK_MONOTONIC, ms). */
uint64_t salt_tick(struct master *m, uint64_t now_ms);
/* The end of the last process: wiped, unless the service manager keeps it. */
void salt_close(struct master *m);

#endif
