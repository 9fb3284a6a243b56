/*
 * The configuration: rows of shm/options.def turned into a parser. Loading
 * never stops at the first problem; every one is reported with its place.
 */
#ifndef MASTER_CONFIG_H
#define MASTER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/base/arena.h"
#include "shm/base/str.h"
#include "shm/options.h"

struct args;

enum option_kind { OPTION_GROUP, OPTION_TEXT, OPTION_INT, OPTION_BOOL, OPTION_MS, OPTION_SIZE };

struct option_row {
	enum option_kind kind;
	const char *key; /* NULL for a group, whose title is in help */
	size_t offset;   /* in struct options */
	size_t bytes;    /* of a text, with its NUL */
	int64_t min, max;
	const char *def;
	bool reloadable;
	const char *help;
};

extern const struct option_row config_rows[];
extern const size_t config_row_count;

/* Problems found, one line each. */
struct config_report {
	struct buf text;
	unsigned count;
};

void config_report_init(struct config_report *r);
void config_report_free(struct config_report *r);
void config_problem(struct config_report *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Every option at its default. */
void config_defaults(struct options *o);
/* Text of a file whose name is only used in reports. */
void config_parse(struct options *o, const char *name, struct str text, struct config_report *r);
/* One -o key=value. */
void config_override(struct options *o, const char *assignment, struct config_report *r);
/* Defaults, file, overrides and cross checks. True when there was no problem. */
bool config_load(struct options *o, const struct args *a, struct config_report *r);

/* config_check.c: what no single row can say. */
void config_check(const struct options *o, const char *name, struct config_report *r);
/* Reads the credential files into o->secret. */
void config_credentials(struct options *o, struct config_report *r);
/* Logs a warning for every option that only counts after a restart and has changed. */
void config_warn_fixed(const struct options *running, const struct options *wanted);
/* A sealed memfd with the options, as children map it; -errno. */
int config_memfd(const struct options *o);
/* Reads them back. False, and *o is as it was, when they are of another shape: a release with
 * other options made them. */
bool config_read_memfd(int fd, struct options *o);

#endif
