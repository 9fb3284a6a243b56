/* Whose events ActivityService shows (insights-dashboards.md 3.1). */
#ifndef RPC_ACTIVITY_H
#define RPC_ACTIVITY_H

#include "q.h"
#include "worker/call/call.h"

/* All ids of the person whom an id names (D60); of a stranger just that one. 0, or -1 after
 * call_fail(). */
int activity_person(struct call *c, const char *distinct_id, struct q_activity_person_row *row);

#endif
