#include "worker/store/tail_ask.h"

#include "q.h"
#include "shm/base/clock.h"

int tail_ask(struct db *db, struct segment *seg, struct tail *t)
{
	struct q_seal_tail_row row;
	uint64_t now_us, age_us;

	if (q_seal_tail(db, &row) != 1)
		return -1;
	now_us = clock_boot_us();
	age_us = row.age_us > 0 ? (uint64_t)row.age_us : 0;
	*t = (struct tail){.events = row.events > 0 ? (uint64_t)row.events : 0, .seen_us = now_us};
	/* Of the host's boot clock, which may be younger than the event. 0 would say that none
	 * waits. */
	if (row.events > 0)
		t->oldest_us = now_us > age_us ? now_us - age_us : 1;
	tail_put(seg, t);
	return 0;
}
