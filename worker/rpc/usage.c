/* UsageService: events stored per month, and per day and project (D42, auth.md 12). */
#include "proto/usage/v1/usage.pb-c.h"
#include "q.h"
#include "rpc.h"
#include "shm/base/log.h"
#include "worker/call/call.h"
#include "worker/worker.h"

enum { DAY_S = 86400, DAY_FIRST = -719162 /* 0001-01-01 */, DAY_LAST = 2932897 /* 10000-01-01 */ };

/* The UTC day that holds an instant, or with `up` the first that begins no earlier. Cut to
 * the years of Timestamp, which a binary request may leave. */
static int32_t day_of(const Google__Protobuf__Timestamp *t, bool up)
{
	int64_t day = t->seconds / DAY_S, rest = t->seconds % DAY_S;

	if (rest < 0) {
		day--;
		rest += DAY_S;
	}
	if (up && (rest > 0 || t->nanos > 0))
		day++;
	return (int32_t)(day < DAY_FIRST ? DAY_FIRST : day > DAY_LAST ? DAY_LAST : day);
}

/* NULL after call_fail(). */
static Google__Protobuf__Timestamp *instant(struct call *c, int64_t us)
{
	Google__Protobuf__Timestamp *t = call_alloc(c, sizeof(*t));

	if (!t)
		return NULL;
	google__protobuf__timestamp__init(t);
	t->seconds = us / 1000000;
	t->nanos = (int32_t)(us % 1000000) * 1000;
	return t;
}

static Google__Protobuf__Timestamp *midnight(struct call *c, int32_t day)
{
	return instant(c, (int64_t)day * DAY_S * 1000000);
}

/* A row without a day is the only one: there were no events. */
static int put_days(struct call *c, const struct q_usage_get_row *rows, size_t n,
	Usage__V1__GetUsageResponse *out)
{
	Usage__V1__UsageDay *all = call_alloc(c, n * sizeof(*all));

	out->daily = call_alloc(c, n * sizeof(all));
	if (!all || !out->daily)
		return -1;
	for (size_t i = 0; i < n && !rows[i].day_null; i++) {
		usage__v1__usage_day__init(&all[i]);
		all[i].day = midnight(c, rows[i].day);
		all[i].project_id = call_str(c, rows[i].project_id);
		all[i].has_event_count = 1;
		all[i].event_count = rows[i].events;
		if (!all[i].day || !all[i].project_id)
			return -1;
		out->daily[out->n_daily++] = &all[i];
	}
	return 0;
}

/* One at a time of a worker: it looks at all projects that an org ever had, and lane tx has few
 * connections, which sign-ins and Identify need. -1 after call_fail(), or with db.err. */
static int ask(struct call *c, const struct q_usage_get_args *args, struct q_usage_get_row **rows)
{
	enum { LOOK_MS = 5 };
	int n;

	while (c->w->usage_asked)
		if (call_sleep(c, LOOK_MS) < 0)
			return -1;
	c->w->usage_asked = true;
	n = q_usage_get(&c->db, args, rows);
	c->w->usage_asked = false;
	return n;
}

int rpc_usage_get_usage(
	struct call *c, const Usage__V1__GetUsageRequest *in, Usage__V1__GetUsageResponse *out)
{
	struct q_usage_get_args args = {.org_id = str_of(in->org_id)};
	struct q_usage_get_row *rows;
	int32_t from, to;

	/* of the days only: the sum is always that of the current month (auth.md 12) */
	if (in->range) {
		from = day_of(in->range->from, false);
		to = day_of(in->range->to, true);
		args.from_day = &from;
		args.to_day = &to;
	}
	int n = ask(c, &args, &rows);
	if (n < 0)
		return call_fail_db(c, &c->db);
	must(n > 0); /* the month is there without any events */
	out->has_used_events = 1;
	out->used_events = rows[0].used_events;
	out->period_start = midnight(c, rows[0].period_start);
	out->period_end = midnight(c, rows[0].period_end);
	out->usage_computed_at = instant(c, rows[0].computed_at);
	if (!out->period_start || !out->period_end || !out->usage_computed_at)
		return -1;
	return put_days(c, rows, (size_t)n, out);
}
