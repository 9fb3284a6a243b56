/* See days.h. */
#include <stdio.h>
#include "proto/wkt.h"
#include "worker/insights/days.h"

bool days_init(struct days *d, const struct plan *p, int64_t from_ms, int64_t to_ms)
{
	*d = (struct days){.buckets = &p->buckets, .from_ms = from_ms, .to_ms = to_ms};
	d->counts = arena_array(p->a, p->buckets.n + 1, sizeof(*d->counts));
	return d->counts != NULL;
}

void days_fold(struct days *d, const struct frame *f)
{
	const int64_t *times = f->batch->times;

	/* the plan has no events, so base is all; buckets_find() knows times of its window only */
	for (uint32_t i = 0; i < f->batch->n; i++)
		if (f->base[i] && times[i] >= d->from_ms && times[i] < d->to_ms)
			d->counts[buckets_find(d->buckets, times[i])]++;
}

void days_date(const struct days *d, const struct tz *zone, uint32_t bucket, char out[DAYS_DATE])
{
	/* the first instant with that date, so its own offset tells the date */
	int64_t start = d->buckets->starts[bucket] / 1000, year;
	int64_t local = start + tz_at(zone, start).offset;
	int64_t day = local / 86400 - (local % 86400 < 0);
	unsigned month, mday;

	wkt_date(day, &year, &month, &mday);
	snprintf(out, DAYS_DATE, "%04lld-%02u-%02u", (long long)year, month, mday);
}
