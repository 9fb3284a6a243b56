/*
 * How much waits to be sealed, for `pugd status`, the metrics page and /readyz. Not the
 * sealing thread's business: it is of most interest when that one does not get on.
 */
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/jobs/jobs.h"
#include "worker/store/tail_ask.h"
#include "worker/worker.h"

enum { REST_FACTOR = 20 /* a long tail takes long to count: a twentieth of the time */ };

static void tell(const struct tail *t, bool over, uint64_t now_us)
{
	unsigned long long events = t->events, seconds = tail_age_us(t, now_us) / 1000000;

	if (over)
		log_warn("unsealed events over budget events=%llu oldest_seconds=%llu", events,
			seconds);
	else
		log_info("unsealed events within budget again events=%llu oldest_seconds=%llu",
			events, seconds);
}

int job_tail(struct job_run *r)
{
	/* One keeper per process, and one run of a job. */
	static uint64_t rest_until;
	static bool was_over;
	uint64_t start = clock_mono_ms(), now_us;
	struct tail t;
	bool over;

	if (start < rest_until)
		return 0;
	if (tail_ask(&r->db, r->w->seg, &t) < 0)
		return -1;
	rest_until = clock_mono_ms() + (clock_mono_ms() - start) * REST_FACTOR;
	now_us = clock_boot_us();
	over = tail_over(&t, r->w->opt, now_us);
	if (over != was_over)
		tell(&t, over, now_us);
	was_over = over;
	return 0;
}
