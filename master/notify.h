/* The service manager's protocol: datagrams to $NOTIFY_SOCKET (sd_notify). */
#ifndef MASTER_NOTIFY_H
#define MASTER_NOTIFY_H

#include <stdint.h>

struct notify {
	int fd;               /* -1: nobody listens */
	uint64_t watchdog_ms; /* send one this often; 0: never */
	uint64_t next_ms;
};

void notify_open(struct notify *n);
void notify_close(struct notify *n);
/* One datagram, several assignments separated by newlines. */
void notify_send(struct notify *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Has the manager keep a copy of fd, to be passed under that name at the next start. */
void notify_store(struct notify *n, const char *name, int fd);
void notify_reloading(struct notify *n);
/* Feeds the watchdog when it is time. Returns when it will be next, UINT64_MAX: never. */
uint64_t notify_tick(struct notify *n, uint64_t now_ms);

#endif
