/* From one image of the master to the next, in the same process. */
#ifndef MASTER_HANDOVER_H
#define MASTER_HANDOVER_H

#include <stdbool.h>

#include "master/master.h"

/* Becomes the installed binary, which is to start the next generation. Returns only when
 * that failed; why is in m->last_error. */
void handover_exec(struct master *m);
/* Becomes the image of the current generation again (its segment has another layout than
 * ours). Returns only when that failed. */
void handover_back(struct master *m);
/* Reads the state that the image before us left in args.resume_fd. False: it makes no
 * sense; nothing was touched. */
bool handover_read(struct master *m);
/* Watches the children read before. */
bool handover_adopt(struct master *m);
/* Gives up before anything was lost: becomes the image before us again. */
_Noreturn void handover_give_up(struct master *m, const char *why);

#endif
