/* Does the packed copy of who is who, with what has changed since, say what the tables say? */
#ifndef CLI_VERIFY_PEOPLE_H
#define CLI_VERIFY_PEOPLE_H

#include "worker/db/stream.h"

/* Inside a snapshot. 0, or -1 with st->db.err. A project without a copy agrees. */
int verify_people(struct db_stream *st, int32_t project, bool *agree);

#endif
