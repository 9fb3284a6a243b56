/*
 * Makes the day partitions of event_seen before the first event of a day comes.
 * Events may lie a day ahead (D23); the rest is slack for a keeper that was away.
 */
#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/jobs/jobs.h"

enum { DAYS_BEHIND = 1, DAYS_AHEAD = 4 };

int job_partitions(struct job_run *r)
{
	int32_t today = (int32_t)(clock_real_ms() / 86400000);
	struct q_events_partitions_row row;

	if (q_events_partitions(&r->db,
		    &(struct q_events_partitions_args){
			    .first = today - DAYS_BEHIND, .last = today + DAYS_AHEAD},
		    &row) != 1)
		return -1;
	if (row.made > 0)
		log_info("event partitions made days=%d", row.made);
	return 0;
}
