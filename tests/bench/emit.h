/* The events of columns.h, given to others. */
#ifndef BENCH_EMIT_H
#define BENCH_EMIT_H

#include "tests/bench/columns.h"

/* On stderr: a line "done N" every few thousand events. Failures end the process. */

/* Every `parts`-th block of events, as JSON Lines on stdout. */
void emit_json(const struct columns *c, uint32_t part, uint32_t parts);
/* COPY into bench_event. */
void emit_rows(const struct columns *c, const char *conninfo);
/* COPY into pugd.profiles, pugd.aliases and bench_person. */
void emit_people(const struct columns *c, const char *conninfo, int project);
/* {"kinds": [...], ...} on stdout. */
void emit_names(void);

#endif
