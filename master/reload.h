/* SIGHUP: check the installed binary and configuration, then become that binary. */
#ifndef MASTER_RELOAD_H
#define MASTER_RELOAD_H

#include "master/master.h"

/* Begins a reload, or remembers it (once) while another one is under way. */
void reload_begin(struct master *m);
/* Runs the remembered one, if any, now that nothing is under way. */
void reload_pending(struct master *m);
/* m->opt is what the current generation runs with: of an image that took over, or whose next
 * generation came to nothing. Of another release's options it stays as it is. */
void reload_options(struct master *m);
/* Counts, logs and announces a reload that changed nothing. */
void reload_rejected(struct master *m, const char *why);
/* Returns when to look again. */
uint64_t reload_tick(struct master *m, uint64_t now_ms);
/* The command line of this master for another image; NULL-terminated, up to `max` words.
 * `command` comes behind the name of the program. */
int reload_argv(const struct master *m, const char *command, const char **argv, int max);

#endif
