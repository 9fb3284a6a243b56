/* The sockets clients connect to: handed over by the service manager, or bound here. */
#ifndef MASTER_LISTEN_H
#define MASTER_LISTEN_H

#include <stdbool.h>

#include "master/address.h"
#include "shm/message.h"

struct options;

struct listener {
	int fd;
	bool ours; /* we made the file of this Unix socket, so we remove it */
	char address[ADDRESS_TEXT];
};

struct listeners {
	int count;
	struct listener one[LISTEN_MAX];
};

/* LISTEN_FDS if it is meant for this process, else the `listen` option. False: logged. Among
 * those passed, the one called `kept` is no socket: *kept_fd; untouched without it. */
bool listen_open(struct listeners *l, const struct options *o, const char *kept, int *kept_fd);
/* One bound, listening, non-blocking socket; -errno. A stale Unix socket is replaced. */
int listen_bind(const struct address *a, int backlog);
/* Removes the files of our Unix sockets. */
void listen_remove(struct listeners *l);
/* Becomes `user` when we are root. False: logged. */
bool listen_drop_privileges(const struct options *o);

#endif
