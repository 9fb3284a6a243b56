/*
 * The command line that all of pugd's commands share: where the configuration
 * comes from. What a command does not know here it finds in `rest`.
 */
#ifndef MASTER_ARGS_H
#define MASTER_ARGS_H

#include <stdbool.h>

enum { ARGS_OVERRIDES = 64, ARGS_REST = 64 };

struct args {
	const char *command;                   /* "run" when none was given */
	const char *config;                    /* --config, else $PUGD_CONFIG, else the default */
	bool config_given;                     /* a missing file is an error only then */
	const char *overrides[ARGS_OVERRIDES]; /* -o key=value */
	int override_count;
	const char *binary;        /* --binary: what SIGHUP starts; NULL: where we came from */
	int resume_fd;             /* --resume: state of the image before us; -1 */
	int origin_fd;             /* --origin: executable of the image before us; -1 */
	bool fallback;             /* --fallback: the new image gave up, we are back */
	char *rest[ARGS_REST + 1]; /* rest[0] = command, NULL-terminated */
	int rest_count;
};

/* False when the line makes no sense; the complaint is on standard error. */
bool args_parse(struct args *a, int argc, char **argv);

#endif
