/* What scan.c and scan_call.c share. */
#ifndef INSIGHTS_SCAN_INTERNAL_H
#define INSIGHTS_SCAN_INTERNAL_H

#include "worker/insights/scan.h"

/* The snapshot will be taken now; until when (CLOCK_MONOTONIC, ms) the scan may run. */
uint64_t scan_fix(struct scan *s);
/* The whole of a scan, on a scan thread. */
void scan_thread(void *scan);

#endif
