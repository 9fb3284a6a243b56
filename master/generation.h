/* A generation as a whole: starting, taking over, draining, rolling back. */
#ifndef MASTER_GENERATION_H
#define MASTER_GENERATION_H

#include "master/child.h"

struct options;

/* An unused struct generation, or NULL. */
struct generation *generation_new(struct master *m);
/* Starts the next generation from this image with these options. False: nothing was
 * started; why is in m->last_error. */
bool generation_start(struct master *m, const struct options *o);
/* Called by child.c. */
void generation_child_ready(struct master *m, struct child *c);
void generation_child_gone(struct master *m, struct child *c, enum child_end end);
/* Everybody finishes and leaves; the generation goes when the last one has left. */
void generation_drain(struct master *m, struct generation *g);
/* Deadlines of the generation and its children. Returns when to look again. */
uint64_t generation_tick(struct master *m, struct generation *g, uint64_t now_ms);
/* Workers READY now. */
int generation_ready_workers(const struct generation *g);

#endif
