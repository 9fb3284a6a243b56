/* Starting processes: children of a generation, and helpers such as `pugd check`. */
#ifndef MASTER_SPAWN_H
#define MASTER_SPAWN_H

#include <sys/types.h>

struct child;
struct master;

/* Forks and execs the child as shm/message.h says. Its slot is taken and STARTING.
 * Returns the pid and the control socket's master end; -errno. */
pid_t spawn_child(struct master *m, struct child *c, int *control_fd);
/* Runs a file with our own environment, its output into out_fd; -errno. With path NULL
 * the executable is exe_fd. */
pid_t spawn_helper(const char *path, int exe_fd, char *const argv[], int out_fd);

#endif
