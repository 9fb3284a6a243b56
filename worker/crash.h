/* Last words: what a dying worker leaves in its slot for the obituary. */
#ifndef WORKER_CRASH_H
#define WORKER_CRASH_H

struct slot;

/* Takes over panics and fatal signals of this process. */
void crash_setup(struct slot *slot);

#endif
