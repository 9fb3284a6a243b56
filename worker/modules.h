/* The modules above loop and net/, in the order in which they start. */
#ifndef WORKER_MODULES_H
#define WORKER_MODULES_H

#include <stdbool.h>

struct worker;

/* May block (name resolution); before clients come. 0, or what the process should exit
 * with: EXIT_HOPELESS where the configuration cannot be used. */
int worker_modules_start(struct worker *w);
/* The database answers. */
bool worker_modules_up(const struct worker *w);
/* Keeper: starts the jobs. */
bool worker_modules_jobs(struct worker *w);
/* Nothing is under way that should end before the process does. */
bool worker_modules_idle(const struct worker *w);
/* After the loop has stopped, with no call in flight. */
void worker_modules_stop(struct worker *w);

#endif
