/*
 * Command line: `pugd [COMMAND] [--config FILE] [-o key=value]... [more]`.
 * Only what every command understands is taken out; the rest stays in order.
 */
#include "master/args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/str.h"

static const char DEFAULT_CONFIG[] = "/etc/pugd/pugd.conf";

static bool take_config(struct args *a, const char *value)
{
	a->config = value;
	a->config_given = true;
	return true;
}

static bool take_override(struct args *a, const char *value)
{
	if (a->override_count == ARGS_OVERRIDES) {
		fprintf(stderr, "pugd: more than %d -o options\n", ARGS_OVERRIDES);
		return false;
	}
	a->overrides[a->override_count++] = value;
	return true;
}

static bool take_binary(struct args *a, const char *value)
{
	a->binary = value;
	return true;
}

static bool take_fd(const char *value, int *fd)
{
	uint64_t n;

	if (!str_u64(str_of(value), &n) || n > 1 << 20) {
		fprintf(stderr, "pugd: %s is not a file descriptor\n", value);
		return false;
	}
	*fd = (int)n;
	return true;
}

static bool take_resume(struct args *a, const char *value)
{
	return take_fd(value, &a->resume_fd);
}

static bool take_origin(struct args *a, const char *value)
{
	return take_fd(value, &a->origin_fd);
}

/* Options that take a value, in all commands. --resume, --origin and --fallback are written by
 * another image, which may be of another release (handover.c): they keep their names. */
static const struct {
	const char *name;
	bool (*take)(struct args *a, const char *value);
} valued[] = {
	{"--config", take_config},
	{"-c", take_config},
	{"-o", take_override},
	{"--binary", take_binary},
	{"--resume", take_resume},
	{"--origin", take_origin},
};

static bool take_rest(struct args *a, char *arg)
{
	if (a->rest_count == ARGS_REST) {
		fprintf(stderr, "pugd: too many arguments\n");
		return false;
	}
	a->rest[a->rest_count++] = arg;
	return true;
}

/* Takes argv[i] and, where it has one, its value. Returns how many were taken, 0: bad. */
static int take_one(struct args *a, char **argv)
{
	size_t n;

	for (size_t k = 0; k < sizeof(valued) / sizeof(valued[0]); k++) {
		n = strlen(valued[k].name);
		if (strncmp(argv[0], valued[k].name, n) != 0)
			continue;
		if (argv[0][n] == '=' && n > 2)
			return valued[k].take(a, argv[0] + n + 1) ? 1 : 0;
		if (argv[0][n] != '\0')
			continue;
		if (!argv[1]) {
			fprintf(stderr, "pugd: %s needs a value\n", argv[0]);
			return 0;
		}
		return valued[k].take(a, argv[1]) ? 2 : 0;
	}
	if (strcmp(argv[0], "--fallback") == 0) {
		a->fallback = true;
		return 1;
	}
	return take_rest(a, argv[0]) ? 1 : 0;
}

/* A command is the first word or none; main.c refuses one that comes later. $PUGD_CONFIG counts
 * as given: the file must exist, and the next image gets it as --config. */
bool args_parse(struct args *a, int argc, char **argv)
{
	const char *env = getenv("PUGD_CONFIG");
	bool has_command = argc > 1 && argv[1][0] != '-';
	int taken;

	memset(a, 0, sizeof(*a));
	a->resume_fd = a->origin_fd = -1;
	a->config = env && *env ? env : DEFAULT_CONFIG;
	a->config_given = env && *env;
	a->command = has_command ? argv[1] : "run";
	a->rest[a->rest_count++] = has_command ? argv[1] : argv[0];
	for (int i = has_command ? 2 : 1; i < argc; i += taken) {
		taken = take_one(a, argv + i);
		if (taken == 0)
			return false;
	}
	a->rest[a->rest_count] = NULL;
	return true;
}
