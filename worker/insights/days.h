/*
 * Events per local day (D39): how active somebody was. Zero days take no place in an
 * answer, so what is kept is a number per bucket.
 */
#ifndef INSIGHTS_DAYS_H
#define INSIGHTS_DAYS_H

#include "worker/insights/frame.h"

enum { DAYS_DATE = 32 }; /* room for a date, NUL included */

struct days {
	const struct buckets *buckets; /* of days */
	int64_t from_ms, to_ms;        /* [from, to); the plan's own window may be wider */
	uint64_t *counts;              /* by bucket */
};

/* The plan must have buckets for that window. False at the arena's cap. */
bool days_init(struct days *d, const struct plan *p, int64_t from_ms, int64_t to_ms);
void days_fold(struct days *d, const struct frame *f);
/* YYYY-MM-DD of a bucket. */
void days_date(const struct days *d, const struct tz *zone, uint32_t bucket, char out[DAYS_DATE]);

#endif
