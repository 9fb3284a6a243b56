/* Addresses as people write them: HOST:PORT, [IPV6]:PORT, unix:/PATH, unix:@NAME. */
#ifndef MASTER_ADDRESS_H
#define MASTER_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "shm/base/str.h"

/* `unix:` and all of sun_path (108 bytes) is the longest. */
enum { ADDRESS_TEXT = 160 };

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* False on anything else. HOST is a numeric address, `localhost`, or `*` (both families). */
bool address_parse(struct str text, struct address *out);
/* Takes the next blank-separated word off *list; false when there is none. */
bool address_next(struct str *list, struct str *word);
bool address_is_local(const struct address *a);
/* The path of a Unix socket in the file system, else NULL. */
const char *address_path(const struct address *a);
void address_text(const struct address *a, char out[ADDRESS_TEXT]);

#endif
