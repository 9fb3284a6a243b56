/*
 * Crash points of sending, in test builds only: claimed, rendered, connected, accepted,
 * recorded, committed. A file <mail_dir>/crash-<point> arms one; who gets there removes
 * it and aborts. Tests see so that no mail is lost, and which may come twice (D16).
 */
#ifndef MAIL_POINT_H
#define MAIL_POINT_H

#include "shm/options.h"

#ifdef PUGD_TEST_HOOKS
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void mail_point(const struct options *opt, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/crash-%s", opt->mail_dir, name);
	if (opt->mail_dir[0] && unlink(path) == 0)
		abort();
}
#else
static inline void mail_point(const struct options *opt, const char *name)
{
	(void)opt;
	(void)name;
}
#endif

#endif
