/*
 * Makes the packed copy of who is who of a project (people_pack.h), on a thread or from a
 * command. Nothing of it is seen before it is whole. Safe beside others that do the same.
 */
#ifndef STORE_PACKER_H
#define STORE_PACKER_H

#include "worker/db/db.h"

enum packer_end {
	PACKER_DONE,
	PACKER_LEFT, /* as it was: another is at it, the project is gone, or never at rest */
	PACKER_DB    /* err tells; the connection may be in use still */
};

struct packer {
	PGconn *conn;               /* idle */
	uint64_t profiles, aliases; /* of the copy that was made last */
	struct db_error err;
};

/* Takes time and memory: up to 2 minutes; 20 MB, whatever the size of the project. */
enum packer_end packer_pack(struct packer *k, int32_t project);

#endif
