/*
 * Time zones from the tz database's files (RFC 9636), footer rule included. The
 * C library's zone is process-wide, so it cannot serve projects (D90). Pure
 * data once read; offsets are whole seconds east of UTC.
 */
#ifndef INSIGHTS_TZ_H
#define INSIGHTS_TZ_H

#include "shm/base/arena.h"

struct tz;

/* A stretch of time with one offset: [begin, end) in seconds since the epoch. */
struct tz_span {
	int64_t begin, end;
	int64_t offset;
};

/* Reads a zone by IANA name ("" and "UTC" need no file). NULL when the name is
 * malformed, unknown, or its file is broken. */
struct tz *tz_open(struct str name, struct arena *a);
/* As tz_open, from the bytes of a TZif file. */
struct tz *tz_parse(struct str file, struct arena *a);
/* The span that holds the instant. */
struct tz_span tz_at(const struct tz *z, int64_t when);
/* The earliest instant whose local day number (days since 1970-01-01) is `day`,
 * or is later when the zone skipped that day. */
int64_t tz_day_start(const struct tz *z, int64_t day);

#endif
