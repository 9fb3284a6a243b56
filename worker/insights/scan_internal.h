/* What scan.c and scan_call.c share. */
#ifndef INSIGHTS_SCAN_INTERNAL_H
#define INSIGHTS_SCAN_INTERNAL_H

#include "worker/insights/scan.h"

/* In until_ms: the snapshot is being taken. */
#define SCAN_FIXED ((uint64_t)1 << 63)

/* The whole of a scan, on a scan thread. */
void scan_thread(void *scan);

#endif
